//! `meridian lead`: the people campaigns may write to.

mod export;
mod import;
mod show;
mod which;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use activities::import::{Mapping, Options, Policy};
use activities::leads::search::{self, Query};
use activities::leads::{self as people, AttributeChange, Change, NotChanged, erase};
use activities::origin::Correspondent;
use activities::phone::Country;
use activities::store::lead_views::{self, LeadView};
use activities::store::matches;
use activities::tag::Tag;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use machine::ids::LeadId;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use self::export::Over;
pub(super) use self::import::{Imported, import_file, tell_before};
pub(super) use self::show::SuppressionJson;
pub(super) use self::which::Which;
use super::{ACTOR, Bench};
use crate::session::Session;
use crate::tables::{Column, Table};
use crate::terminal::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Import leads from a CSV file; repeating it changes nothing
    Import {
        /// The file; its first line names the columns, one of which is `email` or `phone`
        file: PathBuf,
        /// Put this tag on every lead of the file
        #[arg(long)]
        tag: Vec<Tag>,
        /// Where telephone numbers without a country code are dialled, as in PT; the two letters in a
        /// row's own column `country` go before it
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
        #[command(flatten)]
        which: Box<Which>,
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
        #[command(flatten)]
        which: Box<Which>,
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
    /// Say where a lead stands with us, or show it; its campaigns hear of what is said
    Stage {
        /// Its mail address, number or id
        lead: String,
        /// As in qualified, customer or lost; without it the stage is shown
        stage: Option<String>,
        /// Take back what was said: what happened says it then, as new, contacted or replied
        #[arg(long, conflicts_with = "stage")]
        clear: bool,
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
            import::run(&file, options, output, bench).await?;
        }
        Command::List { tag, which, after, limit, output } => {
            list(which.query(tag), after, limit, output, bench).await?;
        }
        Command::Stage { lead, stage: Some(stage), clear: _ } => {
            say_stage(&lead, Value::String(stage_said(&stage)?), bench).await?;
        }
        Command::Stage { lead, stage: None, clear: true } => {
            say_stage(&lead, Value::Null, bench).await?;
        }
        Command::Stage { lead, stage: None, clear: false } => {
            let id = find(bench.session, &lead).await?;
            show_stage(&lead, id, bench).await?;
        }
        Command::Export { tag, which, file, force } => {
            let over = if force { Over::Whatever } else { Over::Nothing };
            export::run(which.query(tag), file.as_deref().map(|file| (file, over)), bench).await?;
        }
        Command::Show { lead, output } => show::run(&lead, output, bench).await?,
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
struct List {
    leads: Vec<LeadJson>,
    /// Where the next page begins.
    next: Option<LeadId>,
    /// What is said where there are none.
    #[serde(skip)]
    nobody: &'static str,
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
    stage: String,
    source: String,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<DateTime<Utc>>,
}

impl LeadJson {
    /// A lead at this stage.
    fn of(lead: LeadView, stage: Option<String>) -> Self {
        Self {
            id: lead.lead_id.into(),
            email: lead.emails.into_iter().next(),
            phone: lead.phones.into_iter().next(),
            zone: lead.zone,
            email_consent: lead.email_consent,
            sms_consent: lead.sms_consent,
            attributes: lead.attributes,
            tags: lead.tags,
            stage: stage.unwrap_or_else(|| "new".to_owned()),
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
            Column::Text("stage"),
            Column::Text("tags"),
        ];
        let mut table = Table::new(&columns, self.nobody);
        for lead in &self.leads {
            table.row([
                lead.email.as_ref().or(lead.phone.as_ref()).map_or("-", String::as_str).to_owned(),
                name_of(&lead.attributes),
                lead.zone.clone().unwrap_or_else(|| "-".to_owned()),
                lead.stage.clone(),
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
    query: Query,
    after: Option<LeadId>,
    limit: i64,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let mut tx = session.store.begin(session.workspace).await?;
    let leads = search::page(&mut tx, session.workspace, &query, after, limit).await?;
    let is_full = i64::try_from(leads.len()).is_ok_and(|n| n == limit);
    let next = leads.last().filter(|_| is_full).map(|lead| LeadId::from(lead.lead_id));
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.lead_id).collect();
    let mut stages = lead_views::stages(&mut tx, session.workspace, &ids).await?;
    let leads = leads.into_iter().map(|lead| {
        let stage = stages.remove(&lead.lead_id);
        LeadJson::of(lead, stage)
    });
    let is_everybody = query == Query::default() && after.is_none();
    let import = "no leads: run `meridian lead import FILE`";
    let nobody = if is_everybody { import } else { "no lead is all that was asked for" };
    let list = List { leads: leads.collect(), next, nobody };
    bench.terminal.show(output.format(), &list)?;
    Ok(())
}

fn stage_said(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 100 || text.contains(char::is_control) {
        bail!("a stage has 1 to 100 characters on one line");
    }
    Ok(text.to_owned())
}

/// Says where a lead stands; null takes back what was said.
async fn say_stage(who: &str, said: Value, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who).await?;
    let room = session.mailroom(bench.config)?;
    let patch = [("stage".to_owned(), said)].into_iter().collect();
    let change = Change { attributes: AttributeChange::Merge(patch), ..Change::default() };
    let (workspace, admits) = (session.workspace, |_| true);
    match people::change(&room, workspace, id, &change, admits, &ACTOR).await? {
        Ok(_) => {}
        Err(NotChanged::NoSuchLead) => bail!("there is no lead {id}: run `meridian lead list`"),
        Err(NotChanged::Erased) => bail!("the person was erased"),
        Err(NotChanged::Attributes(error)) => return Err(error.into()),
        Err(NotChanged::Stale | NotChanged::NoAddress | NotChanged::Refused(_)) => {
            bail!("somebody else changed it meanwhile: try again")
        }
    }
    show_stage(who, id, bench).await
}

async fn show_stage(who: &str, id: LeadId, bench: Bench<'_>) -> anyhow::Result<()> {
    let (store, workspace) = (&bench.session.store, bench.session.workspace);
    let mut tx = store.begin(workspace).await?;
    let mut stages = lead_views::stages(&mut tx, workspace, &[id.uuid()]).await?;
    let Some(stage) = stages.remove(&id.uuid()) else {
        bail!("there is no lead {id}: run `meridian lead list`");
    };
    bench.terminal.print(&format!("{who} is at the stage `{stage}`"))?;
    Ok(())
}

async fn forget(who: &str, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who).await?;
    let room = session.mailroom(bench.config)?;
    if !erase::erase(&room, session.workspace, id, &ACTOR).await? {
        bail!("there is no lead {id}: run `meridian lead list`");
    }
    bench.terminal.print(&format!(
        "lead {id} is erased; its addresses are refused from now on, also in files\n"
    ))?;
    Ok(())
}
