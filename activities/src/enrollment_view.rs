//! One enrollment as people look at it: what it is doing and why, evaluated by the machine now, what
//! it sent, and what happened to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::context::{Consent, Consents, Context, Facts};
use machine::enrollment::Enrollment;
use machine::explain::{self, InDoubt, Plan};
use machine::ids::{EnrollmentId, LeadId, SendId, SequenceId, Subject, WorkspaceId, send_id};
use machine::key::StepKey;
use machine::signal::Signal;
use machine::state::Open;
use uuid::Uuid;

use crate::campaigns::enroll::attributes_of;
use crate::error::{ActivityError, Result};
use crate::store::enrollment_views::{self as views, Stored};
use crate::store::journal::{self, Entry};
use crate::store::send_views::{self, SendView};
use crate::store::{Store, clock};
use crate::versions::{Loaded, Versions};

/// The states of a send that is past the gate and not answered for.
const IN_FLIGHT: [&str; 3] = ["dispatching", "unknown", "needs_review"];

/// How many journal rows are read at a time.
const PAGE: i64 = 1_000;

/// One enrollment.
#[derive(Debug)]
pub struct EnrollmentView {
    /// Its id.
    pub id: EnrollmentId,
    /// Its row, with the person.
    pub stored: Stored,
    /// The version it runs.
    pub version: Arc<Loaded>,
    /// The machine.
    pub enrollment: Enrollment,
    /// What it will do, when, and why then.
    pub plan: Plan,
    /// The clock its times are shown on: the lead's own, else the campaign's.
    pub zone: Tz,
    /// What it sent, oldest first.
    pub sends: Vec<SendView>,
    /// Campaign time of reading.
    pub now: DateTime<Utc>,
}

impl EnrollmentView {
    /// Returns the step whose message `send` is; `None` for a mail to a person of ours.
    pub fn step_of(&self, workspace: WorkspaceId, send: SendId) -> Option<StepKey> {
        let mut found = None;
        self.version.version.each_step(&mut |step| {
            if send_id(workspace, self.id, Subject::Step(step.key.as_str()), 1) == send {
                found = Some(step.key.clone());
            }
        });
        found
    }

    /// Whether `send` passes on to the lead what a person of ours wrote.
    pub fn is_answer(&self, workspace: WorkspaceId, send: SendId) -> bool {
        let mut mails = self.enrollment.data.answers.keys();
        mails.any(|mail| send_id(workspace, self.id, Subject::Answer(*mail), 1) == send)
    }

    /// Whether a message to the lead is past the gate, and nobody has answered for it yet.
    pub fn has_message_under_way(&self) -> bool {
        let in_flight = |open: &Open| {
            let row = self.sends.iter().find(|row| row.send_id == open.id.send.uuid());
            row.is_some_and(|row| IN_FLIGHT.contains(&row.state.as_str()))
        };
        self.enrollment.data.open.iter().any(|open| !open.is_to_the_team() && in_flight(open))
    }
}

/// Reads one enrollment and explains it.
///
/// # Errors
///
/// [`ActivityError::NoSuchEnrollment`], or when the database fails or its snapshot does not load.
pub async fn read(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    id: EnrollmentId,
) -> Result<EnrollmentView> {
    let mut tx = store.begin(workspace).await?;
    let now = clock::read(&mut tx).await?.campaign;
    let stored =
        views::one(&mut tx, workspace, id).await?.ok_or(ActivityError::NoSuchEnrollment(id))?;
    let name = (SequenceId::new(stored.sequence_id), stored.version);
    let mut loaded = versions.get(&mut tx, workspace, &BTreeSet::from([name])).await?;
    let version = loaded.remove(&name).expect("it was asked for");
    let enrollment: Enrollment = serde_json::from_slice(&stored.snapshot)
        .map_err(|source| ActivityError::Snapshot { enrollment: id, source })?;
    let facts = facts(&stored);
    let context = Context {
        now,
        workspace,
        enrollment: id,
        lead: LeadId::new(stored.lead_id),
        version: &version.version,
        facts: &facts,
    };
    let mut plan = explain::explain(&enrollment, &context);
    let zone = context.zone();
    let sends = sends_of(workspace, id, &enrollment, &version);
    let sends = send_views::by_ids(&mut tx, workspace, &sends).await?;
    let offer = send_id(workspace, id, Subject::Handover, enrollment.data.handovers.mails);
    let offer = sends.iter().find(|it| it.send_id == offer.uuid());
    let offer = offer.filter(|it| matches!(it.state.as_str(), "dispatching" | "accepted"));
    if let Some(address) = offer.and_then(|offer| offer.address.as_deref()) {
        plan.note_asked(address, &enrollment, &context);
    }
    for send in sends.iter().filter(|send| send.is_in_doubt()) {
        match (send.kind.as_str(), send.step_key.parse::<StepKey>()) {
            ("step", Ok(step)) => plan.note_doubt(InDoubt::Step(&step)),
            ("answer", _) => plan.note_doubt(InDoubt::Answer),
            (_, _) => plan.note_doubt(InDoubt::Offer),
        }
    }
    Ok(EnrollmentView { id, stored, version, enrollment, plan, zone, sends, now })
}

/// Returns the id of every send an enrollment can have made.
///
/// # Errors
///
/// As [`read`].
pub async fn send_ids(
    store: &Store,
    versions: &Versions,
    workspace: WorkspaceId,
    id: EnrollmentId,
) -> Result<Vec<Uuid>> {
    let view = read(store, versions, workspace, id).await?;
    Ok(sends_of(workspace, id, &view.enrollment, &view.version))
}

/// Returns what happened to an enrollment, oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn journal(
    store: &Store,
    workspace: WorkspaceId,
    id: EnrollmentId,
) -> Result<Vec<Entry>> {
    let mut tx = store.begin(workspace).await?;
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.turn);
        let page = journal::entries(&mut tx, workspace, id, after, PAGE).await?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

/// Returns up to `limit` journal rows of an enrollment behind number `after`, oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn journal_page(
    store: &Store,
    workspace: WorkspaceId,
    id: EnrollmentId,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<Entry>> {
    let mut tx = store.begin(workspace).await?;
    Ok(journal::entries(&mut tx, workspace, id, after.unwrap_or_default(), limit).await?)
}

/// Returns the signal of a journal row, if this build still knows it.
pub fn signal_of(entry: &Entry) -> Option<Signal> {
    serde_json::from_str(&entry.signal).ok()
}

fn facts(stored: &Stored) -> Facts {
    let consent = |word: &str| match word {
        "granted" => Consent::Granted,
        "refused" => Consent::Refused,
        _ => Consent::Unknown,
    };
    let country = stored.attributes.get("country").filter(|_| stored.zone.is_none());
    let country = country.and_then(serde_json::Value::as_str);
    Facts {
        zone: stored.zone.as_deref().and_then(|zone| zone.parse().ok()),
        country: country.and_then(|country| country.parse().ok()),
        consent: Consents {
            email: consent(&stored.email_consent),
            sms: consent(&stored.sms_consent),
            call: consent(&stored.call_consent),
        },
        attributes: attributes_of(stored.attributes.clone()),
        in_flight: Vec::new(),
    }
}

/// Every send an enrollment can have made: one for each step, the mails of its handovers, and what people
/// of ours wrote to the lead.
fn sends_of(
    workspace: WorkspaceId,
    id: EnrollmentId,
    enrollment: &Enrollment,
    version: &Loaded,
) -> Vec<Uuid> {
    let mut sends: BTreeSet<Uuid> = BTreeSet::new();
    version.version.each_step(&mut |step| {
        sends.insert(send_id(workspace, id, Subject::Step(step.key.as_str()), 1).uuid());
    });
    sends.extend(enrollment.data.open.iter().map(|open| open.id.send.uuid()));
    for mail in 1..=enrollment.data.handovers.mails {
        sends.insert(send_id(workspace, id, Subject::Handover, mail).uuid());
    }
    for mail in 1..=enrollment.data.handovers.forwards {
        sends.insert(send_id(workspace, id, Subject::Forward, mail).uuid());
    }
    for mail in enrollment.data.answers.keys() {
        sends.insert(send_id(workspace, id, Subject::Answer(*mail), 1).uuid());
    }
    sends.into_iter().collect()
}
