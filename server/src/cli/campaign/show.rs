//! What a campaign looks like: a row in the list, its steps with their numbers, its file.

use std::collections::BTreeMap;
use std::fmt;

use activities::campaigns::CampaignStatus;
use activities::campaigns::view::{self, Counts, MEASURES, Overview, StepView};
use activities::engine::Engine;
use activities::shell::word;
use chrono::{DateTime, Utc};
use machine::document::CampaignDocument;
use machine::explain::Shown;
use machine::ids::CampaignId;
use machine::key::StepKey;
use serde::Serialize;
use url::Url;

use crate::cli::Bench;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::times;
use crate::workflow_pages::WorkflowPages;

/// The most campaigns a list shows.
const LIST_MAX: i64 = 1_000;

#[derive(Serialize)]
struct List {
    campaigns: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: CampaignId,
    name: String,
    status: CampaignStatus,
    version: i32,
    engine: Engine,
    start_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    leads: i64,
    live: i64,
    sent: i64,
    replied: i64,
    states: BTreeMap<&'static str, i64>,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(
            &[
                Column::Text("name"),
                Column::Text("status"),
                Column::Text("engine"),
                Column::Number("version"),
                Column::Number("leads"),
                Column::Number("live"),
                Column::Number("sent"),
                Column::Number("replied"),
            ],
            "no campaign yet: run `meridian campaign apply FILE`",
        );
        for campaign in &self.campaigns {
            table.row([
                campaign.name.clone(),
                campaign.status.to_string(),
                campaign.engine.to_string(),
                campaign.version.to_string(),
                campaign.leads.to_string(),
                campaign.live.to_string(),
                campaign.sent.to_string(),
                campaign.replied.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

pub(super) async fn list(output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let listed = view::list(&session.store, session.workspace, None, None, LIST_MAX).await?;
    let campaigns = listed.into_iter().map(Listed::from).collect();
    bench.terminal.show(output.format(), &List { campaigns })?;
    Ok(())
}

impl From<Overview> for Listed {
    fn from(overview: Overview) -> Self {
        let Overview { campaign, leads, live, sent, replied, states } = overview;
        Self {
            id: campaign.id,
            name: campaign.name,
            status: campaign.status,
            version: campaign.version,
            engine: campaign.engine,
            start_at: campaign.start_at,
            started_at: campaign.started_at,
            leads,
            live,
            sent,
            replied,
            states,
        }
    }
}

/// A campaign with its steps.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    listed: Listed,
    temporal_url: Option<Url>,
    description: Option<String>,
    senders: Vec<String>,
    zone: &'static str,
    per_day: Option<u32>,
    finished_at: Option<DateTime<Utc>>,
    /// Messages of which nobody knows whether they left.
    in_doubt: i64,
    steps: Vec<StepRow>,
}

#[derive(Serialize)]
struct StepRow {
    number: usize,
    key: StepKey,
    #[serde(skip)]
    depth: usize,
    does: String,
    after: Option<String>,
    counts: Counts,
    variants: BTreeMap<String, Counts>,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = &self.listed;
        let mut facts = Facts::new();
        facts
            .add("campaign", &listed.name)
            .add_some("about", self.description.as_ref())
            .add("status", format!("{}, version {}", listed.status, listed.version))
            .add("engine", listed.engine)
            .add_some("workflows", self.temporal_url.as_ref())
            .add_some("starts", listed.start_at.map(times::utc))
            .add_some("started", listed.started_at.map(times::utc))
            .add_some("finished", self.finished_at.map(times::utc))
            .add("senders", self.senders.join(", "))
            .add("zone", self.zone)
            .add_some("a day", self.per_day);
        writeln!(f, "{facts}")?;
        if self.in_doubt > 0 {
            let nobody_knows = nobody_knows(self.in_doubt);
            writeln!(f, "{nobody_knows}; `meridian review list` lists them\n")?;
        }
        let failed = listed.states.get(Shown::Failed.as_str()).copied().unwrap_or_default();
        if failed > 0 && listed.status != CampaignStatus::Stopped {
            let name = word(&listed.name);
            writeln!(f, "{}", given_up(failed))?;
            writeln!(
                f,
                "  who:           meridian enrollment list --campaign {name} --state failed"
            )?;
            writeln!(f, "  try it again:  meridian campaign retry {name}\n")?;
        }
        write!(f, "{}", self.steps_table())?;
        if listed.leads > 0 {
            let mut table = Table::new(&[Column::Text("state"), Column::Number("leads")], "");
            for shown in Shown::ALL {
                if let Some(n) = listed.states.get(shown.as_str()) {
                    table.row([shown.as_str().to_owned(), n.to_string()]);
                }
            }
            write!(f, "\n{table}")?;
        }
        Ok(())
    }
}

impl Detail {
    fn steps_table(&self) -> Table {
        let mut columns = vec![
            Column::Number("#"),
            Column::Text("step"),
            Column::Text("does"),
            Column::Text("after"),
        ];
        columns.extend(MEASURES.map(Column::Number));
        let mut table = Table::new(&columns, "no steps");
        for step in &self.steps {
            let indent = "  ".repeat(step.depth);
            let mut cells = vec![
                step.number.to_string(),
                format!("{indent}{}", step.key),
                step.does.clone(),
                step.after.clone().unwrap_or_default(),
            ];
            cells.extend(MEASURES.map(|measure| number(&step.counts, measure)));
            table.row(cells);
            for (variant, counts) in &step.variants {
                let name = format!("{indent}  variant {variant}");
                let mut cells = vec![String::new(), name, String::new(), String::new()];
                cells.extend(MEASURES.map(|measure| number(counts, measure)));
                table.row(cells);
            }
        }
        table
    }
}

fn number(counts: &Counts, measure: &str) -> String {
    counts.get(measure).map(ToString::to_string).unwrap_or_default()
}

pub(super) async fn one(name: &str, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = super::find(&bench, name).await?;
    let session = bench.session;
    let view = view::read(&session.store, session.workspace, campaign.id).await?;
    let temporal_url = match campaign.engine {
        Engine::Temporal => {
            WorkflowPages::find_or_warn(bench.config).map(|pages| pages.campaign(campaign.id))
        }
        Engine::Postgres => None,
    };
    let detail = Detail {
        temporal_url,
        description: view.document.description,
        senders: view.senders,
        zone: campaign.settings.zone.name(),
        per_day: campaign.settings.per_day,
        finished_at: campaign.finished_at,
        in_doubt: view.in_doubt,
        steps: view.steps.into_iter().map(StepRow::from).collect(),
        listed: view.overview.into(),
    };
    bench.terminal.show(output.format(), &detail)?;
    Ok(())
}

/// Tells how many leads were given up.
pub(in crate::cli) fn given_up(failed: i64) -> String {
    match failed {
        1 => "1 lead failed: its message was refused too often, or for what it says".to_owned(),
        n => format!("{n} leads failed: messages were refused too often, or for what they say"),
    }
}

/// Tells how many messages wait for a person's word.
pub(in crate::cli) fn nobody_knows(in_doubt: i64) -> String {
    let which = match in_doubt {
        1 => "of 1 message nobody knows whether it went out".to_owned(),
        n => format!("of {n} messages nobody knows whether they went out"),
    };
    format!("{which}: a person must say")
}

impl From<StepView> for StepRow {
    fn from(step: StepView) -> Self {
        let StepView { number, key, depth, does, after, counts, variants } = step;
        Self { number, key, depth, does, after, counts, variants }
    }
}

pub(super) async fn file(name: &str, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = super::find(&bench, name).await?;
    let document: CampaignDocument = super::document(&bench, &campaign).await?;
    bench.terminal.print(&serde_saphyr::to_string(&document)?)?;
    Ok(())
}
