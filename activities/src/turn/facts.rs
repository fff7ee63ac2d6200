//! Step 2 of a turn: one bulk read of everything its enrollments may look at.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use machine::context::{Consent, Consents, Facts};
use machine::enrollment::Enrollment;
use machine::ids::{EnrollmentId, SendId, SequenceId};
use machine::sequence::Version;
use machine::signal::{Answer, PauseScope, ResumeRule, Signal};
use machine::state::Why;
use serde_json::Value;
use uuid::Uuid;

use super::{RUNNER_SILENCE, Read, Told};
use crate::campaign_settings::CampaignSettings;
use crate::error::{ActivityError, Result};
use crate::store::Tx;
use crate::store::clock::Clocks;
use crate::store::enrollments::Locked;
use crate::store::sends::{self, Open};
use crate::store::turns::{self, Attributes, CampaignRow, LeadRow, VerbRow};
use crate::trace::TraceParent;
use crate::versions::Versions;

/// Enrollments that can be turned, and those whose stored state does not load.
type Sorted = (Vec<Read>, Vec<(EnrollmentId, String)>);

pub(super) async fn read(
    tx: &mut Tx,
    versions: &Versions,
    clocks: Clocks,
    locked: Vec<Locked>,
    written: Vec<Open>,
    told: Vec<Told>,
) -> Result<Sorted> {
    let workspace = tx.workspace();
    let campaign_ids = distinct(locked.iter().map(|row| row.campaign_id));
    let campaigns: HashMap<Uuid, CampaignRow> = turns::campaigns(tx, workspace, &campaign_ids)
        .await?
        .into_iter()
        .map(|row| (row.campaign_id, row))
        .collect();
    let names: BTreeSet<(SequenceId, i32)> = locked
        .iter()
        .filter_map(|row| {
            Some((SequenceId::new(campaigns.get(&row.campaign_id)?.sequence_id), row.version))
        })
        .collect();
    let versions = versions.get(tx, workspace, &names).await?;
    let settings = settings(&campaigns)?;
    let senders = {
        let ids = distinct(settings.values().flat_map(|s| s.senders.iter().map(|id| id.uuid())));
        Arc::new(turns::active_senders(tx, workspace, &ids).await?)
    };
    let mut verbs = verbs(tx, &locked, &campaigns).await?;
    let mut signals = signals(tx, &locked).await?;
    let wanted = versions.values().any(|loaded| !loaded.version.attributes.is_empty());
    let wanted = if wanted { Attributes::Wanted } else { Attributes::NotNeeded };
    let lead_ids = distinct(locked.iter().map(|row| row.lead_id));
    let leads: HashMap<Uuid, LeadRow> = turns::leads(tx, workspace, &lead_ids, wanted)
        .await?
        .into_iter()
        .map(|row| (row.lead_id, row))
        .collect();
    let mut told_by =
        told.into_iter().fold(HashMap::<Uuid, Vec<Signal>>::new(), |mut map, told| {
            map.entry(told.enrollment.uuid()).or_default().push(told.signal);
            map
        });

    let mut sorted: Sorted = (Vec::with_capacity(locked.len()), Vec::new());
    for row in locked {
        let id = EnrollmentId::new(row.enrollment_id);
        let enrollment = match load(id, &row.snapshot) {
            Ok(enrollment) => enrollment,
            Err(error) => {
                sorted.1.push((id, crate::error::chain(&error)));
                continue;
            }
        };
        let (Some(campaign), Some(lead)) =
            (campaigns.get(&row.campaign_id), leads.get(&row.lead_id))
        else {
            sorted.1.push((id, "its campaign or its lead is not there".to_owned()));
            continue;
        };
        let name = (SequenceId::new(campaign.sequence_id), row.version);
        let version = Arc::clone(&versions[&name]);
        let mine = verbs.remove(&row.campaign_id).unwrap_or_default();
        // One that was given since the campaign was read is for the next turn.
        let unseen =
            mine.iter().filter(|verb| verb.seq > row.verb_seq && verb.seq <= campaign.verb_seq);
        let unseen = unseen.filter_map(|verb| Some((verb.at, verb_signal(verb)?))).collect();
        if !mine.is_empty() {
            verbs.insert(row.campaign_id, mine);
        }
        let told_in_rows = signals.remove(&row.enrollment_id).unwrap_or_default();
        sorted.0.push(Read {
            facts: of_lead(lead, &version.version),
            open: HashMap::new(),
            verbs: unseen,
            told: told_by.remove(&row.enrollment_id).unwrap_or_default(),
            signals: told_in_rows.signals,
            uninterpreted: told_in_rows.uninterpreted,
            traces: told_in_rows.traces,
            settings: Arc::clone(&settings[&row.campaign_id]),
            senders: Arc::clone(&senders),
            runners: Arc::default(),
            verb_seq: campaign.verb_seq,
            rules_before: enrollment.rules,
            version,
            enrollment,
            row,
        });
    }
    open_sends(tx, clocks, &mut sorted.0, written).await?;
    for lead in &mut sorted.0 {
        note_answered(lead);
    }
    Ok(sorted)
}

/// Locks the open sends of all leads, but those that were `written` and so are locked, and tells each
/// lead which of its own are past the gate.
async fn open_sends(
    tx: &mut Tx,
    clocks: Clocks,
    leads: &mut [Read],
    written: Vec<Open>,
) -> Result<()> {
    let mut open: HashMap<Uuid, Open> =
        written.into_iter().map(|open| (open.send_id, open)).collect();
    let ids: Vec<Uuid> = leads
        .iter()
        .flat_map(|lead| lead.enrollment.data.open.iter().map(|open| open.id.send.uuid()))
        .filter(|id| !open.contains_key(id))
        .collect();
    if !ids.is_empty() {
        let workspace = tx.workspace();
        let locked = sends::lock(tx, workspace, &ids).await?;
        open.extend(locked.into_iter().map(|open| (open.send_id, open)));
    }
    if open.is_empty() {
        return Ok(());
    }
    let called = open.values().any(|open| open.state == "dispatching");
    let runners = if called {
        Arc::new(turns::live_runners(tx, clocks.wall - RUNNER_SILENCE).await?)
    } else {
        Arc::default()
    };
    for lead in leads {
        for mine in &lead.enrollment.data.open {
            if let Some(open) = open.remove(&mine.id.send.uuid()) {
                if open.in_flight() {
                    lead.facts.in_flight.push(SendId::new(open.send_id));
                }
                // The gate deferred it and the process ended before the machine was told.
                if open.state == "deferred" && i64::from(open.attempt) == i64::from(mine.id.attempt)
                {
                    let until = open.slot_at.unwrap_or(clocks.campaign);
                    let reason = Why::of(open.detail.as_deref().unwrap_or_default())
                        .unwrap_or(Why::SenderPacing);
                    let answer = Answer::Deferred { until, reason };
                    let told = Signal::SendAnswered { effect: mine.id, answer };
                    if !lead.told.iter().any(|signal| signal.answers(mine.id)) {
                        lead.told.push(told);
                    }
                }
                lead.open.insert(open.send_id, open);
            }
        }
        lead.runners = Arc::clone(&runners);
    }
    Ok(())
}

/// A send whose answer comes with this turn is still in flight for what is applied before it: an
/// order that meets the answer must not withdraw what the provider has.
fn note_answered(lead: &mut Read) {
    for signal in &lead.told {
        if let Signal::SendAnswered {
            effect,
            answer: Answer::Accepted | Answer::Rejected { .. } | Answer::Lost,
        } = signal
            && !lead.facts.in_flight.contains(&effect.send)
        {
            lead.facts.in_flight.push(effect.send);
        }
    }
}

fn load(enrollment: EnrollmentId, snapshot: &[u8]) -> Result<Enrollment> {
    serde_json::from_slice(snapshot)
        .map_err(|source| ActivityError::Snapshot { enrollment, source })
}

fn settings(
    campaigns: &HashMap<Uuid, CampaignRow>,
) -> Result<HashMap<Uuid, Arc<CampaignSettings>>> {
    campaigns
        .iter()
        .map(|(id, row)| Ok((*id, Arc::new(CampaignSettings::load(row.settings.clone())?))))
        .collect()
}

async fn verbs(
    tx: &mut Tx,
    locked: &[Locked],
    campaigns: &HashMap<Uuid, CampaignRow>,
) -> Result<HashMap<Uuid, Vec<VerbRow>>> {
    let behind = |row: &&Locked| {
        campaigns.get(&row.campaign_id).is_some_and(|campaign| campaign.verb_seq > row.verb_seq)
    };
    let rows: Vec<&Locked> = locked.iter().filter(behind).collect();
    let Some(after) = rows.iter().map(|row| row.verb_seq).min() else {
        return Ok(HashMap::new());
    };
    let ids = distinct(rows.iter().map(|row| row.campaign_id));
    let workspace = tx.workspace();
    let mut verbs = HashMap::<Uuid, Vec<VerbRow>>::new();
    for verb in turns::verbs(tx, workspace, &ids, after).await? {
        verbs.entry(verb.campaign_id).or_default().push(verb);
    }
    Ok(verbs)
}

fn verb_signal(verb: &VerbRow) -> Option<Signal> {
    let scope = PauseScope::Campaign;
    match verb.verb.as_str() {
        "pause" => Some(Signal::Paused { scope }),
        "resume" => {
            let rule = match verb.rule.as_deref() {
                Some("keep") => ResumeRule::Keep,
                Some("restart") => ResumeRule::Restart,
                _ => ResumeRule::Shift,
            };
            Some(Signal::Resumed { scope, rule })
        }
        "stop" => Some(Signal::Stopped),
        _ => None,
    }
}

/// The signals of each enrollment in order, up to the first that nobody has interpreted.
type Pending = HashMap<Uuid, Unseen>;

/// What an enrollment has not seen.
#[derive(Default)]
struct Unseen {
    signals: Vec<(i32, Signal)>,
    uninterpreted: bool,
    traces: Vec<TraceParent>,
}

async fn signals(tx: &mut Tx, locked: &[Locked]) -> Result<Pending> {
    let news = locked.iter().filter(|row| row.signal_seq > row.applied_seq);
    let (ids, applied): (Vec<Uuid>, Vec<i32>) =
        news.map(|row| (row.enrollment_id, row.applied_seq)).unzip();
    let workspace = tx.workspace();
    let mut pending = Pending::new();
    for row in turns::signals(tx, workspace, &ids, &applied).await? {
        let unseen = pending.entry(row.enrollment_id).or_default();
        if unseen.uninterpreted {
            continue;
        }
        match row.signal {
            None => unseen.uninterpreted = true,
            Some(signal) => {
                let signal = serde_json::from_value(signal).map_err(|error| {
                    ActivityError::Stored { what: "signal", why: error.to_string() }
                })?;
                unseen.signals.push((row.seq, signal));
                unseen.traces.extend(row.trace.map(|text| TraceParent::stored(Some(text))));
            }
        }
    }
    Ok(pending)
}

/// What a version reads about a lead.
pub(crate) fn of_lead(lead: &LeadRow, version: &Version) -> Facts {
    let consent = |word: &str| match word {
        "granted" => Consent::Granted,
        "refused" => Consent::Refused,
        _ => Consent::Unknown,
    };
    let named = |name: &machine::key::AttributeName| {
        let value = lead.attributes.as_ref().and_then(Value::as_object)?.get(name.as_str())?;
        Some((name.clone(), value.clone()))
    };
    Facts {
        zone: lead.zone.as_deref().and_then(|zone| zone.parse().ok()),
        country: lead.country.as_deref().and_then(|country| country.parse().ok()),
        consent: Consents {
            email: consent(&lead.email_consent),
            sms: consent(&lead.sms_consent),
            call: consent(&lead.call_consent),
        },
        attributes: version.attributes.iter().filter_map(named).collect(),
        in_flight: Vec::new(),
    }
}

fn distinct(ids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    let set: HashSet<Uuid> = ids.collect();
    let mut ids: Vec<Uuid> = set.into_iter().collect();
    ids.sort_unstable();
    ids
}
