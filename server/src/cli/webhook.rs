//! `meridian webhook`: where providers bring us bounces, complaints and replies.

use std::fmt;
use std::process::ExitCode;

use activities::endpoints;
use activities::store::endpoint_views::{self, EndpointView};
use activities::store::webhook_endpoints::EndpointId;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::Bench;
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

/// Where a signing key may be left for `webhook add`.
const KEY_VARIABLE: &str = "MERIDIAN_WEBHOOK_SIGNING_KEY";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an endpoint and print its address, once
    Add {
        /// Who posts to it
        provider: Provider,
        #[command(flatten)]
        output: Output,
    },
    /// List the endpoints
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Close an endpoint for good
    Revoke {
        /// Its id
        endpoint: EndpointId,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Provider {
    /// Mailgun: events and inbound mail
    Mailgun,
    /// Twilio: texts that come in, and what becomes of those we sent
    Twilio,
}

impl Provider {
    fn as_str(self) -> &'static str {
        endpoints::Provider::from(self).as_str()
    }

    /// What its posts are signed with, as its own pages call it.
    fn key_name(self) -> &'static str {
        match self {
            Self::Mailgun => "webhook signing key",
            Self::Twilio => "account's auth token",
        }
    }

    /// Where the address is to be entered.
    fn instructions(self) -> &'static str {
        match self {
            Self::Mailgun => {
                "Enter this address at the provider now: it is shown only once. Use it for\n\
                 every kind of event, and as the destination of a route for inbound mail.\n"
            }
            Self::Twilio => {
                "Enter this address at the provider now: it is shown only once. Use it where a\n\
                 message comes in (HTTP POST), for each number or for the messaging service.\n\
                 What becomes of texts we send is reported without further set-up.\n"
            }
        }
    }
}

impl From<Provider> for endpoints::Provider {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Mailgun => Self::Mailgun,
            Provider::Twilio => Self::Twilio,
        }
    }
}

#[derive(Serialize)]
struct Added {
    id: EndpointId,
    provider: &'static str,
    url: String,
    #[serde(skip)]
    instructions: &'static str,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "endpoint {} is open for {}", self.id, self.provider)?;
        writeln!(f, "  {}", self.url)?;
        f.write_str(self.instructions)
    }
}

#[derive(Serialize)]
struct List {
    endpoints: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: EndpointId,
    provider: String,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    last_event_at: Option<DateTime<Utc>>,
}

impl From<EndpointView> for Listed {
    fn from(view: EndpointView) -> Self {
        Self {
            id: view.endpoint_id.into(),
            provider: view.provider,
            created_at: view.created_at,
            revoked_at: view.revoked_at,
            last_event_at: view.last_event_at,
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("endpoint"),
            Column::Text("provider"),
            Column::Text("status"),
            Column::Text("since"),
            Column::Text("newest event"),
        ];
        let mut table = Table::new(&columns, "no endpoint yet: run `meridian webhook add mailgun`");
        for endpoint in &self.endpoints {
            let (status, since) = match endpoint.revoked_at {
                Some(at) => ("closed", at),
                None => ("open", endpoint.created_at),
            };
            table.row([
                endpoint.id.to_string(),
                endpoint.provider.clone(),
                status.to_owned(),
                times::utc(since),
                endpoint.last_event_at.map_or_else(|| "none yet".to_owned(), times::utc),
            ]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Revoked {
    id: EndpointId,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint {} is closed", self.id)
    }
}

pub(super) async fn run(command: Command, bench: Bench<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add { provider, output } => add(provider, output, bench).await?,
        Command::List { output } => {
            let session = bench.session;
            let mut tx = session.store.begin(session.workspace).await?;
            let endpoints = endpoint_views::list(&mut tx, session.workspace, None, 1_000).await?;
            let endpoints = endpoints.into_iter().map(Listed::from).collect();
            bench.terminal.show(output.format(), &List { endpoints })?;
        }
        Command::Revoke { endpoint, output } => revoke(endpoint, output, bench).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(provider: Provider, output: Output, mut bench: Bench<'_>) -> anyhow::Result<()> {
    let signing_key = signing_key(provider, &mut bench)?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let made = endpoints::add(
        store,
        &session.keys,
        workspace,
        provider.into(),
        &signing_key,
        &super::ACTOR,
    );
    let made = made.await?;
    let base = bench.config.link_base().parse().context("MERIDIAN_PUBLIC_URL")?;
    let url = made.address(&base);
    if bench.config.public_url.is_none() {
        bench.terminal.remark(
            "warning: MERIDIAN_PUBLIC_URL is not set, so the address below is this machine's own",
        )?;
    }
    bench.terminal.show(
        output.format(),
        &Added {
            id: made.id,
            provider: provider.as_str(),
            url,
            instructions: provider.instructions(),
        },
    )?;
    Ok(())
}

fn signing_key(provider: Provider, bench: &mut Bench<'_>) -> anyhow::Result<SecretString> {
    let name = provider.key_name();
    if let Some(key) = bench.environment.get(KEY_VARIABLE) {
        return Ok(key.into());
    }
    if !bench.terminal.is_interactive() {
        bail!("the provider's {name} is missing: set {KEY_VARIABLE}, or run this in a terminal");
    }
    let key = bench.terminal.ask_secret(&format!("the provider's {name}: "))?;
    if key.expose_secret().trim().is_empty() {
        bail!("the {name} is empty: copy it from the provider's own pages");
    }
    Ok(key)
}

async fn revoke(endpoint: EndpointId, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    if !endpoints::revoke(&session.store, session.workspace, endpoint, &super::ACTOR).await? {
        bail!("there is no open endpoint {endpoint}: run `meridian webhook list`");
    }
    bench.terminal.show(output.format(), &Revoked { id: endpoint })?;
    Ok(())
}
