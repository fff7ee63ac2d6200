//! `meridian schema`: the campaign file's JSON Schema, for editors that complete and check.

use std::process::ExitCode;

use machine::document::CampaignDocument;

use crate::terminal::Terminal;

/// Returns the schema as it is committed.
pub fn text() -> String {
    let schema = schemars::schema_for!(CampaignDocument);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain data");
    text.push('\n');
    text
}

pub(super) fn run(terminal: &mut Terminal) -> anyhow::Result<ExitCode> {
    terminal.print(&text())?;
    Ok(ExitCode::SUCCESS)
}
