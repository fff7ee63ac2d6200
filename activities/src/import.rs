//! CSV import: a file of people becomes leads. The file is read twice as a stream, first to find out
//! how it is written, then row by row; rows are stored in batches, each in one transaction, so a
//! large file needs no more memory than a small one and an interrupted import is simply run again:
//! the same address is the same lead, and what did not change is left alone.

mod columns;
mod fault;
mod merge;
mod row;
mod source;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{Read, Seek};

use machine::ids::WorkspaceId;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::phone::Country;
use crate::store::Store;
use crate::tag::Tag;
use columns::Columns;
pub use fault::{Reason, RowFault};
use row::{Given, Parsed, Person};
use source::Source;
pub use source::Unreadable;

/// Rows that one transaction stores.
const BATCH: usize = 1_000;

/// Faults that are told one by one; a file with more is the wrong file.
const FAULTS_MAX: usize = 10_000;

/// What the caller adds to a file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tags for every lead of the file.
    pub tags: Vec<Tag>,
    /// Where the leads come from, for the record: the file's name.
    pub source: String,
    /// Where telephone numbers without a country code are dialled.
    pub country: Option<Country>,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The sums.
    pub totals: Totals,
    /// What is wrong with the file, in its order; the first ten thousand.
    pub faults: Vec<RowFault>,
    /// Faults beyond those.
    pub faults_omitted: u64,
    /// Columns whose header cannot be the name of an attribute; they were left out.
    pub ignored_columns: Vec<String>,
}

/// How many rows went which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// New leads.
    pub added: u64,
    /// Leads we knew, with something new about them.
    pub changed: u64,
    /// Leads we knew, and nothing new.
    pub unchanged: u64,
    /// Rows that were left out.
    pub refused: u64,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The sums so far.
    pub totals: Totals,
    /// Bytes of the file that were read.
    pub bytes_read: u64,
    /// Bytes it has.
    pub bytes: u64,
}

/// Why nothing, or not everything, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read on. What was stored before stays.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Our own side failed. What was stored before stays; the import may be repeated.
    #[error("cannot store leads")]
    Store(#[from] crate::error::ActivityError),
}

/// Imports `file` into `workspace`, telling `progress` after every batch.
///
/// # Errors
///
/// [`ImportError`]. Rows with faults are no error: each is named in the report.
pub async fn leads(
    store: &Store,
    workspace: WorkspaceId,
    file: impl Read + Seek + Send + 'static,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<Report, ImportError> {
    // The reader waits until a batch is stored before it reads much further.
    let (sender, mut batches) = mpsc::channel(1);
    let given = Given { tags: options.tags.clone(), country: options.country };
    let reader = tokio::task::spawn_blocking(move || read(file, &given, &sender));
    let mut report = Report::default();
    while let Some(batch) = batches.recv().await {
        let Batch { people, refused, mut faults, bytes_read, bytes, phone_header } = batch;
        let (merged, taken) = merge::store(store, workspace, &people, &options.source).await?;
        faults.extend(taken.into_iter().map(|line| RowFault {
            line,
            field: phone_header.clone(),
            reason: Reason::PhoneOfAnother,
        }));
        faults.sort_by_key(|fault| fault.line);
        report.add(Totals { refused, ..merged }, faults);
        progress(Progress { totals: report.totals, bytes_read, bytes });
    }
    match reader.await {
        Ok(ignored) => report.ignored_columns = ignored?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
    Ok(report)
}

/// Some rows of the file.
#[derive(Default)]
struct Batch {
    people: Vec<Person>,
    /// Rows that were left out.
    refused: u64,
    faults: Vec<RowFault>,
    /// Bytes of the file that were read by its end.
    bytes_read: u64,
    bytes: u64,
    /// What the column with the numbers is called.
    phone_header: String,
}

/// Reads the whole file into batches; returns the columns it left out. Ends early when nobody takes
/// them any more.
fn read(
    file: impl Read + Seek,
    given: &Given,
    batches: &mpsc::Sender<Batch>,
) -> Result<Vec<String>, Unreadable> {
    let mut source = Source::open(file)?;
    let columns = Columns::of(&source.header()?)?;
    let mut seen = Seen::default();
    let mut batch = Batch::default();
    while let Some(record) = source.next_record()? {
        match row::parse(&columns, &record, given, &mut batch.faults) {
            Parsed::Blank => {}
            Parsed::Refused => batch.refused += 1,
            Parsed::Person(mut person) => match seen.first_line(&person) {
                None => {
                    if let Some(of_line) = seen.first_line_of_number(&person) {
                        let (line, field) = (person.line, columns.phone_header().to_owned());
                        let reason = Reason::PhoneOnLine { of_line };
                        batch.faults.push(RowFault { line, field, reason });
                        person.phone = None;
                    }
                    batch.people.push(*person);
                }
                Some(of_line) => {
                    batch.refused += 1;
                    batch.faults.push(columns.duplicate(person.line, of_line));
                }
            },
        }
        if batch.people.len() >= BATCH || batch.faults.len() >= BATCH {
            if batches.blocking_send(batch.up_to(&source, &columns)).is_err() {
                return Ok(columns.ignored);
            }
            batch = Batch::default();
        }
    }
    // Whoever gave up needs no last batch; an empty one still tells that the end was reached.
    drop(batches.blocking_send(batch.up_to(&source, &columns)));
    Ok(columns.ignored)
}

/// The addresses and numbers of the file so far, as short hashes, with their lines: 24 bytes for each.
#[derive(Default)]
struct Seen {
    lines: HashMap<u128, u64>,
}

impl Seen {
    /// Returns the line on which the address of `person` stood before.
    fn first_line(&mut self, person: &Person) -> Option<u64> {
        self.note(person.address.as_str(), person.line)
    }

    /// Returns the line on which the number of `person` stood before.
    fn first_line_of_number(&mut self, person: &Person) -> Option<u64> {
        self.note(person.phone.as_ref()?.as_str(), person.line)
    }

    fn note(&mut self, text: &str, line: u64) -> Option<u64> {
        let digest = Sha256::digest(text);
        let mut head = [0; 16];
        head.copy_from_slice(&digest[..16]);
        match self.lines.entry(u128::from_be_bytes(head)) {
            Entry::Vacant(free) => {
                free.insert(line);
                None
            }
            Entry::Occupied(taken) => Some(*taken.get()),
        }
    }
}

impl Batch {
    fn up_to(mut self, source: &Source<impl Read>, columns: &Columns) -> Self {
        self.phone_header = columns.phone_header().to_owned();
        (self.bytes_read, self.bytes) = (source.bytes_read(), source.bytes());
        self
    }
}

impl Report {
    fn add(&mut self, totals: Totals, faults: Vec<RowFault>) {
        self.totals.added += totals.added;
        self.totals.changed += totals.changed;
        self.totals.unchanged += totals.unchanged;
        self.totals.refused += totals.refused;
        for fault in faults {
            if self.faults.len() < FAULTS_MAX {
                self.faults.push(fault);
            } else {
                self.faults_omitted += 1;
            }
        }
    }
}
