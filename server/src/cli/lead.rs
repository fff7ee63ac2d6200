//! `meridian lead`: the people campaigns may write to.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use activities::import::{
    self, ImportError, Mapping, Options, Policy, Progress, Report, Unreadable,
};
use activities::leads::search::{self, Query};
use activities::leads::{erase, export};
use activities::origin::Correspondent;
use activities::phone::Country;
use activities::store::enrollment_views::{self, EnrollmentRow};
use activities::store::lead_views::{self, LeadView};
use activities::store::matches;
use activities::store::suppression_views::SuppressionView;
use activities::store::suppressions::SuppressionId;
use activities::suppression_key::SuppressionKey;
use activities::suppression_list;
use activities::tag::Tag;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use indicatif::ProgressBar;
use machine::ids::{EnrollmentId, LeadId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{ACTOR, Bench};
use crate::session::Session;
use crate::tables::{Column, Facts, Table};
use crate::terminal::{Output, Terminal};
use crate::times;

/// Faults that are printed one by one; `--json` has them all.
const FAULTS_SHOWN: usize = 50;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Import leads from a CSV file; repeating it changes nothing
    Import {
        /// The file; its first line names the columns, one of which is `email`
        file: PathBuf,
        /// Put this tag on every lead of the file
        #[arg(long)]
        tag: Vec<Tag>,
        /// Where telephone numbers without a country code are dialled, as in PT
        #[arg(long, value_name = "COUNTRY")]
        country: Option<Country>,
        /// What a column holds whose header does not say it, as in `First name=first_name`; `-` leaves
        /// it out
        #[arg(long, value_name = "HEADER=NAME", value_parser = mapped)]
        map: Vec<(String, String)>,
        /// What becomes of leads that are known
        #[arg(long, default_value = "overwrite")]
        merge: Merge,
        #[command(flatten)]
        output: Output,
    },
    /// List leads
    List {
        /// Those with this tag
        #[arg(long)]
        tag: Option<Tag>,
        /// Go on behind this lead
        #[arg(long, value_name = "ID")]
        after: Option<LeadId>,
        /// At most this many
        #[arg(long, default_value = "100", value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Write leads to a CSV file that `lead import` and spreadsheets read
    Export {
        /// Those with this tag
        #[arg(long)]
        tag: Option<Tag>,
        /// The file; without it they go to standard output
        #[arg(long)]
        file: Option<PathBuf>,
        /// Write over a file that is there
        #[arg(long, requires = "file")]
        force: bool,
    },
    /// Show a lead with everything known about it, and the campaigns it is in
    Show {
        /// Its mail address, number or id
        lead: String,
        #[command(flatten)]
        output: Output,
    },
    /// Forget a person for good; all that is kept is the promise never to write to it
    Erase {
        /// Its id or mail address
        lead: String,
        /// Do it
        #[arg(long, required = true)]
        for_good: bool,
    },
}

/// What becomes of leads that are known.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Merge {
    /// What the file says wins; an empty cell says nothing
    Overwrite,
    /// What is known stays, and the file adds to it
    Fill,
    /// They stay as they are
    Skip,
}

impl From<Merge> for Policy {
    fn from(merge: Merge) -> Self {
        match merge {
            Merge::Overwrite => Self::Overwrite,
            Merge::Fill => Self::Fill,
            Merge::Skip => Self::Skip,
        }
    }
}

fn mapped(text: &str) -> Result<(String, String), String> {
    let parts = text.rsplit_once('=');
    let (header, name) = parts.ok_or("write it like `First name=first_name`")?;
    Ok((header.to_owned(), name.to_owned()))
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import { file, tag, country, map, merge, output } => {
            let (mapping, policy) = (Mapping::new(map)?, merge.into());
            let options = Options { tags: tag, country, mapping, policy, ..Options::default() };
            import(&file, options, output, bench).await?;
        }
        Command::List { tag, after, limit, output } => {
            list(tag, after, limit, output, bench).await?;
        }
        Command::Export { tag, file, force } => {
            let over = if force { Over::Whatever } else { Over::Nothing };
            export(tag, file.as_deref().map(|file| (file, over)), bench).await?;
        }
        Command::Show { lead, output } => show(&lead, output, bench).await?,
        Command::Erase { lead, for_good: _ } => forget(&lead, bench).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the lead with this mail address, number or id.
///
/// # Errors
///
/// When there is none.
pub(super) async fn find(session: &Session, who: &str) -> anyhow::Result<LeadId> {
    if let Ok(lead) = who.parse::<LeadId>() {
        return Ok(lead);
    }
    let address: Correspondent = who
        .parse()
        .with_context(|| format!("`{who}` is neither an id nor a mail address nor a number"))?;
    let mut tx = session.store.begin(session.workspace).await?;
    match matches::lead_at(&mut tx, session.workspace, &address).await? {
        Some(lead) => Ok(lead),
        None => bail!("no lead has the address {address}: run `meridian lead list`"),
    }
}

#[derive(Serialize)]
pub(super) struct Imported {
    file: String,
    added: u64,
    changed: u64,
    unchanged: u64,
    refused: u64,
    faults: Vec<FaultView>,
    faults_omitted: u64,
    ignored_columns: Vec<String>,
    foreign_columns: Vec<ForeignView>,
}

/// A column whose header is in another language.
#[derive(Serialize)]
struct ForeignView {
    header: String,
    attribute: String,
    meaning: &'static str,
}

/// A file that could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct BrokenOff {
    why: Unreadable,
    before: Box<Report>,
}

#[derive(Serialize)]
struct FaultView {
    line: u64,
    field: String,
    reason: String,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, added, changed, unchanged, refused, .. } = self;
        writeln!(
            f,
            "{file}: {added} new, {changed} changed, {unchanged} as before, {refused} refused"
        )?;
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            writeln!(f, "  line {}, {}: {}", fault.line, fault.field, fault.reason)?;
        }
        let more = self.faults_omitted
            + u64::try_from(self.faults.len().saturating_sub(FAULTS_SHOWN)).unwrap_or(u64::MAX);
        if more > 0 {
            writeln!(f, "  and {more} more faults")?;
        }
        for column in &self.ignored_columns {
            writeln!(
                f,
                "  column `{column}` was left out: its header is no name, or another column holds the \
                 same; `--map \"{column}=NAME\"` gives it one"
            )?;
        }
        for ForeignView { header, attribute, meaning } in &self.foreign_columns {
            writeln!(
                f,
                "  column `{header}` is kept as the attribute `{attribute}`; `--map \
                 \"{header}={meaning}\"` names it as texts and rules do"
            )?;
        }
        Ok(())
    }
}

impl Imported {
    fn of(path: &Path, report: Report) -> Self {
        let faults = report.faults.into_iter().map(|fault| FaultView {
            line: fault.line,
            field: fault.field,
            reason: fault.reason.to_string(),
        });
        let foreign = report.foreign_columns.into_iter().map(|column| ForeignView {
            header: column.header,
            attribute: column.attribute.to_string(),
            meaning: column.meaning,
        });
        Self {
            file: path.display().to_string(),
            added: report.totals.added,
            changed: report.totals.changed,
            unchanged: report.totals.unchanged,
            refused: report.totals.refused,
            faults: faults.collect(),
            faults_omitted: report.faults_omitted,
            ignored_columns: report.ignored_columns,
            foreign_columns: foreign.collect(),
        }
    }
}

async fn import(
    path: &Path,
    options: Options,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let bar = bench.terminal.progress("importing", 0);
    let imported = import_file(bench.session, path, options, &bar).await;
    bar.finish_and_clear();
    match imported {
        Ok(imported) => bench.terminal.show(output.format(), &imported)?,
        Err(error) => return Err(tell_before(error, path, output, bench.terminal)?),
    }
    Ok(())
}

/// Tells what became of the rows before the place where a file cannot be read on, if that is the error.
pub(super) fn tell_before(
    error: anyhow::Error,
    path: &Path,
    output: Output,
    terminal: &mut Terminal,
) -> io::Result<anyhow::Error> {
    let BrokenOff { why, before } = match error.downcast() {
        Ok(broken_off) => broken_off,
        Err(error) => return Ok(error),
    };
    if *before != Report::default() {
        terminal.show(output.format(), &Imported::of(path, *before))?;
    }
    Ok(why.into())
}

/// Imports a file under a bar that counts its bytes.
pub(super) async fn import_file(
    session: &Session,
    path: &Path,
    options: Options,
    bar: &ProgressBar,
) -> anyhow::Result<Imported> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let source = format!("import/{}", name.unwrap_or_default());
    let options = Options { source, actor: ACTOR.to_owned(), ..options };
    let (store, key) = (&session.store, SuppressionKey::new(&session.keys));
    let progress = |progress: Progress| {
        bar.set_length(progress.bytes);
        bar.set_position(progress.bytes_read);
    };
    let done = import::leads(store, &key, session.workspace, file, &options, progress).await;
    match done {
        Ok(report) => Ok(Imported::of(path, report)),
        Err(ImportError::Unreadable { why, before }) => Err(BrokenOff { why, before }.into()),
        Err(error @ ImportError::Store(_)) => Err(error.into()),
    }
}

#[derive(Serialize)]
struct List {
    leads: Vec<LeadJson>,
    /// Where the next page begins.
    next: Option<LeadId>,
}

#[derive(Serialize)]
struct LeadJson {
    id: LeadId,
    email: Option<String>,
    phone: Option<String>,
    zone: Option<String>,
    email_consent: String,
    sms_consent: String,
    attributes: Value,
    tags: Vec<String>,
    source: String,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<DateTime<Utc>>,
}

impl From<LeadView> for LeadJson {
    fn from(lead: LeadView) -> Self {
        Self {
            id: lead.lead_id.into(),
            email: lead.emails.into_iter().next(),
            phone: lead.phones.into_iter().next(),
            zone: lead.zone,
            email_consent: lead.email_consent,
            sms_consent: lead.sms_consent,
            attributes: lead.attributes,
            tags: lead.tags,
            source: lead.source,
            created_at: lead.created_at,
            erased_at: lead.erased_at,
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("email"),
            Column::Text("name"),
            Column::Text("zone"),
            Column::Text("tags"),
        ];
        let mut table = Table::new(&columns, "no leads: run `meridian lead import FILE`");
        for lead in &self.leads {
            table.row([
                lead.email.clone().unwrap_or_else(|| "-".to_owned()),
                name_of(&lead.attributes),
                lead.zone.clone().unwrap_or_else(|| "-".to_owned()),
                lead.tags.join(", "),
            ]);
        }
        table.fmt(f)?;
        match &self.next {
            Some(next) => writeln!(f, "\nthere are more: --after {next}"),
            None => Ok(()),
        }
    }
}

/// Returns what a lead is called: the person, else the company or the like.
fn name_of(attributes: &Value) -> String {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
    let person = format!("{} {}", text("first_name"), text("last_name"));
    let person = person.trim();
    if !person.is_empty() {
        return person.to_owned();
    }
    ["name", "company", "hotel"]
        .into_iter()
        .map(text)
        .find(|name| !name.is_empty())
        .unwrap_or("-")
        .to_owned()
}

async fn list(
    tag: Option<Tag>,
    after: Option<LeadId>,
    limit: i64,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let mut tx = session.store.begin(session.workspace).await?;
    let query = Query { tag, ..Query::default() };
    let leads = search::page(&mut tx, session.workspace, &query, after, limit).await?;
    let is_full = i64::try_from(leads.len()).is_ok_and(|n| n == limit);
    let next = leads.last().filter(|_| is_full).map(|lead| LeadId::from(lead.lead_id));
    let list = List { leads: leads.into_iter().map(LeadJson::from).collect(), next };
    bench.terminal.show(output.format(), &list)?;
    Ok(())
}

/// What an export may write over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Nothing,
    Whatever,
}

/// Opens the file that an export goes to.
fn create(path: &Path, over: Over) -> anyhow::Result<File> {
    let opened = match over {
        Over::Nothing => File::create_new(path),
        Over::Whatever => File::create(path),
    };
    match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already: `--force` writes over it", path.display())
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display())),
    }
}

async fn export(
    tag: Option<Tag>,
    to: Option<(&Path, Over)>,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let query = Query { tag, ..Query::default() };
    let (sender, mut chunks) = mpsc::channel(1);
    let mut file = to.map(|(path, over)| create(path, over)).transpose()?;
    let (store, workspace) = (&session.store, session.workspace);
    let made = async {
        let done = export::export(store, workspace, &query, ACTOR, &sender).await;
        drop(sender);
        done
    };
    let written = async {
        while let Some(chunk) = chunks.recv().await {
            match &mut file {
                Some(file) => file.write_all(&chunk)?,
                None => bench.terminal.write(&chunk)?,
            }
        }
        io::Result::Ok(())
    };
    let (made, written) = tokio::join!(made, written);
    written.context("cannot write the leads")?;
    let leads = match made? {
        1 => "1 lead".to_owned(),
        n => format!("{n} leads"),
    };
    match to {
        Some((path, _)) => bench.terminal.print(&format!("{leads} in {}\n", path.display()))?,
        None => bench.terminal.remark(format_args!("{leads}"))?,
    }
    Ok(())
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    lead: LeadJson,
    suppressions: Vec<SuppressionJson>,
    enrollments: Vec<Enrolled>,
}

/// An address or a domain to which nobody writes.
#[derive(Serialize)]
pub(super) struct SuppressionJson {
    id: SuppressionId,
    value: Option<String>,
    reason: String,
    pub(super) suppressed_at: DateTime<Utc>,
}

impl SuppressionJson {
    /// Tells whom it is about and why; `since` is its time on the reader's clock.
    pub(super) fn told(&self, since: impl fmt::Display) -> String {
        let whom = self.value.as_deref().unwrap_or("this person");
        format!("to {whom}: {}, since {since}", self.reason)
    }
}

impl From<SuppressionView> for SuppressionJson {
    fn from(view: SuppressionView) -> Self {
        Self {
            id: view.suppression_id.into(),
            value: view.value,
            reason: view.reason,
            suppressed_at: view.suppressed_at,
        }
    }
}

#[derive(Serialize)]
struct Enrolled {
    id: EnrollmentId,
    campaign: String,
    state: String,
    why: Option<String>,
    next_step: Option<String>,
    next_at: Option<DateTime<Utc>>,
}

impl From<EnrollmentRow> for Enrolled {
    fn from(row: EnrollmentRow) -> Self {
        Self {
            id: row.enrollment_id.into(),
            campaign: row.campaign,
            state: row.state,
            why: row.why,
            next_step: row.next_step,
            next_at: row.next_at,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lead = &self.lead;
        let mut facts = Facts::new();
        facts
            .add("lead", lead.id)
            .add_some("email", lead.email.as_ref())
            .add("consent", &lead.email_consent)
            .add_some("number", lead.phone.as_ref())
            .add_some("texts", lead.phone.as_ref().map(|_| &lead.sms_consent))
            .add("zone", lead.zone.as_deref().unwrap_or("the campaign's"))
            .add("tags", lead.tags.join(", "))
            .add("source", &lead.source)
            .add("since", times::utc(lead.created_at))
            .add_some("erased", lead.erased_at.map(times::utc));
        for entry in &self.suppressions {
            facts.add("never write", entry.told(times::utc(entry.suppressed_at)));
        }
        writeln!(f, "{facts}")?;
        let attributes: BTreeMap<&String, String> = match &lead.attributes {
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name, plain(value))).collect()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => BTreeMap::new(),
        };
        let mut table =
            Table::new(&[Column::Text("attribute"), Column::Text("value")], "no attributes");
        for (name, value) in attributes {
            table.row([name.clone(), value]);
        }
        writeln!(f, "{table}")?;
        let columns = [
            Column::Text("campaign"),
            Column::Text("state"),
            Column::Text("why"),
            Column::Text("next"),
            Column::Text("enrollment"),
        ];
        let mut table = Table::new(&columns, "in no campaign");
        for enrolled in &self.enrollments {
            let next = match (&enrolled.next_step, enrolled.next_at) {
                (Some(step), Some(at)) => format!("{step}, {}", times::utc(at)),
                (Some(step), None) => step.clone(),
                (None, _) => "-".to_owned(),
            };
            table.row([
                enrolled.campaign.clone(),
                enrolled.state.clone(),
                enrolled.why.clone().unwrap_or_else(|| "-".to_owned()),
                next,
                enrolled.id.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

async fn show(who: &str, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who).await?;
    let mut tx = session.store.begin(session.workspace).await?;
    let workspace: WorkspaceId = session.workspace;
    let Some(lead) = lead_views::by_ids(&mut tx, workspace, &[id]).await?.pop() else {
        bail!("there is no lead {id}: run `meridian lead list`");
    };
    let rows = enrollment_views::of_lead(&mut tx, workspace, id).await?;
    let key = SuppressionKey::new(&session.keys);
    let suppressions = suppression_list::of_lead(&mut tx, &key, workspace, &lead).await?;
    let shown = Shown {
        lead: lead.into(),
        suppressions: suppressions.into_iter().map(SuppressionJson::from).collect(),
        enrollments: rows.into_iter().map(Enrolled::from).collect(),
    };
    bench.terminal.show(output.format(), &shown)?;
    Ok(())
}

async fn forget(who: &str, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who).await?;
    let room = session.mailroom(bench.config)?;
    if !erase::erase(&room, session.workspace, id, ACTOR).await? {
        bail!("there is no lead {id}: run `meridian lead list`");
    }
    bench.terminal.print(&format!(
        "lead {id} is erased; its addresses are refused from now on, also in files\n"
    ))?;
    Ok(())
}
