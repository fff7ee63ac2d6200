//! `meridian key`: programs that may use the HTTP API.

use std::fmt;
use std::process::ExitCode;

use activities::api_keys::{self, ApiKey, ApiKeyId, Role};
use activities::name;
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::Bench;
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it, once
    Create {
        /// What it is for, as in `CRM`
        #[arg(long, default_value = "command line", value_parser = name::read)]
        name: String,
        /// What it may do: viewer reads; operator runs campaigns; admin sets up senders and keys
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        output: Output,
    },
    /// List the keys
    List {
        #[command(flatten)]
        output: Output,
    },
    /// End a key for good
    Revoke {
        /// Its id
        key: ApiKeyId,
    },
}

#[derive(Serialize)]
struct Created {
    id: ApiKeyId,
    name: String,
    role: &'static str,
    secret: String,
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key {} ({}) may act as {}", self.id, self.name, self.role)?;
        writeln!(f, "  {}", self.secret)?;
        writeln!(f, "Keep it: it is shown only once. Programs send it with every request, as")?;
        writeln!(f, "  Authorization: Bearer KEY")
    }
}

#[derive(Serialize)]
struct List {
    keys: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: ApiKeyId,
    name: String,
    role: &'static str,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for Listed {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role.as_str(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("key"),
            Column::Text("name"),
            Column::Text("role"),
            Column::Text("made"),
            Column::Text("last used"),
            Column::Text("revoked"),
        ];
        let mut table = Table::new(&columns, "no key yet: run `meridian key create --role viewer`");
        let or_dash = |at: Option<DateTime<Utc>>| at.map_or_else(|| "-".to_owned(), times::utc);
        for key in &self.keys {
            table.row([
                key.id.to_string(),
                key.name.clone(),
                key.role.to_owned(),
                times::utc(key.created_at),
                or_dash(key.last_used_at),
                or_dash(key.revoked_at),
            ]);
        }
        table.fmt(f)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    let (store, workspace) = (&bench.session.store, bench.session.workspace);
    match command {
        Command::Create { name, role, output } => {
            let (key, secret) =
                api_keys::create(store, workspace, &name, role, &super::ACTOR).await?;
            let created = Created { id: key.id, name: key.name, role: key.role.as_str(), secret };
            bench.terminal.show(output.format(), &created)?;
        }
        Command::List { output } => {
            let keys = api_keys::list(store, workspace).await?;
            let list = List { keys: keys.into_iter().map(Listed::from).collect() };
            bench.terminal.show(output.format(), &list)?;
        }
        Command::Revoke { key } => {
            if !api_keys::revoke(store, workspace, key, &super::ACTOR).await? {
                bail!("there is no key {key} in force: run `meridian key list`");
            }
            bench.terminal.print(&format!("key {key} is revoked: it opens nothing from now on"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
