//! The gate and what follows it: prepare, gate, call, record, sweep. Room is allotted by the
//! product's own book of slots; everything else is written here once more.

use activities::content::step::{BodySource, CompiledStep, RenderFault, Values};
use activities::send::colleagues::AGAIN;
use activities::send::slots::{
    Book, Booking, CampaignLimits, Candidate, Outage, SenderLimits, Verdict,
};
use activities::store::quotas::{Key, Scope};
use chrono::{DateTime, TimeDelta, Utc};
use machine::calendar::Calendar;
use machine::context::Consent;
use machine::country;
use machine::document::{CampaignDocument, StepDocument};
use machine::effect::EffectId;
use machine::ids::SendId;
use machine::sequence::{Channel, StepKind};
use machine::signal::{Answer, Missing, Refusal, Signal};
use machine::state::Why;
use serde_json::Map;

use super::ledger::{Row, Slot, Stand, What};
use super::{Call, Inner};
use crate::world::backend::{ANSWER, CampaignVerb, Mail, Sent};
use crate::world::provider::{Reception, Whose};

/// How long a call may take.
const LEASE: TimeDelta = TimeDelta::minutes(15);

/// How long before a window closes a send must leave, campaign time.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

/// What the gate makes of a send, short of room.
enum Inspection {
    Stands,
    Waits,
    Answered(Answer),
}

impl Inner {
    /// Takes every planned send through the gate. Returns whether any moved.
    pub(super) fn gate(&mut self) -> bool {
        let mut planned = self.ledger.with(Stand::Planned);
        planned.retain(|send| {
            let enrollment = self.ledger.row(*send).enrollment;
            self.enrollments[&enrollment].parked.is_none()
        });
        planned.sort_by_key(|send| {
            let row = self.ledger.get(*send).expect("it was just listed");
            let slot_at = row.slot.map_or(self.now, |slot| slot.at);
            (slot_at, self.enrollments[&row.enrollment].wake_at, *send)
        });
        let mut moved = false;
        for send in planned {
            match self.inspect(send) {
                Inspection::Waits => continue,
                Inspection::Answered(answer) => self.answer(send, answer),
                Inspection::Stands => self.allot(send),
            }
            moved = true;
        }
        moved
    }

    fn inspect(&self, send: SendId) -> Inspection {
        let row = self.ledger.get(send).expect("a planned send has a row");
        let enrollment = &self.enrollments[&row.enrollment];
        let campaign = &self.campaigns[&enrollment.campaign];
        let lead = &self.leads[&enrollment.lead];
        let unseen = enrollment.signals.iter().skip(row.after_seq as usize);
        let held_up = unseen.clone().any(|signal| signal.holds);
        let step = match &row.what {
            What::Step { step, variant } => Some((step, variant)),
            What::Answer { .. } => None,
            // A mail to one of our own people: the lead's wishes are not about it.
            What::Handover { .. } | What::Forward { .. } => {
                return if held_up { Inspection::Waits } else { Inspection::Stands };
            }
        };
        let inactive = !matches!(campaign.verbs.last(), None | Some((_, CampaignVerb::Resume(_))));
        if held_up || enrollment.verb_seq < campaign.verb_seq() || inactive {
            return Inspection::Waits;
        }
        let kind = step.and_then(|(step, _)| campaign.version.step(step)).map(|step| &step.kind);
        let channel = match kind {
            Some(StepKind::Message { channel, .. }) => *channel,
            _ => Channel::Email,
        };
        if channel != Channel::Email {
            // Worlds have mailboxes only.
            return Inspection::Answered(Answer::Held { missing: Missing::Sender { channel } });
        }
        let to = lead.address.as_str();
        if let Some(class) = self.suppressed.get(to) {
            let (class, retry_after_s) = (*class, None);
            return Inspection::Answered(Answer::Rejected { class, retry_after_s });
        }
        let Some((step, variant)) = step else {
            // No window and no wording stands against what a person wrote.
            return match lead.consent.on(channel) {
                Consent::Refused => Inspection::Answered(Answer::Rejected {
                    class: Refusal::Suppressed,
                    retry_after_s: None,
                }),
                Consent::Granted | Consent::Unknown => Inspection::Stands,
            };
        };
        let needed = channel != Channel::Email || campaign.version.mail_needs_consent;
        let consents = match lead.consent.on(channel) {
            Consent::Granted => true,
            Consent::Refused => false,
            Consent::Unknown => !needed,
        };
        if !consents {
            return Inspection::Answered(Answer::Held { missing: Missing::Consent { channel } });
        }
        let zones = country::candidates(lead.zone.as_ref(), lead.country(), &campaign.version.zone);
        if !campaign.version.calendar.suits(zones, self.now) {
            return Inspection::Answered(Answer::Held { missing: Missing::zone() });
        }
        let variant = variant.as_ref().map(|variant| variant.as_str());
        match missing_fields(&campaign.document, step.as_str(), variant, &lead.attributes) {
            fields if fields.is_empty() => Inspection::Stands,
            fields => Inspection::Answered(Answer::Held { missing: Missing::Variables { fields } }),
        }
    }

    /// Gives a send room, now or later.
    fn allot(&mut self, send: SendId) {
        let row = self.ledger.row(send).clone();
        let recipient = match row.what {
            What::Step { .. } | What::Answer { .. } => None,
            What::Handover { to, answer_by } => Some(self.recipient(send, to, answer_by)),
            What::Forward { to } => Some(self.who_has(send, to)),
        };
        match recipient {
            Some(Ok(to)) => return self.dispatch(send, to, None),
            Some(Err(answer)) => return self.answer(send, answer),
            None => {}
        }
        let enrollment = &self.enrollments[&row.enrollment];
        let campaign = &self.campaigns[&enrollment.campaign];
        let sender = &self.senders[&campaign.document.senders[0]];
        let today = |zone| self.now.with_timezone(&zone).date_naive();
        let version = campaign.version.clone();
        let always = Calendar::default();
        let calendar = match row.what {
            What::Answer { .. } => &always,
            What::Step { .. } | What::Handover { .. } | What::Forward { .. } => &version.calendar,
        };
        let lead = &self.leads[&enrollment.lead];
        let zones = country::candidates(lead.zone.as_ref(), lead.country(), &version.zone);
        let campaign_zone = campaign.document.zone;
        let limits =
            CampaignLimits { per_day: campaign.document.caps.per_day, zone: campaign_zone };
        let sender_limits = SenderLimits {
            per_day: sender.about.per_day,
            spacing: sender.about.spacing,
            zone: sender.about.zone,
            next_free_at: sender.next_free_at,
            outage: Outage::None,
        };
        let mut book = Book {
            senders: [(sender.id, sender_limits)].into(),
            campaigns: [(enrollment.campaign.uuid(), limits)].into(),
            counts: std::mem::take(&mut self.quotas),
            ..Book::default()
        };
        let booked = row.slot.map(|slot| Booking {
            at: slot.at,
            because: slot.because,
            sender_day: slot.sender_day,
            campaign_day: slot.campaign_day,
        });
        let candidate = Candidate {
            sender: sender.id,
            campaign: enrollment.campaign.uuid(),
            calendar,
            windows: calendar,
            zones,
            booked,
            margin: MARGIN,
            guarded: self.guarded(&row),
        };
        let verdict = book.allot(&candidate, self.now);
        let days = (today(sender.about.zone), today(campaign_zone));
        let name = campaign.document.senders[0].clone();
        let next_free_at = book.senders[&sender.id].next_free_at;
        self.quotas = book.counts;
        self.senders.get_mut(&name).expect("it was just read").next_free_at = next_free_at;
        match verdict {
            Verdict::Go { sender_day, campaign_day } => {
                assert_eq!((sender_day, campaign_day), days);
                let to = self.leads[&self.enrollments[&row.enrollment].lead].address.clone();
                self.dispatch(send, to, Some(days));
            }
            Verdict::Defer { until, because, days } => {
                let slot = days.map(|(sender_day, campaign_day)| Slot {
                    at: until,
                    because,
                    sender_day,
                    campaign_day,
                });
                self.ledger.row(send).slot = slot;
                self.answer(send, Answer::Deferred { until, reason: because });
            }
        }
    }

    /// What stands against a message, and until when.
    fn guarded(&self, row: &Row) -> Option<(DateTime<Utc>, Why)> {
        let campaign = self.guarded_until(row).map(|until| (until, Why::RecontactGuard));
        let colleague = self.colleague_is_with_a_person(row.enrollment);
        let colleague = colleague.then_some((self.now + AGAIN, Why::ColleagueWithPerson));
        campaign.max(colleague)
    }

    /// Until when another campaign's message to the same lead stands against a first message.
    fn guarded_until(&self, row: &Row) -> Option<DateTime<Utc>> {
        let own = &self.enrollments[&row.enrollment];
        let version = &self.campaigns[&own.campaign].version;
        let not_within = version.not_within?;
        let What::Step { .. } = row.what else { return None };
        let went = |stand| {
            matches!(
                stand,
                Stand::Dispatching | Stand::Accepted | Stand::Unknown | Stand::NeedsReview
            )
        };
        let to_lead = self.ledger.iter().filter(|(_, it)| {
            let is_step = matches!(it.what, What::Step { .. });
            is_step && went(it.stand) && self.enrollments[&it.enrollment].lead == own.lead
        });
        if to_lead.clone().any(|(_, it)| it.enrollment == row.enrollment) {
            return None;
        }
        let last = to_lead.filter_map(|(_, it)| it.gate_at).max()?;
        Some(not_within.after(last, version.zone))
    }

    fn dispatch(
        &mut self,
        send: SendId,
        to: String,
        used: Option<(chrono::NaiveDate, chrono::NaiveDate)>,
    ) {
        self.ledger.set(send, Stand::Dispatching);
        let (now, lease_until) = (self.now, self.now + LEASE);
        let row = self.ledger.row(send);
        row.gate_at = Some(now);
        row.lease_until = Some(lease_until);
        row.slot = None;
        row.used = used;
        let effect = EffectId { send, attempt: row.attempt };
        let (enrollment, what) = (row.enrollment, row.what.clone());
        self.call(Call { effect, enrollment, what, to, at: now });
    }

    /// Asks the provider, once.
    fn call(&mut self, call: Call) {
        let effect = call.effect;
        let whose = match call.what {
            What::Handover { .. } | What::Forward { .. } => Whose::Team,
            What::Step { .. } | What::Answer { .. } => Whose::Lead,
        };
        match self.provider.script.judge(whose) {
            Reception::Take => {
                self.take(&call);
                self.record(effect, Answer::Accepted);
            }
            Reception::Refuse(class) => {
                self.record(effect, Answer::Rejected { class, retry_after_s: None });
            }
            Reception::Hold => self.provider.held.push(call),
            Reception::LoseAnswer => self.take(&call),
        }
    }

    /// The provider has the message.
    pub(super) fn take(&mut self, call: &Call) {
        let (step, variant) = match &call.what {
            What::Step { step, variant } => {
                (step.to_string(), variant.as_ref().map(ToString::to_string))
            }
            What::Answer { .. } => (ANSWER.to_owned(), None),
            What::Handover { .. } | What::Forward { .. } => {
                self.provider.accepts.push(call.effect.send);
                self.team_mails.push(Mail { to: call.to.clone(), at: call.at });
                return;
            }
        };
        self.provider.accepts.push(call.effect.send);
        let sent = Sent { step, variant, to: call.to.clone(), at: call.at };
        self.row(call.enrollment).sends.push(sent);
    }

    /// The outcome of a call enters the ledger, and the machine is told in the same step.
    pub(super) fn record(&mut self, effect: EffectId, answer: Answer) {
        let row = self.ledger.row(effect.send);
        let open = matches!(row.stand, Stand::Dispatching | Stand::Unknown | Stand::NeedsReview);
        if !open || row.attempt != effect.attempt {
            // It moved on meanwhile.
            return;
        }
        let accepted = answer == Answer::Accepted;
        self.ledger.set(effect.send, if accepted { Stand::Accepted } else { Stand::Rejected });
        if !accepted {
            self.give_back(effect.send);
        }
        let enrollment = self.ledger.row(effect.send).enrollment;
        self.turn(enrollment, vec![Signal::SendAnswered { effect, answer }]);
    }

    /// The gate's own answer: the provider was not asked.
    fn answer(&mut self, send: SendId, answer: Answer) {
        let stand = match answer {
            Answer::Deferred { .. } => Stand::Deferred,
            Answer::Held { .. } => Stand::Cancelled,
            Answer::Accepted | Answer::Rejected { .. } | Answer::Lost => Stand::Rejected,
        };
        if stand != Stand::Deferred {
            self.unbook(send);
        }
        self.ledger.set(send, stand);
        let row = self.ledger.row(send);
        let effect = EffectId { send, attempt: row.attempt };
        let enrollment = row.enrollment;
        self.turn(enrollment, vec![Signal::SendAnswered { effect, answer }]);
    }

    /// Calls whose lease is over: nobody knows, and a person must look.
    pub(super) fn sweep(&mut self) -> bool {
        let lost: Vec<SendId> = self
            .ledger
            .iter()
            .filter(|(_, row)| row.stand == Stand::Dispatching)
            .filter(|(_, row)| row.lease_until.is_some_and(|until| until <= self.now))
            .map(|(send, _)| send)
            .collect();
        for send in &lost {
            self.ledger.set(*send, Stand::Unknown);
            self.ledger.set(*send, Stand::NeedsReview);
            let enrollment = self.ledger.row(*send).enrollment;
            self.turn(enrollment, Vec::new());
        }
        !lost.is_empty()
    }

    /// Takes a send out of the way, with what it was promised.
    pub(super) fn cancel(&mut self, send: SendId) {
        self.unbook(send);
        self.ledger.set(send, Stand::Cancelled);
    }

    fn unbook(&mut self, send: SendId) {
        if let Some(slot) = self.ledger.row(send).slot.take() {
            for key in self.quota_keys(send, slot.sender_day, slot.campaign_day) {
                if let Some(count) = self.quotas.get_mut(&key) {
                    count.booked -= 1;
                }
            }
        }
    }

    /// A refusal gives its quota back.
    fn give_back(&mut self, send: SendId) {
        if let Some((sender_day, campaign_day)) = self.ledger.row(send).used.take() {
            for key in self.quota_keys(send, sender_day, campaign_day) {
                if let Some(count) = self.quotas.get_mut(&key) {
                    count.used -= 1;
                }
            }
        }
    }

    pub(super) fn quota_keys(
        &self,
        send: SendId,
        sender_day: chrono::NaiveDate,
        campaign_day: chrono::NaiveDate,
    ) -> [Key; 2] {
        let row = self.ledger.get(send).expect("it has a row");
        let campaign = self.enrollments[&row.enrollment].campaign;
        let sender = self.senders[&self.campaigns[&campaign].document.senders[0]].id;
        [(Scope::Sender, sender, sender_day), (Scope::Campaign, campaign.uuid(), campaign_day)]
    }

    /// When a lease ends next, later than now.
    pub(super) fn next_lease(&self) -> Option<DateTime<Utc>> {
        let leases = self.ledger.iter().filter(|(_, row)| row.stand == Stand::Dispatching);
        leases.filter_map(|(_, row)| row.lease_until).filter(|until| *until > self.now).min()
    }
}

/// The fields that the wording of a step would print and the lead does not have.
fn missing_fields(
    document: &CampaignDocument,
    step: &str,
    variant: Option<&str>,
    attributes: &std::collections::BTreeMap<String, serde_json::Value>,
) -> Vec<String> {
    let Some(step) = find(&document.steps, step) else { return Vec::new() };
    let (subject, body) = match (&step.email, &step.sms, variant) {
        (Some(email), _, None) => (email.subject.as_deref(), email.body.as_deref()),
        (Some(email), _, Some(variant)) => {
            let of = email.variants.iter().find(|of| of.key.as_str() == variant);
            of.map_or((None, None), |of| (of.subject.as_deref(), of.body.as_deref()))
        }
        (None, Some(sms), _) => (None, sms.body.as_deref()),
        (None, None, _) => (None, None),
    };
    let wording = CompiledStep::compile(subject, BodySource::Text(body.unwrap_or("-")));
    let wording = wording.expect("scenarios write lawful templates");
    let lead: Map<_, _> = attributes.clone().into_iter().collect();
    match wording.render(Values::new(&lead, &Map::new()), None) {
        Err(RenderFault::Missing { fields }) => fields,
        Ok(_) => Vec::new(),
        Err(fault) => panic!("a scenario's text does not render: {fault}"),
    }
}

fn find<'a>(steps: &'a [StepDocument], key: &str) -> Option<&'a StepDocument> {
    steps.iter().find_map(|step| {
        if step.key.as_str() == key {
            return Some(step);
        }
        let lanes = step.condition.as_ref()?;
        find(&lanes.then, key).or_else(|| find(&lanes.otherwise, key))
    })
}

impl super::Provided {
    /// A call whose outcome is known by other means is not answered any more.
    pub(super) fn forget(&mut self, effect: EffectId) {
        self.held.retain(|call| call.effect != effect);
    }
}

/// Why the address of a lead must not be written to any more.
pub(super) fn refusal_of(signal: &Signal) -> Option<Refusal> {
    use machine::signal::Bounce;
    match signal {
        Signal::OptedOut | Signal::Complained => Some(Refusal::Suppressed),
        Signal::Bounced { severity: Bounce::Hard, .. } => Some(Refusal::Recipient),
        _ => None,
    }
}
