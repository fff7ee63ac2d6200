//! CSV import: a file of people becomes leads. The file is read twice as a stream, first to find out
//! how it is written, then row by row; rows are stored in batches, each in one transaction, so a
//! large file needs no more memory than a small one and an interrupted import is simply run again:
//! the same address is the same lead, and what did not change is left alone.

mod columns;
mod fault;
mod meanings;
mod merge;
mod row;
mod source;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{Read, Seek};

use machine::ids::{LeadId, WorkspaceId};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::changes::News;
use crate::error::Result;
use crate::phone::Country;
use crate::store::audit::{self, Act};
use crate::store::{Store, clock};
use crate::suppression_key::SuppressionKey;
use crate::tag::Tag;
use columns::Columns;
pub use columns::{InvalidMapping, Mapping};
pub use fault::{Reason, RowFault};
pub use meanings::KeptColumn;
use merge::Merged;
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
    /// Where telephone numbers without a country code are dialled, if their row does not say it.
    pub country: Option<Country>,
    /// What columns hold whose headers do not say it.
    pub mapping: Mapping,
    /// What becomes of leads we know.
    pub policy: Policy,
    /// Who imports, for the record.
    pub actor: String,
    /// Is told what became of each row, batch by batch; the import waits for whoever listens.
    pub results: Option<mpsc::Sender<Vec<RowResult>>>,
}

/// What becomes of a lead that a file names and we know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// What the file says wins, and an empty cell says nothing.
    #[default]
    Overwrite,
    /// What we know stays, and the file adds to it.
    Fill,
    /// It stays as it is.
    Skip,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowResult {
    /// The line it begins on.
    pub line: u64,
    /// What became of it.
    pub outcome: RowOutcome,
    /// What is wrong with it; of a row that went in, what was noticed.
    pub faults: Vec<RowFault>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOutcome {
    /// A new lead.
    Added(LeadId),
    /// A lead we knew, with something new about it.
    Changed(LeadId),
    /// A lead we knew, and nothing new.
    Unchanged(LeadId),
    /// It was left out.
    Refused,
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
    /// Columns that are kept as attributes, and whose headers say in another language what has a name
    /// here.
    pub foreign_columns: Vec<KeptColumn>,
    /// Columns that are kept as attributes, and whose headers are names of ours but for one slip.
    pub misspelt_columns: Vec<KeptColumn>,
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
    #[error("{why}")]
    Unreadable {
        /// Why.
        why: Unreadable,
        /// What became of the rows before.
        before: Box<Report>,
    },
    /// Our own side failed. What was stored before stays; the import may be repeated.
    #[error("cannot store leads")]
    Store(#[from] crate::error::ActivityError),
}

/// Imports `file` into `workspace`, telling `progress` after every batch. `key` knows those who were
/// erased.
///
/// # Errors
///
/// [`ImportError`]. Rows with faults are no error: each is named in the report.
pub async fn leads(
    store: &Store,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    file: impl Read + Seek + Send + 'static,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<Report, ImportError> {
    // The reader waits until a batch is stored before it reads much further.
    let (sender, mut batches) = mpsc::channel(1);
    let given = Given { tags: options.tags.clone(), country: options.country };
    let mapping = options.mapping.clone();
    let reader = tokio::task::spawn_blocking(move || read(file, &given, &mapping, &sender));
    let mut report = Report::default();
    while let Some(batch) = batches.recv().await {
        let (bytes_read, bytes) = (batch.bytes_read, batch.bytes);
        let merged = merge::store(store, key, workspace, &batch.people, options).await?;
        let rows = batch.rows(merged);
        report.add(&rows);
        progress(Progress { totals: report.totals, bytes_read, bytes });
        if let Some(results) = &options.results {
            // Nobody listens any more: the leads go in all the same.
            let _ = results.send(rows).await;
        }
    }
    let (headers, end) = match reader.await {
        Ok(read) => read,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    (report.ignored_columns, report.foreign_columns) = (headers.ignored, headers.foreign);
    report.misspelt_columns = headers.misspelt;
    // What went in before the file became unreadable is in, and on record.
    if end.is_ok() || report.totals != Totals::default() {
        record(store, workspace, options, report.totals).await?;
    }
    match end {
        Ok(()) => Ok(report),
        Err(why) => Err(ImportError::Unreadable { why, before: Box::new(report) }),
    }
}

async fn record(
    store: &Store,
    workspace: WorkspaceId,
    options: &Options,
    totals: Totals,
) -> Result<()> {
    let mut tx = store.begin(workspace).await?;
    let wall = clock::read(&mut tx).await?.wall;
    let Totals { added, changed, unchanged, refused } = totals;
    let details = json!({
        "source": options.source,
        "added": added, "changed": changed, "unchanged": unchanged, "refused": refused,
    });
    let subject = format!("workspace/{workspace}");
    let (actor, details) = (options.actor.as_str(), Some(details));
    let act = Act { actor, act: "lead.import", subject: &subject, details };
    audit::record(&mut tx, workspace, &act, wall).await?;
    tx.tell(News::Import { added, changed, refused });
    tx.commit().await
}

/// Some rows of the file.
#[derive(Default)]
struct Batch {
    people: Vec<Person>,
    /// Lines that were left out.
    refused: Vec<u64>,
    faults: Vec<RowFault>,
    /// The header of the column with the addresses.
    address_header: String,
    /// The header of the column with the numbers.
    phone_header: String,
    /// Bytes of the file that were read by its end.
    bytes_read: u64,
    bytes: u64,
}

/// What is worth a word about the columns of a file.
#[derive(Default)]
struct Headers {
    ignored: Vec<String>,
    foreign: Vec<KeptColumn>,
    misspelt: Vec<KeptColumn>,
}

/// Reads the file into batches, to its end or to where it cannot be read; returns what is worth a word
/// about its columns, and how it ended. Ends early when nobody takes them any more.
fn read(
    file: impl Read + Seek,
    given: &Given,
    mapping: &Mapping,
    batches: &mpsc::Sender<Batch>,
) -> (Headers, Result<(), Unreadable>) {
    let opened = Source::open(file).and_then(|mut source| {
        let columns = Columns::of(&source.header()?, mapping)?;
        Ok((source, columns))
    });
    match opened {
        Ok((source, columns)) => (columns.headers(), read_rows(source, &columns, given, batches)),
        Err(error) => (Headers::default(), Err(error)),
    }
}

fn read_rows(
    mut source: Source<impl Read>,
    columns: &Columns,
    given: &Given,
    batches: &mpsc::Sender<Batch>,
) -> Result<(), Unreadable> {
    let mut seen = Seen::default();
    let mut batch = Batch::default();
    let end = loop {
        let record = match source.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match row::parse(columns, &record, given, &mut batch.faults) {
            Parsed::Blank => {}
            Parsed::Refused => batch.refused.push(record.line),
            Parsed::Person(mut person) => match seen.first_line(&person) {
                None => {
                    let is_known_by_it = person.address.is_none();
                    if !is_known_by_it && let Some(of_line) = seen.first_line_of_number(&person) {
                        let (line, field) = (person.line, columns.phone_header().to_owned());
                        let reason = Reason::PhoneOnLine { of_line };
                        batch.faults.push(RowFault { line, field, reason });
                        person.phone = None;
                    }
                    batch.people.push(*person);
                }
                Some(of_line) => {
                    batch.refused.push(person.line);
                    let (field, reason) = match &person.address {
                        Some(_) => (columns.address_header(), Reason::Duplicate { of_line }),
                        None => (columns.phone_header(), Reason::SameNumber { of_line }),
                    };
                    let field = field.to_owned();
                    batch.faults.push(RowFault { line: person.line, field, reason });
                }
            },
        }
        if batch.people.len() >= BATCH || batch.faults.len() >= BATCH {
            if batches.blocking_send(batch.up_to(&source, columns)).is_err() {
                return Ok(());
            }
            batch = Batch::default();
        }
    };
    // Whoever gave up needs no last batch; an empty one still tells that the end was reached.
    drop(batches.blocking_send(batch.up_to(&source, columns)));
    end
}

/// The addresses and numbers of the file so far, as short hashes, with their lines: 24 bytes for each.
#[derive(Default)]
struct Seen {
    lines: HashMap<u128, u64>,
}

impl Seen {
    /// Returns the line on which that stood before by which `person` is known: its address, else its
    /// number.
    fn first_line(&mut self, person: &Person) -> Option<u64> {
        match &person.address {
            Some(address) => self.note(address.as_str(), person.line),
            None => self.first_line_of_number(person),
        }
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
        (self.bytes_read, self.bytes) = (source.bytes_read(), source.bytes());
        columns.address_header().clone_into(&mut self.address_header);
        columns.phone_header().clone_into(&mut self.phone_header);
        self
    }

    /// What became of each row, in the order of the file.
    fn rows(self, merged: Vec<(u64, Merged)>) -> Vec<RowResult> {
        let mut faults: HashMap<u64, Vec<RowFault>> = HashMap::new();
        for fault in self.faults {
            faults.entry(fault.line).or_default().push(fault);
        }
        let mut outcomes: Vec<(u64, RowOutcome)> =
            self.refused.into_iter().map(|line| (line, RowOutcome::Refused)).collect();
        for (line, merged) in merged {
            let (outcome, fault) = match merged {
                Merged::Stored(outcome) => (outcome, None),
                Merged::WithoutNumber(outcome) => {
                    (outcome, Some((&self.phone_header, Reason::PhoneOfAnother)))
                }
                Merged::AddressErased => {
                    (RowOutcome::Refused, Some((&self.address_header, Reason::Erased)))
                }
                Merged::NumberErased => {
                    (RowOutcome::Refused, Some((&self.phone_header, Reason::Erased)))
                }
            };
            if let Some((field, reason)) = fault {
                let fault = RowFault { line, field: field.clone(), reason };
                faults.entry(line).or_default().push(fault);
            }
            outcomes.push((line, outcome));
        }
        outcomes.sort_unstable_by_key(|(line, _)| *line);
        let row = |(line, outcome)| RowResult {
            line,
            outcome,
            faults: faults.remove(&line).unwrap_or_default(),
        };
        outcomes.into_iter().map(row).collect()
    }
}

impl Report {
    fn add(&mut self, rows: &[RowResult]) {
        for row in rows {
            match row.outcome {
                RowOutcome::Added(_) => self.totals.added += 1,
                RowOutcome::Changed(_) => self.totals.changed += 1,
                RowOutcome::Unchanged(_) => self.totals.unchanged += 1,
                RowOutcome::Refused => self.totals.refused += 1,
            }
            for fault in &row.faults {
                if self.faults.len() < FAULTS_MAX {
                    self.faults.push(fault.clone());
                } else {
                    self.faults_omitted += 1;
                }
            }
        }
    }
}
