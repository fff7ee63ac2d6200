//! `meridian schema`: the campaign file's JSON Schema, for editors that complete and check, and the
//! HTTP API's OpenAPI document, for programs that make clients.

use std::process::ExitCode;

use clap::ValueEnum;
use machine::document::CampaignDocument;
use serde::Serialize;

use crate::api;
use crate::terminal::Terminal;

#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Of what
    #[arg(default_value = "campaign")]
    of: Described,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Described {
    /// The campaign file: a JSON Schema
    Campaign,
    /// The HTTP API: an OpenAPI 3.1 document
    Api,
}

/// Returns the campaign file's schema as it is committed.
pub fn text() -> String {
    pretty(&schemars::schema_for!(CampaignDocument))
}

/// Returns the HTTP API's document as it is committed.
pub fn api_text() -> String {
    pretty(&api::document())
}

fn pretty(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a document is plain data");
    text.push('\n');
    text
}

pub(super) fn run(command: Schema, terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
    terminal.print(&match command.of {
        Described::Campaign => text(),
        Described::Api => api_text(),
    })?;
    Ok(ExitCode::SUCCESS)
}
