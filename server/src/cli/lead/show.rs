//! One lead, with everything known about it.

use std::collections::BTreeMap;
use std::fmt;

use activities::store::enrollment_views::{self, EnrollmentRow};
use activities::store::lead_views;
use activities::store::suppression_views::SuppressionView;
use activities::store::suppressions::SuppressionId;
use activities::suppression_key::SuppressionKey;
use activities::suppression_list;
use anyhow::bail;
use chrono::{DateTime, Utc};
use machine::ids::{EnrollmentId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;

use super::{LeadJson, find};
use crate::cli::Bench;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    lead: LeadJson,
    suppressions: Vec<SuppressionJson>,
    enrollments: Vec<Enrolled>,
}

/// An address or a domain to which nobody writes.
#[derive(Serialize)]
pub(in crate::cli) struct SuppressionJson {
    id: SuppressionId,
    value: Option<String>,
    reason: String,
    pub(in crate::cli) suppressed_at: DateTime<Utc>,
}

impl SuppressionJson {
    /// Tells whom it is about and why; `since` is its time on the reader's clock.
    pub(in crate::cli) fn told(&self, since: impl fmt::Display) -> String {
        let whom = self.value.as_deref().unwrap_or("this person");
        format!("to {whom}: {}, since {since}", self.reason)
    }
}

impl From<SuppressionView> for SuppressionJson {
    fn from(view: SuppressionView) -> Self {
        Self {
            id: view.suppression_id.into(),
            value: view.value,
            reason: view.reason,
            suppressed_at: view.suppressed_at,
        }
    }
}

#[derive(Serialize)]
struct Enrolled {
    id: EnrollmentId,
    campaign: String,
    state: String,
    why: Option<String>,
    next_step: Option<String>,
    next_at: Option<DateTime<Utc>>,
}

impl From<EnrollmentRow> for Enrolled {
    fn from(row: EnrollmentRow) -> Self {
        Self {
            id: row.enrollment_id.into(),
            campaign: row.campaign,
            state: row.state,
            why: row.why,
            next_step: row.next_step,
            next_at: row.next_at,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lead = &self.lead;
        let mut facts = Facts::new();
        facts
            .add("lead", lead.id)
            .add_some("email", lead.email.as_ref())
            .add("consent", &lead.email_consent)
            .add_some("number", lead.phone.as_ref())
            .add_some("texts", lead.phone.as_ref().map(|_| &lead.sms_consent))
            .add("zone", lead.zone.as_deref().unwrap_or("the campaign's"))
            .add("tags", lead.tags.join(", "))
            .add("stage", &lead.stage)
            .add("source", &lead.source)
            .add("since", times::utc(lead.created_at))
            .add_some("erased", lead.erased_at.map(times::utc));
        for entry in &self.suppressions {
            facts.add("never write", entry.told(times::utc(entry.suppressed_at)));
        }
        writeln!(f, "{facts}")?;
        let attributes: BTreeMap<&String, String> = match &lead.attributes {
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name, plain(value))).collect()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => BTreeMap::new(),
        };
        let mut table =
            Table::new(&[Column::Text("attribute"), Column::Text("value")], "no attributes");
        for (name, value) in attributes {
            table.row([name.clone(), value]);
        }
        writeln!(f, "{table}")?;
        let columns = [
            Column::Text("campaign"),
            Column::Text("state"),
            Column::Text("why"),
            Column::Text("next"),
            Column::Text("enrollment"),
        ];
        let mut table = Table::new(&columns, "in no campaign");
        for enrolled in &self.enrollments {
            let next = match (&enrolled.next_step, enrolled.next_at) {
                (Some(step), Some(at)) => format!("{step}, {}", times::utc(at)),
                (Some(step), None) => step.clone(),
                (None, _) => "-".to_owned(),
            };
            table.row([
                enrolled.campaign.clone(),
                enrolled.state.clone(),
                enrolled.why.clone().unwrap_or_else(|| "-".to_owned()),
                next,
                enrolled.id.to_string(),
            ]);
        }
        table.fmt(f)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

pub(super) async fn run(who: &str, output: Output, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let id = find(session, who).await?;
    let mut tx = session.store.begin(session.workspace).await?;
    let workspace: WorkspaceId = session.workspace;
    let Some(lead) = lead_views::by_ids(&mut tx, workspace, &[id]).await?.pop() else {
        bail!("there is no lead {id}: run `meridian lead list`");
    };
    let rows = enrollment_views::of_lead(&mut tx, workspace, id).await?;
    let key = SuppressionKey::new(&session.keys);
    let suppressions = suppression_list::of_lead(&mut tx, &key, workspace, &lead).await?;
    let mut stages = lead_views::stages(&mut tx, workspace, &[id.uuid()]).await?;
    let shown = Shown {
        lead: LeadJson::of(lead, stages.remove(&id.uuid())),
        suppressions: suppressions.into_iter().map(SuppressionJson::from).collect(),
        enrollments: rows.into_iter().map(Enrolled::from).collect(),
    };
    bench.terminal.show(output.format(), &shown)?;
    Ok(())
}
