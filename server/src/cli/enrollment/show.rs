//! `meridian enrollment show`: what one enrollment is doing, why, until when, and what happened.

use std::fmt;

use activities::engine::Engine;
use activities::enrollment_view::{self, EnrollmentView};
use activities::store::send_views::{Became, SendView};
use activities::store::suppression_views::SuppressionView;
use activities::suppression_key::SuppressionKey;
use activities::suppression_list;
use activities::versions::Versions;
use chrono::{DateTime, Utc};
use machine::explain::{Constraint, Plan, Shown};
use machine::ids::{EnrollmentId, LeadId, SendId};
use serde::Serialize;
use url::Url;

use super::find;
use crate::cli::Bench;
use crate::cli::lead::SuppressionJson;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::timeline::{self, Event};
use crate::times;
use crate::workflow_pages::WorkflowPages;

#[derive(Serialize)]
struct Explained {
    id: EnrollmentId,
    campaign: String,
    engine: Engine,
    temporal_url: Option<Url>,
    version: i32,
    lead: LeadId,
    email: Option<String>,
    zone: &'static str,
    sender: Option<String>,
    now: DateTime<Utc>,
    parked_at: Option<DateTime<Utc>>,
    unseen: i32,
    plan: Plan,
    /// Its addresses to which nobody writes, and why.
    suppressions: Vec<SuppressionJson>,
    sends: Vec<SendJson>,
    journal: Vec<Event>,
}

#[derive(Serialize)]
struct SendJson {
    id: SendId,
    kind: String,
    step: String,
    attempt: i32,
    variant: Option<String>,
    state: String,
    detail: Option<String>,
    sender: Option<String>,
    at: Option<DateTime<Utc>>,
    slot_at: Option<DateTime<Utc>>,
    subject: Option<String>,
    provider_id: Option<String>,
    message_id: Option<String>,
    outcome: Option<Became>,
    #[serde(skip)]
    is_in_doubt: bool,
}

impl From<SendView> for SendJson {
    fn from(row: SendView) -> Self {
        Self {
            is_in_doubt: row.is_in_doubt(),
            outcome: row.became(),
            id: row.send_id.into(),
            kind: row.kind,
            step: row.step_key,
            attempt: row.attempt,
            variant: row.variant,
            state: row.state,
            detail: row.detail,
            sender: row.sender,
            at: row.gate_at,
            slot_at: row.slot_at,
            subject: row.subject,
            provider_id: row.provider_id,
            message_id: row.message_id,
        }
    }
}

impl Explained {
    fn of(
        view: EnrollmentView,
        temporal_url: Option<Url>,
        suppressions: Vec<SuppressionView>,
        journal: Vec<Event>,
    ) -> Self {
        Self {
            id: view.id,
            engine: view.stored.engine,
            temporal_url,
            version: view.version.number,
            zone: view.zone.name(),
            now: view.now,
            plan: view.plan,
            suppressions: suppressions.into_iter().map(SuppressionJson::from).collect(),
            sends: view.sends.into_iter().map(SendJson::from).collect(),
            journal,
            lead: view.stored.lead_id.into(),
            campaign: view.stored.campaign,
            email: view.stored.email,
            sender: view.stored.sender,
            parked_at: view.stored.parked_at,
            unseen: view.stored.unseen,
        }
    }

    fn local(&self, at: DateTime<Utc>) -> String {
        times::short(self.zone.parse().unwrap_or_default(), at)
    }

    fn write_plan(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "{}", plan.headline)?;
        if !self.suppressions.is_empty() && !plan.state.is_over() {
            writeln!(
                f,
                "To an address that is suppressed nothing is sent: at its next message there the"
            )?;
            writeln!(f, "lead leaves the campaign instead.")?;
        }
        if plan.state == Shown::Failed && self.parked_at.is_none() {
            writeln!(f, "  try it again:  meridian enrollment retry {}", self.id)?;
        }
        for send in self.sends.iter().filter(|send| send.is_in_doubt) {
            writeln!(f, "  it went out:  meridian review sent {}", send.id)?;
            writeln!(f, "  it did not:   meridian review again {}", send.id)?;
        }
        if self.parked_at.is_some() {
            writeln!(f, "It failed to move again and again, so it was taken out of the run: see")?;
            writeln!(f, "`meridian dead-letter list`.")?;
        }
        match self.unseen {
            0 => {}
            1 => writeln!(f, "1 new fact is on its way to it.")?,
            n => writeln!(f, "{n} new facts are on their way to it.")?,
        }
        if let Some(next) = &plan.next {
            let at = next.at.map_or_else(|| "when that is settled".to_owned(), |at| self.local(at));
            writeln!(f, "\nnext      `{}`, {at}", next.step)?;
        }
        for (index, constraint) in plan.constraints.iter().enumerate() {
            let head = if index == 0 { "because" } else { "" };
            writeln!(f, "{head:<9} {}", self.constraint(constraint))?;
        }
        if !plan.wakes_on.is_empty() {
            let wakes: Vec<String> = plan.wakes_on.iter().map(wakes_on).collect();
            writeln!(f, "wakes on  {}", wakes.join(", "))?;
        }
        for (index, forecast) in plan.then.iter().enumerate() {
            let head = if index == 0 { "then" } else { "" };
            let step = match &forecast.step {
                Some(step) => format!("`{step}`"),
                None => "the end".to_owned(),
            };
            let at =
                forecast.at.map(|at| format!(", about {}", self.local(at))).unwrap_or_default();
            let condition =
                forecast.condition.as_ref().map(|it| format!(", {it}")).unwrap_or_default();
            let other =
                forecast.otherwise.as_ref().map(|it| format!("; else {it}")).unwrap_or_default();
            writeln!(f, "{head:<9} {step}{at}{condition}{other}")?;
        }
        Ok(())
    }

    /// The one that decides is marked.
    fn constraint(&self, constraint: &Constraint) -> String {
        let mark = if constraint.binding { '*' } else { ' ' };
        let at = self.local(constraint.not_before);
        format!("{mark} {at}  {} ({})", constraint.label, constraint.kind.as_str())
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Facts::new();
        facts
            .add("enrollment", self.id)
            .add("lead", self.email.clone().unwrap_or_else(|| self.lead.to_string()))
            .add("campaign", format!("{}, version {}", self.campaign, self.version))
            .add("engine", self.engine)
            .add_some("workflow", self.temporal_url.as_ref())
            .add_some("sender", self.sender.as_ref())
            .add_some("score", self.plan.score)
            .add("clock", format!("{}, now {}", self.zone, self.local(self.now)));
        for entry in &self.suppressions {
            facts.add("never write", entry.told(self.local(entry.suppressed_at)));
        }
        writeln!(f, "{facts}")?;
        self.write_plan(f)?;
        writeln!(f, "\nWhat happened")?;
        let mut table = Table::new(
            &[Column::Text("when"), Column::Text("what"), Column::Text("then")],
            "  nothing yet",
        );
        for event in &self.journal {
            let then = match &event.next {
                Some((step, Some(at))) => format!("{}: `{step}` {}", event.state, self.local(*at)),
                Some((step, None)) => format!("{}: `{step}`", event.state),
                None => event.state.clone(),
            };
            table.row([self.local(event.at), event.what.clone(), then]);
        }
        table.fmt(f)?;
        if self.sends.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nMails")?;
        let mut table = Table::new(
            &[
                Column::Text("when"),
                Column::Text("mail"),
                Column::Text("state"),
                Column::Text("from"),
                Column::Text("subject"),
            ],
            "",
        );
        for send in &self.sends {
            let mail = match &send.variant {
                Some(variant) => format!("{} ({variant})", send.step),
                None if send.kind == "handover" => format!("offer to {}", send.step),
                None if send.kind == "answer" => "answer of a person".to_owned(),
                None => send.step.clone(),
            };
            let state = match &send.detail {
                Some(detail) if send.state != "accepted" => format!("{} ({detail})", send.state),
                Some(_) | None => send.state.clone(),
            };
            table.row([
                send.at.or(send.slot_at).map_or_else(|| "-".to_owned(), |at| self.local(at)),
                mail,
                state,
                send.sender.clone().unwrap_or_else(|| "-".to_owned()),
                send.subject.clone().unwrap_or_default(),
            ]);
        }
        table.fmt(f)
    }
}

fn wakes_on(wake: &machine::explain::WakesOn) -> String {
    let word = serde_json::to_value(wake).ok();
    word.and_then(|word| word.as_str().map(|word| word.replace('_', " "))).unwrap_or_default()
}

pub(super) async fn show(
    who: &str,
    campaign: Option<&str>,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who, campaign).await?;
    let (store, workspace) = (&session.store, session.workspace);
    let view = enrollment_view::read(store, &Versions::default(), workspace, id).await?;
    let entries = enrollment_view::journal(store, workspace, id).await?;
    let journal = timeline::tell(&view, workspace, &entries);
    let key = SuppressionKey::new(&session.keys);
    let mut tx = store.begin(workspace).await?;
    let lead = view.stored.lead_id.into();
    let suppressions = suppression_list::about(&mut tx, &key, workspace, lead).await?;
    tx.commit().await?;
    let temporal_url = match view.stored.engine {
        Engine::Temporal => {
            WorkflowPages::find_or_warn(bench.config).map(|pages| pages.lead(workspace, id))
        }
        Engine::Postgres => None,
    };
    let explained = Explained::of(view, temporal_url, suppressions, journal);
    bench.terminal.show(output.format(), &explained)?;
    Ok(())
}
