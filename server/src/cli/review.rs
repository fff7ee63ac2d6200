//! `meridian review`: mails of which nobody knows whether they left. No program sends them again; a
//! person looks into the mailbox and says.

use std::fmt;
use std::process::ExitCode;

use activities::reviews::{self, Verdict};
use activities::store::reviews::{self as store, Review};
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use machine::ids::{EnrollmentId, SendId};
use serde::Serialize;

use super::Bench;
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the mails that wait for a person's word, oldest first
    List {
        #[command(flatten)]
        output: Output,
    },
    /// It went: the sequence goes on
    Sent {
        /// The mail
        send: SendId,
    },
    /// It did not go: it is sent again
    Again {
        /// The mail
        send: SendId,
    },
}

#[derive(Serialize)]
struct List {
    reviews: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: SendId,
    enrollment: EnrollmentId,
    campaign: String,
    step: String,
    address: Option<String>,
    sender: Option<String>,
    at: Option<DateTime<Utc>>,
    detail: Option<String>,
}

impl From<Review> for Listed {
    fn from(review: Review) -> Self {
        Self {
            id: review.send_id.into(),
            enrollment: review.enrollment_id.into(),
            campaign: review.campaign,
            // What a person of ours wrote has no step; its mail says nothing to anybody.
            step: match review.kind.as_str() {
                "answer" => "answer of a person".to_owned(),
                _ => review.step_key,
            },
            address: review.address,
            sender: review.sender,
            at: review.gate_at,
            detail: review.detail,
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("mail"),
            Column::Text("to"),
            Column::Text("from"),
            Column::Text("step"),
            Column::Text("when"),
            Column::Text("seen last"),
        ];
        let mut table = Table::new(&columns, "of every mail it is known whether it left");
        for review in &self.reviews {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            table.row([
                review.id.to_string(),
                or_dash(&review.address),
                or_dash(&review.sender),
                review.step.clone(),
                review.at.map_or_else(|| "-".to_owned(), times::utc),
                or_dash(&review.detail),
            ]);
        }
        table.fmt(f)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { output } => {
            let session = bench.session;
            let mut tx = session.store.begin(session.workspace).await?;
            let reviews = store::list(&mut tx, session.workspace, 1_000).await?;
            let reviews = reviews.into_iter().map(Listed::from).collect();
            bench.terminal.show(output.format(), &List { reviews })?;
        }
        Command::Sent { send } => {
            decide(send, Verdict::Sent, "counts as sent", bench).await?;
        }
        Command::Again { send } => {
            decide(send, Verdict::Lost, "is sent again", bench).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(
    send: SendId,
    verdict: Verdict,
    done: &str,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let room = session.mailroom(bench.config)?;
    if !reviews::decide(&room, session.workspace, send, verdict, &super::ACTOR).await? {
        bail!("no mail {send} waits for a word: run `meridian review list`");
    }
    bench.terminal.print(&format!("the mail {send} {done}"))?;
    Ok(())
}
