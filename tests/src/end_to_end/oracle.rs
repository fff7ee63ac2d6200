//! What must hold in the end, read from the mail server's log, the provider's memory and the owner's
//! view of the database. Each check returns what breaks it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::mail_server::{Accepted, MailServer};
use super::recipients::{self, Done, Part, What};
use crate::cluster::Database;

/// How long a message may be on its way when a stop is acknowledged, in seconds.
const UNDER_WAY: f64 = 3.0;

/// Returns an error that tells the first of `missing`, if there are any.
///
/// # Errors
///
/// See above.
pub fn nothing(missing: Vec<String>) -> Result<(), String> {
    let told = missing.len().min(20);
    if told == 0 { Ok(()) } else { Err(missing[..told].join("\n")) }
}

/// # Panics
///
/// When there is one, with `what` they are.
pub fn assert_none<T: std::fmt::Debug>(what: &str, found: impl IntoIterator<Item = T>) {
    let found: Vec<String> = found.into_iter().map(|one| format!("{one:?}")).collect();
    assert!(found.is_empty(), "{what}: {}", found.join("\n"));
}

/// One row of the ledger.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Send {
    /// Its id.
    pub send_id: Uuid,
    /// To whom; nobody before its first gate.
    pub address: Option<String>,
    /// Whose.
    pub enrollment_id: Uuid,
    /// The step.
    pub step_key: String,
    /// Where it stands.
    pub state: String,
    /// What was said.
    pub detail: Option<String>,
}

/// One lead in the campaign.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Lead {
    /// The enrollment.
    pub enrollment_id: Uuid,
    /// The address.
    pub address: String,
    /// The state that is shown.
    pub state: String,
    /// Whether it was given up.
    pub is_parked: bool,
}

/// Returns the ledger.
pub async fn sends(database: &Database) -> Vec<Send> {
    let query = "SELECT send_id, address, enrollment_id, step_key, state, detail FROM sends";
    let mut owner = database.owner().await;
    sqlx::query_as(query).fetch_all(&mut owner).await.expect("the ledger can be read")
}

/// Returns the leads.
pub async fn leads(database: &Database) -> Vec<Lead> {
    let query = "SELECT e.enrollment_id, a.address, e.state, e.parked_at IS NOT NULL AS is_parked
                 FROM enrollments e JOIN addresses a USING (workspace_id, lead_id)";
    let mut owner = database.owner().await;
    sqlx::query_as(query).fetch_all(&mut owner).await.expect("the leads can be read")
}

/// Whatever still moves, or has come to rest where it should not, up to what a person has to look at.
pub async fn unsettled(database: &Database, mail_server: &MailServer) -> Vec<String> {
    let sends = sends(database).await;
    let mut unsettled = astray(&leads(database).await, &sends);
    unsettled.extend(disagreements(&sends, &mail_server.accepted()));
    unsettled
}

/// Sends that a person has to look at.
pub fn to_review(sends: &[Send]) -> Vec<&Send> {
    sends.iter().filter(|send| send.state == "needs_review").collect()
}

/// No message was accepted twice: none under one name, and nobody has the same mail twice under two.
pub fn accepted_twice(accepted: &[Accepted]) -> Vec<String> {
    let mut names = HashSet::new();
    let mut mails = HashSet::new();
    let mut twice = Vec::new();
    for one in accepted {
        if !names.insert(one.send) || !mails.insert((&one.to, recipients::mail(one))) {
            twice.push(format!("{} to {}: {}", one.send, one.to, one.subject));
        }
    }
    twice
}

/// The ledger and the mail server agree, up to what a person has to look at.
pub fn disagreements(sends: &[Send], accepted: &[Accepted]) -> Vec<String> {
    let ours: HashMap<Uuid, &Send> = sends.iter().map(|send| (send.send_id, send)).collect();
    let theirs: HashSet<Uuid> = accepted.iter().map(|one| one.send).collect();
    let unknown = accepted.iter().filter_map(|one| match ours.get(&one.send) {
        Some(send) if matches!(send.state.as_str(), "accepted" | "needs_review") => None,
        Some(send) => Some(format!("{} was accepted and is {}", one.send, send.state)),
        None => Some(format!("{} was accepted and is not in the ledger", one.send)),
    });
    let claimed =
        sends.iter().filter(|send| send.state == "accepted" && !theirs.contains(&send.send_id));
    let open = sends.iter().filter(|send| {
        let ends = ["accepted", "rejected", "cancelled", "needs_review"];
        !ends.contains(&send.state.as_str())
    });
    unknown
        .chain(claimed.map(|send| format!("{} is accepted and was not sent", send.send_id)))
        .chain(open.map(|send| format!("{} is still {}", send.send_id, send.state)))
        .collect()
}

/// Every lead ended as its part says, save those that wait for a person's word.
pub fn astray(leads: &[Lead], sends: &[Send]) -> Vec<String> {
    let waiting: HashSet<Uuid> =
        to_review(sends).into_iter().map(|send| send.enrollment_id).collect();
    let mut astray = Vec::new();
    for lead in leads {
        let part = Part::of(recipients::number(&lead.address));
        if (lead.state == part.ends_as() || waiting.contains(&lead.enrollment_id))
            && !lead.is_parked
        {
            continue;
        }
        let about = sends.iter().filter(|send| send.enrollment_id == lead.enrollment_id);
        let about: BTreeMap<&str, (&str, Option<&str>)> = about
            .map(|send| (send.step_key.as_str(), (send.state.as_str(), send.detail.as_deref())))
            .collect();
        astray.push(format!("{} ({part:?}) is {}: {about:?}", lead.address, lead.state));
    }
    astray
}

/// Nothing was sent to anybody after the acknowledgement of a stop, save what was under way; and no
/// mail of a later step at all.
pub fn sent_after_stop(accepted: &[Accepted], done: &[Done]) -> Vec<String> {
    let mut late = Vec::new();
    for stop in done.iter().filter(|done| matches!(done.what, What::Stop | What::WayOut)) {
        let last = Part::of(stop.number).last_mail();
        for one in accepted.iter().filter(|one| recipients::number(&one.to) == stop.number) {
            let is_late = one.at > stop.taken_at + UNDER_WAY;
            if is_late && Some(recipients::mail(one)) > last {
                let after = one.at - stop.taken_at;
                late.push(format!("{} to {}, {after:.1} s after its stop", one.subject, one.to));
            }
        }
    }
    late
}

/// Nobody was written to while away.
pub async fn sent_during_absence(database: &Database, done: &[Done]) -> Vec<String> {
    let query =
        "SELECT count(*) FROM inbound_events i JOIN signals g USING (workspace_id, event_id)
                 JOIN sends s USING (workspace_id, enrollment_id)
                 WHERE i.token = $1 AND s.gate_at > g.at AND s.gate_at < $2";
    let mut owner = database.owner().await;
    let mut sent = Vec::new();
    for absence in done {
        let What::Absence(until) = absence.what else { continue };
        // The day begins earlier in the east.
        let back: DateTime<Utc> = until.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        let first = back - TimeDelta::hours(14);
        let count: i64 = sqlx::query_scalar(query)
            .bind(&absence.name)
            .bind(first)
            .fetch_one(&mut owner)
            .await
            .expect("the ledger can be read");
        if count > 0 {
            sent.push(format!("{count} mails to {}", recipients::address(absence.number)));
        }
    }
    sent
}

/// Everything that was acknowledged is stored, once.
pub async fn not_stored_once(database: &Database, done: &[Done]) -> Vec<String> {
    let query = "SELECT coalesce(token, send_id::text) FROM inbound_events";
    let mut owner = database.owner().await;
    let stored: Vec<String> =
        sqlx::query_scalar(query).fetch_all(&mut owner).await.expect("events can be read");
    let mut times = HashMap::<&str, usize>::new();
    for name in &stored {
        *times.entry(name).or_default() += 1;
    }
    let times = |name: &str| times.get(name).copied().unwrap_or_default();
    let wrong = done.iter().filter(|done| times(&done.name) != 1);
    wrong.map(|done| format!("{:?} is stored {} times", done, times(&done.name))).collect()
}

/// What the program logged that a healthy one does not: errors, panics, and addresses, which no log
/// may hold.
pub fn suspicious(log: &str) -> BTreeSet<String> {
    let is_suspicious = |line: &&str| {
        ["ERROR", "panicked", "@recipients.example"].iter().any(|word| line.contains(word))
    };
    log.lines().filter(is_suspicious).map(str::to_owned).collect()
}
