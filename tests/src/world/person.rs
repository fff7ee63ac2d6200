//! A person in a campaign: what they do, what is done about them, and what is true of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::context::{Consent, Consents};
use machine::country::Country;
use machine::explain::{Plan, Shown};
use machine::ids::EnrollmentId;
use machine::key::StepKey;
use machine::outcome::Outcome;
use machine::sequence::Channel;
use machine::signal::{
    Bounce, CallResult, Decision, HandoverResult, PauseScope, ResumeRule, Signal,
};
use machine::state::{Responder, State};
use serde_json::Value;

use super::backend::{Reading, Sight, Went};
use super::news::{Author, LeadChange, News};
use super::{Sent, World};

/// Somebody who may be enrolled.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// The mail address.
    pub address: String,
    /// The phone number.
    pub phone: Option<String>,
    /// The zone, if it is known.
    pub zone: Option<Tz>,
    /// What the person agreed to.
    pub consent: Consents,
    /// What is known of them.
    pub attributes: BTreeMap<String, Value>,
}

/// Describes somebody by their address.
pub fn lead(address: &str) -> Lead {
    Lead {
        address: address.to_owned(),
        phone: None,
        zone: None,
        consent: Consents::default(),
        attributes: BTreeMap::new(),
    }
}

impl From<&str> for Lead {
    fn from(address: &str) -> Self {
        lead(address)
    }
}

impl Lead {
    /// They live here.
    #[must_use]
    pub fn in_zone(mut self, zone: Tz) -> Self {
        self.zone = Some(zone);
        self
    }

    /// This is known of them.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(attribute.to_owned(), value.into());
        self
    }

    /// Returns their country, where it is all that is known of where they live.
    pub(super) fn country(&self) -> Option<Country> {
        let country = self.attributes.get("country").filter(|_| self.zone.is_none());
        country.and_then(Value::as_str)?.parse().ok()
    }

    /// They may be reached on this number, by text and by call.
    #[must_use]
    pub fn on_the_phone(mut self, number: &str) -> Self {
        self.phone = Some(number.to_owned());
        self.consent.sms = Consent::Granted;
        self.consent.call = Consent::Granted;
        self
    }
}

/// A person in a campaign.
pub struct Person {
    world: World,
    enrollment: EnrollmentId,
}

/// What the person does.
impl Person {
    pub(super) fn new(world: World, enrollment: EnrollmentId) -> Self {
        Self { world, enrollment }
    }

    /// Answers the newest message.
    pub async fn replies(&self, text: &str) {
        self.is_heard(News::Reply { text: text.to_owned() }).await;
    }

    /// Has an automatic answer that names the day of return, as `2026-03-09`.
    pub async fn is_away_until(&self, back_on: &str) {
        let back_on = Some(back_on.parse().expect("a date"));
        self.is_heard(News::OutOfOffice { back_on }).await;
    }

    /// Has an automatic answer that names no day.
    pub async fn is_away(&self) {
        self.is_heard(News::OutOfOffice { back_on: None }).await;
    }

    /// Has an address that does not exist.
    pub async fn bounces(&self) {
        self.is_heard(News::Bounce(Bounce::Hard)).await;
    }

    /// Has a full mailbox.
    pub async fn bounces_softly(&self) {
        self.is_heard(News::Bounce(Bounce::Soft)).await;
    }

    /// Wants no more.
    pub async fn opts_out(&self) {
        self.is_heard(News::OptOut).await;
    }

    /// Reports a message as unwanted.
    pub async fn complains(&self) {
        self.is_heard(News::Complaint).await;
    }

    /// Follows a link.
    pub async fn clicks(&self, step: &str) {
        self.is_heard(News::Click { step: step.to_owned() }).await;
    }

    /// Has the message in the mailbox.
    pub async fn was_delivered(&self, step: &str) {
        self.is_heard(News::Delivered { step: step.to_owned() }).await;
    }

    async fn is_heard(&self, news: News) {
        self.world.backend.hear(self.enrollment, &news).await;
        self.world.settle().await;
    }

    /// Has an attribute with this value from now on.
    pub async fn has(&self, attribute: &str, value: impl Into<Value>) {
        let change = LeadChange::Attribute(attribute.to_owned(), value.into());
        self.changes(change).await;
    }

    /// Agrees to be reached on a channel.
    pub async fn agrees_to(&self, channel: Channel) {
        self.changes(LeadChange::Consent(channel, Consent::Granted)).await;
    }

    /// Wants nothing on a channel, and says so without a stop.
    pub async fn takes_no(&self, channel: Channel) {
        self.changes(LeadChange::Consent(channel, Consent::Refused)).await;
    }

    async fn changes(&self, change: LeadChange) {
        self.world.backend.change(self.enrollment, &change).await;
        self.world.settle().await;
    }

    /// Sends mail that nobody reads yet.
    pub async fn replies_unread(&self, text: &str) {
        self.world.backend.read_mail(Reading::Stopped).await;
        self.replies(text).await;
    }

    /// Has the stored mail read at last.
    pub async fn is_read(&self) {
        self.world.backend.read_mail(Reading::AtOnce).await;
        self.world.settle().await;
    }
}

/// What our people order.
impl Person {
    /// The lead is paused.
    pub async fn pause(&self) {
        self.order(Signal::Paused { scope: PauseScope::Lead }).await;
    }

    /// The lead goes on.
    pub async fn resume(&self, rule: ResumeRule) {
        self.order(Signal::Resumed { scope: PauseScope::Lead, rule }).await;
    }

    /// The current step is skipped.
    pub async fn skip(&self) {
        let step = self.current().await;
        self.order(Signal::Skipped { step }).await;
    }

    /// The current step does not wait for its delay.
    pub async fn send_now(&self) {
        let step = self.current().await;
        self.order(Signal::SendNow { step }).await;
    }

    /// What was given up is tried again.
    pub async fn retry(&self) {
        self.order(Signal::Retried).await;
    }

    /// The enrollment ends.
    pub async fn stop(&self) {
        self.order(Signal::Stopped).await;
    }

    /// A person is to take over.
    pub async fn hand_over(&self) {
        self.order(Signal::HandOver).await;
    }

    /// The owner takes the handover.
    pub async fn accept(&self) {
        self.order(Signal::HandoverAccepted { by: Responder::First }).await;
    }

    /// The fallback takes the handover.
    pub async fn accept_as_fallback(&self) {
        self.order(Signal::HandoverAccepted { by: Responder::Fallback }).await;
    }

    /// Whoever took it has answered the lead.
    pub async fn answer(&self) {
        self.order(Signal::HandoverAnswered).await;
    }

    /// The owner answers by mail.
    pub async fn is_written_to(&self, text: &str) {
        self.is_answered(Responder::First, Author::Themselves, text).await;
    }

    /// The fallback answers by mail.
    pub async fn is_written_to_by_the_fallback(&self, text: &str) {
        self.is_answered(Responder::Fallback, Author::Themselves, text).await;
    }

    /// Somebody else answers the owner's mail.
    pub async fn is_written_to_by_a_stranger(&self, text: &str) {
        self.is_answered(Responder::First, Author::Stranger, text).await;
    }

    /// The owner's mailbox answers that its owner is away.
    pub async fn finds_the_owner_away(&self) {
        self.is_answered(Responder::First, Author::TheirMachine, "I am at sea.").await;
    }

    async fn is_answered(&self, of: Responder, author: Author, text: &str) {
        self.is_heard(News::TeamAnswer { of, author, text: text.to_owned() }).await;
    }

    /// The handover is over.
    pub async fn close(&self, result: HandoverResult) {
        self.order(Signal::HandoverClosed { result }).await;
    }

    /// Automation takes the lead back.
    pub async fn give_back(&self) {
        self.order(Signal::GivenBack).await;
    }

    /// The draft may leave, or must not.
    pub async fn decide(&self, decision: Decision) {
        match self.state().await {
            State::AwaitingApproval { draft, .. } => {
                self.order(Signal::ApprovalDecided { effect: draft, decision }).await;
            }
            other => panic!("there is no draft: {other:?}"),
        }
    }

    /// The call was made.
    pub async fn is_called(&self, result: CallResult) {
        match self.state().await {
            State::AwaitingCall { task, .. } => {
                self.order(Signal::CallDone { effect: task, result }).await;
            }
            other => panic!("there is no call: {other:?}"),
        }
    }

    /// Somebody looked: the message whose call was lost did arrive.
    pub async fn is_found_to_have_it(&self) {
        self.world.backend.review(self.enrollment, Went::Yes).await;
        self.world.settle().await;
    }

    /// Somebody looked: the message whose call was lost did not arrive, and goes again.
    pub async fn is_sent_it_again(&self) {
        self.world.backend.review(self.enrollment, Went::No).await;
        self.world.settle().await;
    }

    /// An order as it stands, for orders given twice or too late.
    pub async fn order(&self, signal: Signal) {
        self.world.backend.order(self.enrollment, &signal).await;
        self.world.settle().await;
    }

    /// The stored snapshot is spoiled.
    pub async fn is_spoiled(&self) {
        self.world.backend.spoil(self.enrollment).await;
    }

    async fn current(&self) -> StepKey {
        let next = self.sight().await.plan.and_then(|plan| plan.next);
        next.expect("there is a step that comes next").step
    }

    async fn state(&self) -> State {
        self.sight().await.enrollment.expect("it is not parked").state
    }
}

/// What must be true.
impl Person {
    /// Returns everything there is to see.
    pub async fn sight(&self) -> Sight {
        self.world.backend.sight(self.enrollment).await
    }

    /// Returns the messages received, with their times and wordings.
    pub async fn mails(&self) -> Vec<Sent> {
        self.sight().await.sends
    }

    /// Returns the plan.
    pub async fn plan(&self) -> Plan {
        self.sight().await.plan.expect("it is not parked")
    }

    /// Received exactly these, in this order.
    pub async fn received(&self, steps: &[&str]) {
        let sight = self.sight().await;
        let received: Vec<_> = sight.sends.iter().map(|send| send.step.as_str()).collect();
        assert_eq!(received, steps, "{sight:#?}");
    }

    /// Received these at these times, in the zone of times like `2026-03-02T08:00:00Z`.
    pub async fn received_at(&self, expected: &[(&str, &str)]) {
        let sight = self.sight().await;
        let received: Vec<_> = sight.sends.iter().map(|send| (&*send.step, send.at)).collect();
        let time = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let expected: Vec<_> = expected.iter().map(|(step, at)| (*step, time(at))).collect();
        assert_eq!(received, expected, "{sight:#?}");
    }

    /// Is over, like this.
    pub async fn ended(&self, outcome: Outcome) {
        let sight = self.sight().await;
        assert_eq!(sight.outcome, Some(outcome), "{sight:#?}");
    }

    /// Has the answer of the person who took it.
    pub async fn was_answered(&self) {
        let state = self.state().await;
        assert!(matches!(state, State::Answered { .. }), "{state:?}");
    }

    /// Is shown by this word.
    pub async fn is(&self, state: Shown) {
        let sight = self.sight().await;
        assert_eq!(sight.state, state, "{sight:#?}");
    }

    /// Waits for this step, until this time.
    pub async fn waits_for(&self, step: &str, until: &str) {
        let sight = self.sight().await;
        let next = sight.plan.as_ref().and_then(|plan| plan.next.as_ref());
        let next = next.map(|next| (next.step.as_str(), next.at));
        let until: DateTime<Utc> = until.parse().expect("a time");
        assert_eq!(next, Some((step, Some(until))), "{sight:#?}");
    }

    /// Is out of the way of the others, with a cause that says this.
    pub async fn is_parked(&self, cause: &str) {
        let sight = self.sight().await;
        assert_eq!(sight.state, Shown::Failed);
        let parked = sight.parked.expect("it is parked");
        assert!(parked.contains(cause), "{parked}");
    }

    /// Has this many sends that a person must look at.
    pub async fn is_in_review(&self, sends: usize) {
        let sight = self.sight().await;
        assert_eq!(sight.in_review, sends, "{sight:#?}");
    }
}
