//! `meridian handover`: leads that need a person.

use std::fmt;
use std::process::ExitCode;

use activities::address::EmailAddress;
use activities::handover_cause::{self, Cause};
use activities::handovers::{self, Order, Ordered};
use activities::store::handover_views::{self, HandoverView, Which};
use activities::store::workspaces;
use activities::workspace_settings;
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use machine::ids::EnrollmentId;
use machine::signal::HandoverResult;
use machine::state::Responder;
use serde::Serialize;

use super::Bench;
use super::enrollment;
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the handovers, the most urgent first
    List {
        /// Also those that are over
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Print or set the mail address to which leads are offered where a campaign names nobody
    Address {
        /// The address; without it the one that is set is printed
        address: Option<EmailAddress>,
        /// Let there be none
        #[arg(long, conflicts_with = "address")]
        clear: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Take a lead
    Accept {
        #[command(flatten)]
        lead: Whose,
        /// Take it for the fallback address
        #[arg(long)]
        fallback: bool,
    },
    /// Say that the lead was answered
    Answered {
        #[command(flatten)]
        lead: Whose,
    },
    /// Close a handover
    Close {
        #[command(flatten)]
        lead: Whose,
        /// How it ended
        result: Closed,
    },
    /// Give the lead back to the sequence
    GiveBack {
        #[command(flatten)]
        lead: Whose,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Whose {
    /// The id of the enrollment, or the mail address of its lead
    enrollment: String,
    /// The campaign, where a lead is in several
    #[arg(long)]
    campaign: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Closed {
    /// We got what we wanted
    Won,
    /// We did not
    Lost,
}

#[derive(Serialize)]
struct List {
    handovers: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    enrollment: EnrollmentId,
    visit: i32,
    campaign: String,
    email: Option<String>,
    state: String,
    responder: String,
    agent: Option<String>,
    answer_by: Option<DateTime<Utc>>,
    overdue: bool,
    result: Option<String>,
    cause: Option<Cause>,
    opened_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

impl Listed {
    fn of(view: HandoverView, cause: Option<Cause>, now: DateTime<Utc>) -> Self {
        let overdue = view.closed_at.is_none() && view.answer_by.is_some_and(|by| by < now);
        Self {
            enrollment: view.enrollment_id.into(),
            visit: view.visit,
            campaign: view.campaign,
            email: view.email,
            state: view.state,
            responder: view.responder,
            agent: view.agent,
            answer_by: view.answer_by,
            overdue,
            result: view.result,
            cause,
            opened_at: view.opened_at,
            closed_at: view.closed_at,
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("lead"),
            Column::Text("campaign"),
            Column::Text("why"),
            Column::Text("state"),
            Column::Text("with"),
            Column::Text("since"),
            Column::Text("answer by"),
        ];
        let mut table = Table::new(&columns, "nobody waits for a person");
        for handover in &self.handovers {
            let state = match &handover.result {
                Some(result) => format!("{}, {result}", handover.state),
                None => handover.state.clone(),
            };
            let by = match (handover.answer_by, handover.overdue) {
                (Some(by), true) => format!("{} (overdue)", times::utc(by)),
                (Some(by), false) => times::utc(by),
                (None, _) => "-".to_owned(),
            };
            table.row([
                handover.email.clone().unwrap_or_else(|| handover.enrollment.to_string()),
                handover.campaign.clone(),
                handover.cause.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                state,
                handover.agent.as_ref().unwrap_or(&handover.responder).clone(),
                times::utc(handover.opened_at),
                by,
            ]);
        }
        table.fmt(f)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { all, output } => list(all, output, bench).await?,
        Command::Address { address, clear, output } => {
            set_address(address, clear.then_some(Clear), output, bench).await?;
        }
        Command::Accept { lead, fallback } => {
            let by = if fallback { Responder::Fallback } else { Responder::First };
            order(lead, Order::Accept(by), "is accepted", bench).await?;
        }
        Command::Answered { lead } => {
            order(lead, Order::Answered, "is marked as answered", bench).await?;
        }
        Command::Close { lead, result } => {
            let result = match result {
                Closed::Won => HandoverResult::Won,
                Closed::Lost => HandoverResult::Lost,
            };
            order(lead, Order::Close(result), "is closed", bench).await?;
        }
        Command::GiveBack { lead } => {
            order(lead, Order::GiveBack, "is given back", bench).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(all: bool, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let now = session.now().await?;
    let which = if all { Which::All } else { Which::Open };
    let mut tx = session.store.begin(session.workspace).await?;
    let handovers = handover_views::list(&mut tx, session.workspace, which, None, 1_000).await?;
    let named: Vec<_> =
        handovers.iter().map(|view| (view.enrollment_id.into(), view.visit)).collect();
    let mut causes = handover_cause::causes(&mut tx, session.workspace, &named).await?;
    let handovers = handovers.into_iter().map(|view| {
        let cause = causes.remove(&(view.enrollment_id.into(), view.visit));
        Listed::of(view, cause, now)
    });
    let handovers = handovers.collect();
    bench.terminal.show(output.format(), &List { handovers })?;
    Ok(())
}

/// Orders that there be no address.
struct Clear;

#[derive(Serialize)]
struct Address {
    address: Option<String>,
    /// Campaigns that hand over to it from now on, where it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaigns: Option<u64>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.campaigns) {
            (Some(address), None) => {
                write!(f, "leads are offered to {address} where a campaign names nobody")
            }
            (Some(address), Some(users)) => {
                let campaigns = match users {
                    0 => "no campaign uses it yet: write `handover: {}` into its file".to_owned(),
                    1 => "1 campaign uses it".to_owned(),
                    n => format!("{n} campaigns use it"),
                };
                write!(
                    f,
                    "leads are offered to {address} where a campaign names nobody; {campaigns}"
                )
            }
            (None, _) => write!(
                f,
                "there is no address: a campaign that hands over must name somebody; run `meridian \
                 handover address sales@example.com`"
            ),
        }
    }
}

async fn set_address(
    address: Option<EmailAddress>,
    clear: Option<Clear>,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let campaigns = if address.is_some() || clear.is_some() {
        let (address, admits) = (address.as_ref(), |_| true);
        let set = workspace_settings::set_handover_address(
            store,
            workspace,
            address,
            admits,
            &super::ACTOR,
        );
        Some(set.await??)
    } else {
        None
    };
    let mut tx = store.begin(workspace).await?;
    let address = workspaces::view(&mut tx, workspace).await?.handover_address;
    bench.terminal.show(output.format(), &Address { address, campaigns })?;
    Ok(())
}

async fn order(whose: Whose, order: Order, done: &str, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let id = enrollment::find(session, &whose.enrollment, whose.campaign.as_deref()).await?;
    let (store, workspace) = (&session.store, session.workspace);
    match handovers::order(store, workspace, id, order, &super::ACTOR).await? {
        Ordered::Told => {}
        Ordered::NoneOpen => {
            bail!("no person has {}: run `meridian handover list`", whose.enrollment)
        }
    }
    bench.terminal.print(&format!("the handover of {} {done}", whose.enrollment))?;
    Ok(())
}
