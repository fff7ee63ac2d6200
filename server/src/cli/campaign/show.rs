//! What a campaign looks like: a row in the list, its steps with their numbers, its file.

use std::collections::BTreeMap;
use std::fmt;

use activities::campaigns::{self, Campaign, CampaignStatus};
use activities::senders;
use activities::store::campaigns::Counter;
use chrono::{DateTime, Utc};
use machine::document::{CampaignDocument, StepDocument};
use machine::explain::Shown;
use machine::ids::CampaignId;
use machine::key::StepKey;
use serde::Serialize;

use crate::cli::Bench;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::times;

/// What is shown of a step's counters, in this order.
const MEASURES: [&str; 5] = ["sent", "delivered", "clicked", "replied", "bounced"];

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
    let listed = campaigns::list(&session.store, session.workspace).await?;
    let campaigns = listed.into_iter().map(|(campaign, counters)| row(campaign, &counters));
    bench.terminal.show(output.format(), &List { campaigns: campaigns.collect() })?;
    Ok(())
}

fn row(campaign: Campaign, counters: &[Counter]) -> Listed {
    let states = states(counters);
    let over = |word: &str| Shown::ALL.iter().any(|it| it.as_str() == word && it.is_over());
    Listed {
        id: campaign.id,
        name: campaign.name,
        status: campaign.status,
        version: campaign.version,
        started_at: campaign.started_at,
        leads: states.values().sum(),
        live: states.iter().filter(|(word, _)| !over(word)).map(|(_, n)| n).sum(),
        sent: sum(counters, "sent"),
        replied: sum(counters, "replied"),
        states,
    }
}

/// Returns how many leads are in each state, in the order of a lead's life.
fn states(counters: &[Counter]) -> BTreeMap<&'static str, i64> {
    let count = |shown: Shown| sum(counters, &format!("state/{shown}"));
    let all = Shown::ALL.into_iter().map(|shown| (shown.as_str(), count(shown)));
    all.filter(|(_, n)| *n != 0).collect()
}

fn sum(counters: &[Counter], measure: &str) -> i64 {
    counters.iter().filter(|counter| counter.measure == measure).map(|counter| counter.n).sum()
}

/// A campaign with its steps.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    listed: Listed,
    description: Option<String>,
    senders: Vec<String>,
    zone: &'static str,
    per_day: Option<u32>,
    finished_at: Option<DateTime<Utc>>,
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
    counts: BTreeMap<&'static str, i64>,
    variants: BTreeMap<String, i64>,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = &self.listed;
        let mut facts = Facts::new();
        facts
            .add("campaign", &listed.name)
            .add_some("about", self.description.as_ref())
            .add("status", format!("{}, version {}", listed.status, listed.version))
            .add_some("started", listed.started_at.map(times::utc))
            .add_some("finished", self.finished_at.map(times::utc))
            .add("senders", self.senders.join(", "))
            .add("zone", self.zone)
            .add_some("a day", self.per_day);
        writeln!(f, "{facts}")?;
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
            cells.extend(MEASURES.map(|measure| match step.counts.get(measure) {
                Some(n) => n.to_string(),
                None => String::new(),
            }));
            table.row(cells);
            for (variant, sent) in &step.variants {
                let name = format!("{indent}  variant {variant}");
                let cells = [String::new(), name, String::new(), String::new(), sent.to_string()];
                table.row(cells);
            }
        }
        table
    }
}

pub(super) async fn one(name: &str, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = super::find(&bench, name).await?;
    let document = super::document(&bench, &campaign).await?;
    let session = bench.session;
    let counters = campaigns::counters(&session.store, session.workspace, campaign.id).await?;
    let known = senders::list(&session.store, session.workspace).await?;
    let wanted = &campaign.settings.senders;
    let senders = known.into_iter().filter(|sender| wanted.contains(&sender.id));
    let mut steps = Vec::new();
    collect(&document.steps, 0, &counters, &mut steps);
    let detail = Detail {
        description: document.description,
        senders: senders.map(|sender| sender.name).collect(),
        zone: campaign.settings.zone.name(),
        per_day: campaign.settings.per_day,
        finished_at: campaign.finished_at,
        steps,
        listed: row(campaign, &counters),
    };
    bench.terminal.show(output.format(), &detail)?;
    Ok(())
}

fn collect(steps: &[StepDocument], depth: usize, counters: &[Counter], rows: &mut Vec<StepRow>) {
    for step in steps {
        let own = || counters.iter().filter(|it| it.step_key.as_deref() == Some(step.key.as_str()));
        let count = |measure: &'static str| {
            let n = own().filter(|it| it.measure == measure).map(|it| it.n).sum::<i64>();
            (n != 0).then_some((measure, n))
        };
        let mut variants = BTreeMap::new();
        for counter in own().filter(|counter| counter.measure == "sent") {
            if let Some(variant) = &counter.variant {
                *variants.entry(variant.clone()).or_insert(0) += counter.n;
            }
        }
        rows.push(StepRow {
            number: rows.len() + 1,
            key: step.key.clone(),
            depth,
            does: does(step),
            after: after(step),
            counts: MEASURES.into_iter().filter_map(count).collect(),
            variants,
        });
        if let Some(condition) = &step.condition {
            collect(&condition.then, depth + 1, counters, rows);
            collect(&condition.otherwise, depth + 1, counters, rows);
        }
    }
}

/// Returns in a few words what a step does.
pub(in crate::cli) fn does(step: &StepDocument) -> String {
    let wordings = |n: usize| if n > 1 { format!(", {n} wordings") } else { String::new() };
    if let Some(email) = &step.email {
        format!("email{}", wordings(email.variants.len()))
    } else if let Some(sms) = &step.sms {
        format!("text message{}", wordings(sms.variants.len()))
    } else if step.call.is_some() {
        "call by a person".to_owned()
    } else if let Some(wait) = &step.wait_until {
        let clicks = !wait.clicks.is_empty();
        let events: Vec<&str> = [
            (wait.reply, "a reply"),
            (clicks, "a click"),
            (wait.attribute.is_some(), "an attribute"),
        ]
        .into_iter()
        .filter_map(|(named, event)| named.then_some(event))
        .collect();
        match events.as_slice() {
            [] => "wait".to_owned(),
            events => format!("wait for {}", events.join(" or ")),
        }
    } else if let Some(condition) = &step.condition {
        format!("decide: {} or {} steps", condition.then.len(), condition.otherwise.len())
    } else if step.handover.is_some() {
        "hand over to a person".to_owned()
    } else {
        "finish".to_owned()
    }
}

fn after(step: &StepDocument) -> Option<String> {
    match &step.wait_until {
        Some(wait) => Some(format!("at most {}", wait.limit)),
        None if step.wait.is_none() => None,
        None => Some(step.wait.to_string()),
    }
}

pub(super) async fn file(name: &str, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = super::find(&bench, name).await?;
    let document: CampaignDocument = super::document(&bench, &campaign).await?;
    bench.terminal.print(&serde_saphyr::to_string(&document)?)?;
    Ok(())
}
