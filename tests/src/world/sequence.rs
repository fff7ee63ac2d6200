//! Campaigns in the words of a scenario. What comes out is the document an author would have
//! written, so that every scenario goes through the whole compile path.

use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz;
use machine::calendar::{Weekday, Window};
use machine::delay::Delay;
use machine::document::{
    AgentChoice, CampaignDocument, ConditionDocument, EmailDocument, EmailVariant, Handover,
    HandoverDocument, ScoreDocument, SmsDocument, StepDocument, TriggerDocument, WaitUntilDocument,
};
use machine::sequence::{ReplyRule, ReplyScope};
use serde_json::{Value, json};

/// Whom a campaign's handovers are offered to, unless a scenario says otherwise.
pub const OWNER: &str = "owner@meridian.example";

/// Whom they are offered to when the owner does not answer, where there is such a person.
pub const FALLBACK: &str = "fallback@meridian.example";

/// A campaign that is being described.
#[derive(Debug, Clone)]
pub struct Sequence {
    pub(super) document: CampaignDocument,
    pub(super) sender: Sender,
    /// The delay of the step that is described next.
    wait: Delay,
}

/// The mailbox of a campaign, as a scenario describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its name: campaigns that name the same one share it.
    pub name: String,
    /// Messages a day.
    pub per_day: Option<u32>,
    /// Time between two messages.
    pub spacing: TimeDelta,
    /// Whose midnight begins its day.
    pub zone: Tz,
}

/// Begins a campaign without steps, in Lisbon, open at any hour, with an owner for handovers.
pub fn sequence() -> Sequence {
    let document = json!({
        "name": "First", "zone": "Europe/Lisbon", "steps": [],
        "handover": { "to": OWNER, "answer_within": "1 day" },
    });
    Sequence {
        document: serde_json::from_value(document).expect("a lawful document"),
        sender: sender("anna"),
        wait: Delay::NONE,
    }
}

/// Begins a mailbox without limits.
pub fn sender(name: &str) -> Sender {
    Sender {
        name: name.to_owned(),
        per_day: None,
        spacing: TimeDelta::zero(),
        zone: Tz::Europe__Lisbon,
    }
}

/// A number of days.
pub fn days(number: i64) -> TimeDelta {
    TimeDelta::days(number)
}

/// A number of hours.
pub fn hours(number: i64) -> TimeDelta {
    TimeDelta::hours(number)
}

/// A number of minutes.
pub fn minutes(number: i64) -> TimeDelta {
    TimeDelta::minutes(number)
}

/// Monday to Friday.
pub const WEEKDAYS: [Weekday; 5] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];

impl Sender {
    /// It sends no more than this a day.
    #[must_use]
    pub fn per_day(mut self, number: u32) -> Self {
        self.per_day = Some(number);
        self
    }

    /// It leaves this much time between two messages.
    #[must_use]
    pub fn spacing(mut self, time: TimeDelta) -> Self {
        self.spacing = time;
        self
    }
}

impl Sequence {
    /// Then a mail.
    #[must_use]
    pub fn email(self, key: &str) -> Self {
        let body = Some(format!("The text of {key}."));
        self.email_as(key, EmailDocument { body, ..EmailDocument::default() })
    }

    /// Then a mail with this template.
    #[must_use]
    pub fn email_saying(self, key: &str, body: &str) -> Self {
        let body = Some(body.to_owned());
        self.email_as(key, EmailDocument { body, ..EmailDocument::default() })
    }

    /// Then a mail that a person must approve.
    #[must_use]
    pub fn email_approved(self, key: &str) -> Self {
        let body = Some(format!("The text of {key}."));
        self.email_as(key, EmailDocument { body, approval: true, ..EmailDocument::default() })
    }

    /// Then a mail in several wordings.
    #[must_use]
    pub fn email_in_variants(self, key: &str, variants: &[(&str, u32)]) -> Self {
        let wording = |(variant, weight): &(&str, u32)| EmailVariant {
            key: variant.parse().expect("a variant's key"),
            weight: *weight,
            subject: Some(format!("{key} {variant}")),
            body: Some(format!("The text of {key} as {variant}.")),
            html: None,
        };
        let variants = variants.iter().map(wording).collect();
        self.email_as(key, EmailDocument { variants, ..EmailDocument::default() })
    }

    fn email_as(self, key: &str, mut email: EmailDocument) -> Self {
        let is_first = self.document.steps.iter().all(|step| step.email.is_none());
        if is_first && email.variants.is_empty() {
            email.subject = Some("Night audit".to_owned());
        }
        self.step(key, |step| step.email = Some(email))
    }

    /// Then a text message.
    #[must_use]
    pub fn sms(self, key: &str) -> Self {
        let body = Some(format!("The text of {key}."));
        self.step(key, |step| step.sms = Some(SmsDocument { body, ..SmsDocument::default() }))
    }

    /// Then a call.
    #[must_use]
    pub fn call(self, key: &str) -> Self {
        self.step(key, |step| step.call = Some(machine::document::CallDocument::default()))
    }

    /// The next step comes this much later.
    #[must_use]
    pub fn wait(self, time: TimeDelta) -> Self {
        let text = match time.num_days() {
            whole if whole > 0 && TimeDelta::days(whole) == time => format!("{whole} days"),
            _ => format!("{} seconds", time.num_seconds()),
        };
        self.wait_until(&text)
    }

    /// The next step comes after a delay as authors write it: `1 day at 09:00`.
    #[must_use]
    pub fn wait_until(mut self, delay: &str) -> Self {
        self.wait = delay.parse().expect("a delay");
        self
    }

    /// Then a wait that a reply ends, and that consumes it.
    #[must_use]
    pub fn wait_for_reply(self, key: &str, limit: TimeDelta) -> Self {
        self.wait_step(key, limit, |wait| wait.reply = true)
    }

    /// Then a wait that a click in a message ends.
    #[must_use]
    pub fn wait_for_click(self, key: &str, message: &str, limit: TimeDelta) -> Self {
        let message = message.parse().expect("a step's key");
        self.wait_step(key, limit, |wait| wait.clicks = vec![message])
    }

    /// Then a wait that an attribute ends.
    #[must_use]
    pub fn wait_for_attribute(self, key: &str, condition: Value, limit: TimeDelta) -> Self {
        let condition = serde_json::from_value(condition).expect("a condition");
        self.wait_step(key, limit, |wait| wait.attribute = Some(condition))
    }

    fn wait_step(
        self,
        key: &str,
        limit: TimeDelta,
        describe: impl FnOnce(&mut WaitUntilDocument),
    ) -> Self {
        let limit = format!("{} seconds", limit.num_seconds()).parse().expect("a delay");
        let mut wait =
            WaitUntilDocument { limit, reply: false, clicks: Vec::new(), attribute: None };
        describe(&mut wait);
        self.step(key, |step| step.wait_until = Some(wait))
    }

    /// Then one of two lanes, which join again.
    #[must_use]
    pub fn branch(self, key: &str, when: Value, then: Self, otherwise: Self) -> Self {
        let condition = ConditionDocument {
            when: serde_json::from_value(when).expect("a condition"),
            then: then.document.steps,
            otherwise: otherwise.document.steps,
        };
        self.step(key, |step| step.condition = Some(condition))
    }

    /// Then a person.
    #[must_use]
    pub fn hand_over(self, key: &str) -> Self {
        self.step(key, |step| step.handover = Some(HandoverDocument::default()))
    }

    fn step(mut self, key: &str, describe: impl FnOnce(&mut StepDocument)) -> Self {
        let mut step: StepDocument =
            serde_json::from_value(json!({ "key": key })).expect("a step's key");
        step.wait = std::mem::take(&mut self.wait);
        describe(&mut step);
        self.document.steps.push(step);
        self
    }

    /// The campaign has this name; names are unique in a world.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.document.name);
        self
    }

    /// Leads whose own zone is unknown live here.
    #[must_use]
    pub fn in_zone(mut self, zone: Tz) -> Self {
        self.document.zone = zone;
        self
    }

    /// Messages leave on these days between these times, too.
    #[must_use]
    pub fn open(mut self, days: &[Weekday], from: &str, to: &str) -> Self {
        let time = |text: &str| text.parse().expect("a time of day");
        let window = Window { days: days.to_vec(), from: time(from), to: time(to) };
        self.document.windows.push(window);
        self
    }

    /// Nothing leaves on this day.
    #[must_use]
    pub fn closed_on(mut self, date: &str) -> Self {
        let date: NaiveDate = date.parse().expect("a date");
        self.document.holidays.insert(date);
        self
    }

    /// The campaign sends no more than this a day.
    #[must_use]
    pub fn per_day(mut self, number: u32) -> Self {
        self.document.caps.per_day = Some(number);
        self
    }

    /// Leads that another campaign wrote to within this time wait for their first message.
    #[must_use]
    pub fn not_within(mut self, delay: &str) -> Self {
        self.document.recontact.not_within = Some(delay.parse().expect("a delay"));
        self
    }

    /// Leads for which this holds leave as met.
    #[must_use]
    pub fn goal(mut self, condition: Value) -> Self {
        self.document.goal = Some(serde_json::from_value(condition).expect("a condition"));
        self
    }

    /// An answer ends the sequence, and nobody is told.
    #[must_use]
    pub fn replies_stop(mut self) -> Self {
        self.document.reply.rule = Some(ReplyRule::Stop);
        self
    }

    /// Only answers to this campaign count.
    #[must_use]
    pub fn hears_only_its_own(mut self) -> Self {
        self.document.reply.scope = ReplyScope::Campaign;
        self
    }

    /// While somebody is with a person, the others of the company wait.
    #[must_use]
    pub fn holds_colleagues(mut self) -> Self {
        self.document.reply.scope = ReplyScope::Company;
        self
    }

    /// There is somebody to turn to when the owner does not answer.
    #[must_use]
    pub fn with_fallback(self) -> Self {
        self.handover(|handover| handover.fallback = Some(FALLBACK.to_owned()))
    }

    /// Leads are offered to agents in turn, not to an owner.
    #[must_use]
    pub fn offered_in_turn(self) -> Self {
        self.handover(|handover| {
            handover.to = None;
            handover.agents = Some(AgentChoice::InTurn);
        })
    }

    /// How long a person has to answer, and in which hours of the campaign's zone.
    #[must_use]
    pub fn answered_within(self, delay: &str) -> Self {
        let delay = delay.parse().expect("a delay");
        self.handover(|handover| handover.answer_within = delay)
    }

    /// What hands a lead over by itself.
    #[must_use]
    pub fn trigger(self, key: &str, when: Value) -> Self {
        let when = serde_json::from_value(when).expect("a condition");
        let key = key.parse().expect("a key");
        self.handover(|handover| handover.triggers.push(TriggerDocument { key, when }))
    }

    /// What a lead is worth for this.
    #[must_use]
    pub fn points(mut self, points: i32, when: Value) -> Self {
        let when = serde_json::from_value(when).expect("a condition");
        self.document.score.push(ScoreDocument { when, points });
        self
    }

    fn handover(mut self, describe: impl FnOnce(&mut Handover)) -> Self {
        describe(self.document.handover.as_mut().expect("every sequence has an owner"));
        self
    }

    /// A step is tried until it was refused this often.
    #[must_use]
    pub fn refused_at_most(mut self, number: u32) -> Self {
        self.document.retry.refusals = number;
        self
    }

    /// Messages leave from this mailbox.
    #[must_use]
    pub fn from(mut self, sender: Sender) -> Self {
        self.sender = sender;
        self
    }

    /// Returns the document, as an author would have written it.
    pub fn into_document(mut self) -> CampaignDocument {
        self.document.senders = vec![self.sender.name.clone()];
        self.document
    }
}
