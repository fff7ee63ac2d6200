//! `meridian enrollment list`: many enrollments, a line each.

use std::fmt;

use activities::store::enrollment_views::{self, EnrollmentRow, Filter};
use chrono::{DateTime, Utc};
use machine::explain::Shown;
use machine::ids::{EnrollmentId, LeadId};
use serde::Serialize;

use crate::cli::{Bench, campaign, lead};
use crate::tables::{Column, Table};
use crate::terminal::Output;
use crate::times;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// In this state, as in waiting, held or with_person
    #[arg(long, value_parser = state)]
    state: Option<Shown>,
    /// Of the lead with this address or id
    #[arg(long)]
    lead: Option<String>,
    /// Go on behind this enrollment
    #[arg(long, value_name = "ID")]
    after: Option<EnrollmentId>,
    /// At most this many
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Listing {
    enrollments: Vec<RowJson>,
    /// Where the next page begins.
    next: Option<EnrollmentId>,
}

#[derive(Serialize)]
struct RowJson {
    id: EnrollmentId,
    campaign: String,
    lead: LeadId,
    email: Option<String>,
    zone: Option<String>,
    state: String,
    why: Option<String>,
    until: Option<DateTime<Utc>>,
    next_step: Option<String>,
    next_at: Option<DateTime<Utc>>,
    changed_at: DateTime<Utc>,
    parked_at: Option<DateTime<Utc>>,
}

impl From<EnrollmentRow> for RowJson {
    fn from(row: EnrollmentRow) -> Self {
        Self {
            id: row.enrollment_id.into(),
            campaign: row.campaign,
            lead: row.lead_id.into(),
            email: row.email,
            zone: row.zone,
            state: row.state,
            why: row.why,
            until: row.until,
            next_step: row.next_step,
            next_at: row.next_at,
            changed_at: row.changed_at,
            parked_at: row.parked_at,
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            Column::Text("lead"),
            Column::Text("campaign"),
            Column::Text("state"),
            Column::Text("why"),
            Column::Text("next"),
            Column::Text("when"),
        ];
        let mut table = Table::new(&columns, "no enrollments");
        for row in &self.enrollments {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let zone = row.zone.as_deref().and_then(|zone| zone.parse().ok());
            let when = row.next_at.or(row.until);
            table.row([
                row.email.clone().unwrap_or_else(|| row.lead.to_string()),
                row.campaign.clone(),
                if row.parked_at.is_some() { "failed".to_owned() } else { row.state.clone() },
                or_dash(&row.why),
                or_dash(&row.next_step),
                when.map_or_else(|| "-".to_owned(), |at| times::on(zone.unwrap_or_default(), at)),
            ]);
        }
        table.fmt(f)?;
        match &self.next {
            Some(next) => writeln!(f, "\nthere are more: --after {next}"),
            None => Ok(()),
        }
    }
}

pub(super) async fn list(command: List, bench: Bench<'_>) -> anyhow::Result<()> {
    let session = bench.session;
    let campaign = match &command.campaign {
        Some(name) => Some(campaign::find(&bench, name).await?.id),
        None => None,
    };
    let lead = match &command.lead {
        Some(who) => Some(lead::find(session, who).await?),
        None => None,
    };
    let filter = Filter { campaign, lead, state: command.state.map(Shown::as_str) };
    let mut tx = session.store.begin(session.workspace).await?;
    let limit = command.limit;
    let rows =
        enrollment_views::list(&mut tx, session.workspace, filter, command.after, limit).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|n| n == limit);
    let next = rows.last().filter(|_| is_full).map(|row| EnrollmentId::from(row.enrollment_id));
    let listing = Listing { enrollments: rows.into_iter().map(RowJson::from).collect(), next };
    bench.terminal.show(command.output.format(), &listing)?;
    Ok(())
}

pub(in crate::cli) fn state(word: &str) -> Result<Shown, String> {
    let found = Shown::ALL.into_iter().find(|shown| shown.as_str() == word);
    found.ok_or_else(|| {
        let all: Vec<&str> = Shown::ALL.iter().map(|shown| shown.as_str()).collect();
        format!("there is no such state: use one of {}", all.join(", "))
    })
}
