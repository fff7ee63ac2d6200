//! `meridian enrollment`: one lead's run through one campaign, and orders about it.

mod list;
pub(super) mod mails;
mod moving;
pub(super) mod order;
mod show;

use std::process::ExitCode;

use activities::store::enrollment_views::{self, Filter};
use anyhow::bail;
use clap::Subcommand;
use machine::ids::EnrollmentId;

pub(super) use self::list::state;
use super::{Bench, lead};
use crate::session::Session;
use crate::terminal::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List enrollments with their state, the reason and what comes next
    List(list::List),
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
    /// Print what was written to a lead and what came back, in full
    Mails {
        /// Its id, or the mail address of its lead
        enrollment: String,
        /// The campaign, where a lead is in several
        #[arg(long)]
        campaign: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Let an enrollment go on with another version of its campaign
    Move {
        /// Its id, or the mail address of its lead
        enrollment: String,
        /// The campaign, where a lead is in several
        #[arg(long)]
        campaign: Option<String>,
        /// The version; the newest where it is left out
        #[arg(long)]
        to_version: Option<i32>,
    },
    /// Try again what was given up, from the step that failed
    Retry {
        /// Its id, or the mail address of its lead
        enrollment: String,
        /// The campaign, where a lead is in several
        #[arg(long)]
        campaign: Option<String>,
    },
    /// Give an order about an enrollment
    Signal {
        /// Its id, or the mail address of its lead
        enrollment: String,
        /// The campaign, where a lead is in several
        #[arg(long, global = true)]
        campaign: Option<String>,
        #[command(subcommand)]
        order: order::Order,
    },
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(command) => list::list(command, bench).await?,
        Command::Show { enrollment, campaign, output } => {
            show::show(&enrollment, campaign.as_deref(), output, bench).await?;
        }
        Command::Mails { enrollment, campaign, output } => {
            mails::show(&enrollment, campaign.as_deref(), output, bench).await?;
        }
        Command::Move { enrollment, campaign, to_version } => {
            moving::move_to(&enrollment, campaign.as_deref(), to_version, bench).await?;
        }
        Command::Retry { enrollment, campaign } => {
            order::signal(&enrollment, campaign.as_deref(), order::Order::Retry, bench).await?;
        }
        Command::Signal { enrollment, campaign, order } => {
            order::signal(&enrollment, campaign.as_deref(), order, bench).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
    let rows: Vec<_> =
        rows.iter().filter(|row| campaign.is_none_or(|name| row.campaign == name)).collect();
    match rows.as_slice() {
        [only] => Ok(only.enrollment_id.into()),
        [] => match campaign {
            Some(name) => bail!("{who} is not in `{name}`: run `meridian lead show {who}`"),
            None => bail!("{who} is in no campaign: run `meridian lead show {who}`"),
        },
        several => {
            let names: Vec<&str> = several.iter().map(|row| row.campaign.as_str()).collect();
            let names = names.join(", ");
            bail!("{who} is in several campaigns: name one with --campaign: {names}")
        }
    }
}
