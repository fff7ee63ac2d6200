//! Leads as a CSV file that spreadsheets open and our own import reads. It is made page by page, so a
//! million leads need no more memory than a thousand, and no transaction is held open for a reader
//! who takes long.

use std::collections::BTreeSet;

use csv::WriterBuilder;
use machine::ids::{LeadId, WorkspaceId};
use serde_json::Value;
use tokio::sync::mpsc;

use super::search::{self, Query};
use crate::error::Result;
use crate::store::audit::{self, Act};
use crate::store::lead_views::{self, LeadView};
use crate::store::{Store, clock};

/// Leads that are read at a time.
const PAGE: i64 = 1_000;

/// The columns before the attributes, in their order.
const COLUMNS: [&str; 11] = [
    "lead_id",
    "email",
    "other_emails",
    "text_numbers",
    "zone",
    "consent",
    "sms_consent",
    "call_consent",
    "tags",
    "lead_source",
    "lead_since",
];

/// Writes the leads that `query` asks for to `chunks`, in the order of their ids, each attribute that
/// one of them has in a column of its own. Ends early when nobody reads any more. That `actor` asked
/// for them is on record. Returns how many were written.
///
/// # Errors
///
/// When the database fails; what was written before is not a whole file then.
pub async fn export(
    store: &Store,
    workspace: WorkspaceId,
    query: &Query,
    actor: &str,
    chunks: &mpsc::Sender<Vec<u8>>,
) -> Result<u64> {
    let mut tx = store.begin(workspace).await?;
    let wall = clock::read(&mut tx).await?.wall;
    let subject = format!("workspace/{workspace}");
    let act = Act { actor, act: "lead.export", subject: &subject, details: None };
    audit::record(&mut tx, workspace, &act, wall).await?;
    tx.commit().await?;
    let mut names = BTreeSet::new();
    let mut pages = Pages { store, workspace, query, after: None };
    while let Some(leads) = pages.next().await? {
        for attributes in leads.iter().filter_map(|lead| lead.attributes.as_object()) {
            for name in attributes.keys() {
                if !names.contains(name) {
                    names.insert(name.clone());
                }
            }
        }
        if chunks.is_closed() {
            return Ok(0);
        }
    }
    let header = COLUMNS.iter().copied().chain(names.iter().map(String::as_str));
    if chunks.send(csv([header.map(guarded)])).await.is_err() {
        return Ok(0);
    }
    let mut written = 0;
    let mut pages = Pages { store, workspace, query, after: None };
    while let Some(leads) = pages.next().await? {
        let rows = csv(leads.iter().map(|lead| cells(lead, &names)));
        if chunks.send(rows).await.is_err() {
            break;
        }
        written += leads.len() as u64;
    }
    Ok(written)
}

struct Pages<'a> {
    store: &'a Store,
    workspace: WorkspaceId,
    query: &'a Query,
    after: Option<LeadId>,
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<LeadView>>> {
        let mut tx = self.store.begin(self.workspace).await?;
        let found = search::ids(&mut tx, self.workspace, self.query, self.after, PAGE).await?;
        let leads = lead_views::by_ids(&mut tx, self.workspace, &found).await?;
        tx.commit().await?;
        let Some(last) = leads.last() else { return Ok(None) };
        self.after = Some(LeadId::new(last.lead_id));
        Ok(Some(leads))
    }
}

fn cells(lead: &LeadView, names: &BTreeSet<String>) -> Vec<String> {
    let mut emails = lead.emails.iter();
    let email = emails.next().cloned().unwrap_or_default();
    let others: Vec<&str> = emails.map(String::as_str).collect();
    let mut cells = vec![
        lead.lead_id.to_string(),
        guarded(&email),
        guarded(&others.join("; ")),
        guarded(&lead.phones.join("; ")),
        lead.zone.clone().unwrap_or_default(),
        lead.email_consent.clone(),
        lead.sms_consent.clone(),
        lead.call_consent.clone(),
        guarded(&lead.tags.join("; ")),
        guarded(&lead.source),
        lead.created_at.to_rfc3339(),
    ];
    cells.extend(names.iter().map(|name| match lead.attributes.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => guarded(text),
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            value.to_string()
        }
    }));
    cells
}

/// Marks as text what a spreadsheet program would calculate, and with it whatever it was told to do.
fn guarded(text: &str) -> String {
    let is_formula = text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn csv<R: IntoIterator<Item = String>>(rows: impl IntoIterator<Item = R>) -> Vec<u8> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("memory takes everything, and rows are equally long");
    }
    writer.into_inner().expect("memory takes everything")
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn what_would_be_calculated_is_marked_as_text() {
        for text in ["=HYPERLINK(\"x\")", "+351", "-1+1", "@SUM(A1)", "\tx", "\0x", "＝1"] {
            assert_eq!(guarded(text), format!("'{text}"));
        }
        for text in ["", "Ada", "a=b", "1+1", "'quoted'"] {
            assert_eq!(guarded(text), text);
        }
    }
}
