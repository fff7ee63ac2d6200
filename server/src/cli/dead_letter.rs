//! `meridian dead-letter`: work that was given up, until a person retries or dismisses it.

use std::fmt;
use std::process::ExitCode;

use activities::dead_letter_verb::{self, Retried};
use activities::received::{self, Letter};
use activities::store::dead_letters::{self, DeadLetter, DeadLetterId, Subject};
use activities::store::inbound_events;
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::Bench;
use super::enrollment::mails::write_letter;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what was given up, newest first
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Print a dead letter; of a mail, what it says
    Show {
        /// The dead letter
        id: DeadLetterId,
        #[command(flatten)]
        output: Output,
    },
    /// Put an enrollment back to work once its cause is mended
    Retry {
        /// The dead letter
        id: DeadLetterId,
    },
    /// Put a dead letter aside; what it is about stays as it is
    Dismiss {
        /// The dead letter
        id: DeadLetterId,
    },
}

#[derive(Serialize)]
struct List {
    dead_letters: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: DeadLetterId,
    kind: &'static str,
    subject: String,
    cause: String,
    at: DateTime<Utc>,
}

impl From<DeadLetter> for Listed {
    fn from(letter: DeadLetter) -> Self {
        let (kind, subject) = match letter.subject {
            Subject::Enrollment(id) => ("enrollment", id.to_string()),
            Subject::Event(id) => ("unread mail", id.to_string()),
            Subject::Unmatched(id) => ("message without a lead", id.to_string()),
        };
        Self { id: letter.id, kind, subject, cause: letter.cause, at: letter.at }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("dead letter"),
            Column::Text("since"),
            Column::Text("about"),
            Column::Text("cause"),
        ];
        let mut table = Table::new(&columns, "nothing was given up");
        for letter in &self.dead_letters {
            table.row([
                letter.id.to_string(),
                times::utc(letter.at),
                format!("{} {}", letter.kind, letter.subject),
                letter.cause.clone(),
            ]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    letter: Listed,
    mail: Option<Letter>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { letter, mail } = self;
        let mut facts = Facts::new();
        facts
            .add("dead letter", letter.id)
            .add("since", times::utc(letter.at))
            .add("about", format!("{} {}", letter.kind, letter.subject))
            .add("cause", &letter.cause);
        write!(f, "{facts}")?;
        match mail {
            None => Ok(()),
            Some(Letter::Read { from, subject, text, .. }) => {
                writeln!(f, "\nfrom {}", from.as_deref().unwrap_or("nobody"))?;
                write_letter(f, subject.as_deref(), text)
            }
            Some(Letter::Unreadable(why)) => writeln!(f, "\nit cannot be read: {why}"),
        }
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    match command {
        Command::List { output } => {
            let mut tx = store.begin(workspace).await?;
            let letters = dead_letters::open(&mut tx, workspace, None, 1_000).await?;
            let dead_letters = letters.into_iter().map(Listed::from).collect();
            bench.terminal.show(output.format(), &List { dead_letters })?;
        }
        Command::Show { id, output } => {
            let mut tx = store.begin(workspace).await?;
            let found = dead_letters::find(&mut tx, workspace, id).await?;
            let Some(dead) = found.filter(|letter| letter.resolution.is_none()) else {
                bail!("there is no such dead letter: run `meridian dead-letter list`");
            };
            let event = match dead.subject {
                Subject::Enrollment(_) => None,
                Subject::Event(event) | Subject::Unmatched(event) => {
                    inbound_events::get(&mut tx, workspace, event).await?
                }
            };
            tx.commit().await?;
            let mail = match event {
                Some(event) => Some(received::letter(&session.keys, workspace, event).await),
                None => None,
            };
            let shown = Shown { letter: Listed::from(dead), mail };
            bench.terminal.show(output.format(), &shown)?;
        }
        Command::Retry { id } => {
            match dead_letter_verb::retry(store, workspace, id, &super::ACTOR).await? {
                Retried::Working(enrollment) => {
                    bench.terminal.print(&format!("enrollment {enrollment} is back at work"))?;
                }
                Retried::NotAnEnrollment => bail!(
                    "it is about a mail, which is not repeated: read it with \
                     `meridian dead-letter show`, then dismiss it"
                ),
                Retried::NotOpen => {
                    bail!("there is no such dead letter: run `meridian dead-letter list`")
                }
            }
        }
        Command::Dismiss { id } => {
            if !dead_letter_verb::dismiss(store, workspace, id, &super::ACTOR).await? {
                bail!("there is no such dead letter: run `meridian dead-letter list`");
            }
            bench.terminal.print("dismissed")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
