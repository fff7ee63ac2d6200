//! `meridian enrollment`: one lead's run through one campaign, and orders about it.

use std::fmt;
use std::process::ExitCode;

use activities::enrollment_view::{self, EnrollmentView};
use activities::ids;
use activities::ingest::{self, Signalled, Verb};
use activities::store::enrollment_views::{self, EnrollmentRow, Filter, SendRow};
use activities::versions::Versions;
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use machine::explain::{Constraint, Plan, Shown};
use machine::ids::{EnrollmentId, LeadId, SendId};
use machine::key::StepKey;
use machine::signal::{CallResult, Decision, PauseScope, ReplyTo, ResumeRule, Signal};
use machine::state::State;
use serde::Serialize;

use super::Bench;
use super::lead;
use crate::session::Session;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::timeline::{self, Event};
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List enrollments with their state, the reason and what comes next
    List(List),
    /// Explain an enrollment: what it is doing, why, until when, and what happened
    Show {
        /// Its id, or the mail address of its lead
        enrollment: String,
        /// The campaign, where a lead is in several
        #[arg(long)]
        campaign: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Give an order about an enrollment
    Signal {
        /// Its id, or the mail address of its lead
        enrollment: String,
        /// The campaign, where a lead is in several
        #[arg(long)]
        campaign: Option<String>,
        #[command(subcommand)]
        order: Order,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// In this state, as in waiting, held or with_person
    #[arg(long, value_parser = state)]
    state: Option<Shown>,
    /// Of the lead with this address or id
    #[arg(long)]
    lead: Option<String>,
    /// Go on behind this enrollment
    #[arg(long, value_name = "ID")]
    after: Option<EnrollmentId>,
    /// At most this many
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    #[command(flatten)]
    output: Output,
}

/// What a person can order.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Order {
    /// Let it rest until it is resumed
    Pause,
    /// Let it go on
    Resume {
        /// What becomes of the wait that was interrupted
        #[arg(long, default_value = "keep")]
        rule: Rule,
    },
    /// Leave the next step out
    Skip,
    /// Do not wait for the delay; windows and limits still count
    SendNow,
    /// End it
    Stop,
    /// Offer the lead to a person
    HandOver,
    /// Say that the lead replied, where its mail does not come to us
    Replied,
    /// Approve the draft that waits
    Approve,
    /// Reject the draft that waits
    Reject,
    /// Say how the call went
    Called {
        /// How
        result: Called,
    },
}

/// What becomes of a wait that a pause interrupted.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Rule {
    /// It keeps its original time; if that has passed, it is over
    Keep,
    /// The rest of it follows from now on
    Shift,
    /// It begins anew
    Restart,
}

impl From<Rule> for ResumeRule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Keep => Self::Keep,
            Rule::Shift => Self::Shift,
            Rule::Restart => Self::Restart,
        }
    }
}

/// How a call went.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Called {
    /// The lead was spoken to
    Reached,
    /// Nobody answered
    NoAnswer,
    /// The number is wrong
    WrongNumber,
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(command) => list(command, bench).await?,
        Command::Show { enrollment, campaign, output } => {
            show(&enrollment, campaign.as_deref(), output, bench).await?;
        }
        Command::Signal { enrollment, campaign, order } => {
            signal(&enrollment, campaign.as_deref(), order, bench).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn state(word: &str) -> Result<Shown, String> {
    let found = Shown::ALL.into_iter().find(|shown| shown.as_str() == word);
    found.ok_or_else(|| {
        let all: Vec<&str> = Shown::ALL.iter().map(|shown| shown.as_str()).collect();
        format!("there is no such state: use one of {}", all.join(", "))
    })
}

/// Returns the enrollment with this id, or the one of the lead with this address.
///
/// # Errors
///
/// When there is none, or more than one.
pub(super) async fn find(
    session: &Session,
    who: &str,
    campaign: Option<&str>,
) -> anyhow::Result<EnrollmentId> {
    if let Ok(id) = who.parse::<EnrollmentId>() {
        return Ok(id);
    }
    let lead = lead::find(session, who).await?;
    let mut tx = session.store.begin(session.workspace).await?;
    let filter = Filter { lead: Some(lead), ..Filter::default() };
    let rows = enrollment_views::list(&mut tx, session.workspace, filter, None, 1_000).await?;
    let mut rows = rows.iter().filter(|row| campaign.is_none_or(|name| row.campaign == name));
    match (rows.next(), rows.next()) {
        (Some(only), None) => Ok(only.enrollment_id.into()),
        (None, _) => bail!("{who} is in no such campaign: run `meridian lead show {who}`"),
        (Some(_), Some(_)) => bail!("{who} is in several campaigns: name one with --campaign"),
    }
}

#[derive(Serialize)]
struct Listing {
    enrollments: Vec<RowJson>,
    /// Where the next page begins.
    next: Option<EnrollmentId>,
}

#[derive(Serialize)]
struct RowJson {
    id: EnrollmentId,
    campaign: String,
    lead: LeadId,
    email: Option<String>,
    zone: Option<String>,
    state: String,
    why: Option<String>,
    until: Option<DateTime<Utc>>,
    next_step: Option<String>,
    next_at: Option<DateTime<Utc>>,
    changed_at: DateTime<Utc>,
    parked_at: Option<DateTime<Utc>>,
}

impl From<EnrollmentRow> for RowJson {
    fn from(row: EnrollmentRow) -> Self {
        Self {
            id: row.enrollment_id.into(),
            campaign: row.campaign,
            lead: row.lead_id.into(),
            email: row.email,
            zone: row.zone,
            state: row.state,
            why: row.why,
            until: row.until,
            next_step: row.next_step,
            next_at: row.next_at,
            changed_at: row.changed_at,
            parked_at: row.parked_at,
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("lead"),
            Column::Text("campaign"),
            Column::Text("state"),
            Column::Text("why"),
            Column::Text("next"),
            Column::Text("when"),
        ];
        let mut table = Table::new(&columns, "no enrollments");
        for row in &self.enrollments {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let zone = row.zone.as_deref().and_then(|zone| zone.parse().ok());
            let when = row.next_at.or(row.until);
            table.row([
                row.email.clone().unwrap_or_else(|| row.lead.to_string()),
                row.campaign.clone(),
                if row.parked_at.is_some() { "failed".to_owned() } else { row.state.clone() },
                or_dash(&row.why),
                or_dash(&row.next_step),
                when.map_or_else(|| "-".to_owned(), |at| times::on(zone.unwrap_or_default(), at)),
            ]);
        }
        table.fmt(f)?;
        match &self.next {
            Some(next) => writeln!(f, "\nthere are more: --after {next}"),
            None => Ok(()),
        }
    }
}

async fn list(command: List, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let campaign = match &command.campaign {
        Some(name) => Some(super::campaign::find(&bench, name).await?.id),
        None => None,
    };
    let lead = match &command.lead {
        Some(who) => Some(lead::find(session, who).await?),
        None => None,
    };
    let filter = Filter { campaign, lead, state: command.state.map(Shown::as_str) };
    let mut tx = session.store.begin(session.workspace).await?;
    let limit = command.limit;
    let rows =
        enrollment_views::list(&mut tx, session.workspace, filter, command.after, limit).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|n| n == limit);
    let next = rows.last().filter(|_| is_full).map(|row| EnrollmentId::from(row.enrollment_id));
    let listing = Listing { enrollments: rows.into_iter().map(RowJson::from).collect(), next };
    bench.terminal.show(command.output.format(), &listing)?;
    Ok(())
}

#[derive(Serialize)]
struct Explained {
    id: EnrollmentId,
    campaign: String,
    version: i32,
    lead: LeadId,
    email: Option<String>,
    zone: &'static str,
    sender: Option<String>,
    now: DateTime<Utc>,
    parked_at: Option<DateTime<Utc>>,
    unseen: i32,
    plan: Plan,
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
}

impl From<SendRow> for SendJson {
    fn from(row: SendRow) -> Self {
        Self {
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
        }
    }
}

impl Explained {
    fn of(view: EnrollmentView, journal: Vec<Event>) -> Self {
        Self {
            id: view.id,
            version: view.version.number,
            zone: view.zone.name(),
            now: view.now,
            plan: view.plan,
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
        if self.parked_at.is_some() {
            writeln!(f, "Its turns failed again and again, so it was taken out of the run: see")?;
            writeln!(f, "`meridian dead-letter list`.")?;
        }
        if self.unseen > 0 {
            writeln!(f, "{} new facts are on their way to it.", self.unseen)?;
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
            .add_some("sender", self.sender.as_ref())
            .add("clock", format!("{}, now {}", self.zone, self.local(self.now)));
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

async fn show(
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
    bench.terminal.show(output.format(), &Explained::of(view, journal))?;
    Ok(())
}

async fn signal(
    who: &str,
    campaign: Option<&str>,
    order: Order,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who, campaign).await?;
    let view =
        enrollment_view::read(&session.store, &Versions::default(), session.workspace, id).await?;
    let signal = to_signal(order, &view)?;
    tell(session, id, signal).await?;
    bench.terminal.print(&format!("enrollment {id} was told"))?;
    Ok(())
}

/// Tells an enrollment what a person ordered.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn tell(
    session: &Session,
    enrollment: EnrollmentId,
    signal: Signal,
) -> anyhow::Result<()> {
    let source_key = format!("cli/{}", ids::new::<machine::ids::Send>());
    let verb = Verb { enrollment, signal, source_key, actor: super::ACTOR.to_owned() };
    match ingest::verb(&session.store, session.workspace, verb).await? {
        Signalled::Stored { .. } | Signalled::Repeated | Signalled::Unmatched => Ok(()),
    }
}

fn to_signal(order: Order, view: &EnrollmentView) -> anyhow::Result<Signal> {
    let scope = PauseScope::Lead;
    Ok(match order {
        Order::Pause => Signal::Paused { scope },
        Order::Resume { rule } => Signal::Resumed { scope, rule: rule.into() },
        Order::Skip => Signal::Skipped { step: next_step(view)? },
        Order::SendNow => Signal::SendNow { step: next_step(view)? },
        Order::Stop => Signal::Stopped,
        Order::HandOver if view.version.version.handover.is_none() => {
            bail!("the campaign names nobody to hand over to: add `handover.to` to its file")
        }
        Order::HandOver => Signal::HandOver,
        Order::Replied => Signal::Replied { to: ReplyTo::This, step: None },
        Order::Approve => decide(view, Decision::Approved)?,
        Order::Reject => decide(view, Decision::Rejected)?,
        Order::Called { result } => {
            let State::AwaitingCall { task, .. } = &view.enrollment.state else {
                bail!("no call of it is due; it is {}", view.plan.state);
            };
            let result = match result {
                Called::Reached => CallResult::Reached,
                Called::NoAnswer => CallResult::NoAnswer,
                Called::WrongNumber => CallResult::WrongNumber,
            };
            Signal::CallDone { effect: *task, result }
        }
    })
}

fn next_step(view: &EnrollmentView) -> anyhow::Result<StepKey> {
    match &view.plan.next {
        Some(next) => Ok(next.step.clone()),
        None => bail!("no step of it comes next; it is {}", view.plan.state),
    }
}

fn decide(view: &EnrollmentView, decision: Decision) -> anyhow::Result<Signal> {
    let State::AwaitingApproval { draft, .. } = &view.enrollment.state else {
        bail!("no draft of it waits; it is {}", view.plan.state);
    };
    Ok(Signal::ApprovalDecided { effect: *draft, decision })
}
