//! What a lead does, case by case: each test is a sentence that once was not true, or that an
//! author relies on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use machine::context::{Context, Facts};
use machine::document::compile;
use machine::effect::{Effect, EffectId};
use machine::enrollment::{Applied, Enrollment};
use machine::key::StepKey;
use machine::outcome::Outcome;
use machine::sequence::Version;
use machine::signal::{Answer, Bounce, Missing, PauseScope, Refusal, ReplyTo, ResumeRule, Signal};
use machine::state::{Counted, Done, Responder, State, Why};
use serde_json::{Value, json};
use uuid::Uuid;

/// A lead with its clock, its facts and the versions it may run.
struct Lead {
    versions: Vec<Version>,
    running: usize,
    now: DateTime<Utc>,
    facts: Facts,
    enrollment: Enrollment,
}

impl Lead {
    /// Enrolls a lead into a campaign of `steps` with the fields of `more`.
    fn enrolled(steps: Value, more: Value) -> Self {
        let mut lead = Self::new(steps, more);
        lead.hears(&Signal::Enrolled);
        lead
    }

    fn new(steps: Value, more: Value) -> Self {
        let version = version(steps, more);
        let now = "2026-03-02T08:00:00Z".parse().unwrap();
        Self {
            enrollment: Enrollment::begin(&version.steps[0], now),
            versions: vec![version],
            running: 0,
            now,
            facts: Facts::default(),
        }
    }

    fn hears(&mut self, signal: &Signal) -> Applied {
        let context = Context {
            now: self.now,
            workspace: Uuid::from_u128(1).into(),
            enrollment: Uuid::from_u128(2).into(),
            lead: Uuid::from_u128(3).into(),
            version: &self.versions[self.running],
            facts: &self.facts,
        };
        self.enrollment.apply(signal, context)
    }

    /// Lets time pass until the lead is due, and wakes it.
    fn wakes(&mut self) -> Applied {
        self.now = self.now.max(self.enrollment.wake_at().unwrap());
        self.hears(&Signal::Woke)
    }

    /// Wakes it and answers the send it asks for.
    fn sends(&mut self) {
        let effect = self.wakes().effects.pop().unwrap().id();
        self.hears(&answered(effect, Answer::Accepted));
    }

    fn moves_to(&mut self, steps: Value, more: Value) {
        self.versions.push(version(steps, more));
        self.running = self.versions.len() - 1;
        self.hears(&Signal::VersionMoved);
    }

    fn waits_for(&self) -> &str {
        match &self.enrollment.state {
            State::Waiting { step, .. } => step.as_str(),
            other => panic!("does not wait: {other:?}"),
        }
    }

    fn done(&self, step: &str) -> Option<&Done> {
        self.enrollment.data.history.done.get(&step.parse().unwrap())
    }
}

fn version(steps: Value, more: Value) -> Version {
    let mut document = json!({ "name": "Test", "zone": "UTC", "steps": steps });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    compile(&serde_json::from_value(document).unwrap()).unwrap()
}

fn email(key: &str) -> Value {
    json!({ "key": key, "email": { "body": "Hello" } })
}

fn later(key: &str) -> Value {
    json!({ "key": key, "wait": "3 days", "email": { "body": "Hello" } })
}

fn answered(effect: EffectId, answer: Answer) -> Signal {
    Signal::SendAnswered { effect, answer }
}

fn replied() -> Signal {
    Signal::replied(ReplyTo::This, None)
}

fn with_team() -> Value {
    json!({ "handover": { "to": "a@example.com", "fallback": "b@example.com" } })
}

fn skipped(step: &str) -> Signal {
    Signal::Skipped { step: step.parse().unwrap() }
}

#[test]
fn a_lead_is_counted_once_for_what_is_reported_again() {
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), json!({}));
    lead.sends();
    let intro: StepKey = "intro".parse().unwrap();
    let at_intro = Signal::replied(ReplyTo::This, Some(intro.clone()));
    let bounced = |step| Signal::Bounced { step, severity: Bounce::Hard };
    assert_eq!(lead.hears(&Signal::replied(ReplyTo::Other, None)).counted, None);
    assert_eq!(lead.hears(&replied()).counted, Some(Counted::Replied));
    assert_eq!(lead.hears(&at_intro).counted, None);
    assert_eq!(lead.hears(&Signal::Complained).counted, Some(Counted::Complained));
    assert_eq!(lead.hears(&bounced(Some(intro))).counted, Some(Counted::Bounced));
    assert_eq!(lead.hears(&bounced(None)).counted, None);
    assert_eq!(lead.hears(&Signal::Complained).counted, None);
    assert_eq!(lead.hears(&Signal::OptedOut).counted, Some(Counted::OptedOut));
    assert_eq!(lead.hears(&Signal::OptedOut).counted, None);
}

#[test]
fn an_order_to_skip_given_twice_skips_one_step() {
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), json!({}));
    lead.hears(&skipped("intro"));
    lead.hears(&skipped("intro"));
    assert_eq!(lead.waits_for(), "nudge");
    assert_eq!(lead.done("nudge"), None);
}

#[test]
fn an_order_to_send_now_that_comes_too_late_does_not_hurry_the_next_step() {
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), json!({}));
    lead.sends();
    let wake_at = lead.enrollment.wake_at();
    lead.hears(&Signal::SendNow { step: "intro".parse().unwrap() });
    assert_eq!(lead.enrollment.wake_at(), wake_at);
}

#[test]
fn a_lead_enrolled_into_a_paused_campaign_starts_when_it_is_resumed() {
    let wait = json!([{ "key": "quiet", "wait_until": { "for": "5 days" } }, email("intro")]);
    let mut lead = Lead::new(wait, json!({}));
    lead.hears(&Signal::Paused { scope: PauseScope::Campaign });
    lead.hears(&Signal::Enrolled);
    assert!(matches!(lead.enrollment.state, State::Paused { .. }));
    assert_eq!(lead.enrollment.data.entered_at, Some(lead.now));
    lead.now += TimeDelta::days(1);
    let rule = ResumeRule::Shift;
    lead.hears(&Signal::Resumed { scope: PauseScope::Campaign, rule });
    assert_eq!(lead.waits_for(), "quiet");
    assert_eq!(lead.enrollment.wake_at(), Some(lead.now + TimeDelta::days(5)));
}

#[test]
fn a_first_wait_is_waited_out_though_nobody_said_enrolled() {
    let wait = json!([{ "key": "quiet", "wait_until": { "for": "5 days" } }, email("intro")]);
    let mut lead = Lead::new(wait, json!({}));
    lead.hears(&Signal::Woke);
    assert_eq!(lead.enrollment.wake_at(), Some(lead.now + TimeDelta::days(5)));
}

#[test]
fn a_step_taken_up_again_after_a_move_is_asked_for_under_a_new_id() {
    let mut lead = Lead::enrolled(json!([email("intro")]), json!({}));
    let first = lead.wakes().effects.pop().unwrap().id();
    lead.hears(&answered(first, Answer::Rejected { class: Refusal::Retry, retry_after_s: None }));
    lead.moves_to(json!([email("before"), email("intro")]), json!({}));
    lead.sends();
    assert!(lead.done("before").is_some());
    let second = lead.wakes().effects.pop().unwrap().id();
    assert_eq!((second.send, second.attempt), (first.send, 2));
}

#[test]
fn a_wording_chosen_for_one_step_is_not_used_for_another() {
    let variants = |key: &str, variant: &str| {
        let wording = json!({ "key": variant, "body": "Hello" });
        json!({ "key": key, "email": { "variants": [wording] } })
    };
    let mut lead = Lead::enrolled(json!([variants("intro", "old")]), json!({}));
    let first = lead.wakes().effects.pop().unwrap().id();
    let until = lead.now + TimeDelta::days(1);
    lead.hears(&answered(first, Answer::Deferred { until, reason: Why::SenderDailyLimit }));
    lead.moves_to(json!([variants("before", "new"), variants("intro", "old")]), json!({}));
    let Some(Effect::Send { variant, .. }) = lead.wakes().effects.pop() else { panic!() };
    assert_eq!(variant.unwrap().as_str(), "new");
}

#[test]
fn a_held_lead_takes_up_a_step_that_was_put_before_its_own() {
    let mut lead = Lead::enrolled(json!([email("intro")]), json!({}));
    let effect = lead.wakes().effects.pop().unwrap().id();
    let missing = Missing::Variables { fields: vec!["first_name".to_owned()] };
    lead.hears(&answered(effect, Answer::Held { missing }));
    lead.moves_to(json!([email("before"), email("intro")]), json!({}));
    assert_eq!(lead.waits_for(), "before");
}

#[test]
fn send_now_lets_a_held_lead_go_on_during_an_absence() {
    let mut lead = Lead::enrolled(json!([email("intro")]), json!({}));
    let effect = lead.wakes().effects.pop().unwrap().id();
    let missing = Missing::Variables { fields: vec!["first_name".to_owned()] };
    lead.hears(&answered(effect, Answer::Held { missing }));
    lead.hears(&Signal::AutoReplied { back_on: NaiveDate::from_ymd_opt(2026, 3, 22) });
    lead.hears(&Signal::SendNow { step: "intro".parse().unwrap() });
    assert_eq!(lead.enrollment.wake_at(), Some(lead.now));
}

#[test]
fn a_click_that_came_before_the_wait_for_it_ends_it() {
    let wait = json!({ "key": "looked", "wait_until": { "for": "5 days", "clicks": ["intro"] } });
    let mut lead = Lead::enrolled(json!([email("intro"), wait, later("nudge")]), json!({}));
    let effect = lead.wakes().effects.pop().unwrap().id();
    // The report of the click may overtake the answer to the send.
    lead.hears(&Signal::Clicked { step: "intro".parse().unwrap() });
    lead.hears(&answered(effect, Answer::Accepted));
    assert_eq!(lead.waits_for(), "nudge");
}

#[test]
fn a_lead_whose_reply_a_wait_consumed_ends_as_replied() {
    let wait = json!({ "key": "listen", "wait_until": { "for": "5 days", "reply": true } });
    let mut lead = Lead::enrolled(json!([email("intro"), wait]), json!({}));
    lead.sends();
    lead.hears(&replied());
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Replied));
}

#[test]
fn an_answer_to_another_campaign_answers_none_of_our_steps() {
    let steps = json!([email("intro"), later("nudge")]);
    let mut lead = Lead::enrolled(steps, json!({ "reply": { "scope": "campaign" } }));
    lead.sends();
    let step = Some("intro".parse().unwrap());
    lead.hears(&Signal::replied(ReplyTo::Other, step));
    assert_eq!(lead.enrollment.data.history.replied, BTreeSet::new());
    assert_eq!(lead.enrollment.data.reached, None);
    lead.hears(&Signal::Stopped);
    lead.hears(&Signal::replied(ReplyTo::Other, Some("intro".parse().unwrap())));
    assert_eq!(lead.enrollment.data.history.replied, BTreeSet::new());
}

#[test]
fn a_goal_that_a_click_meets_ends_the_sequence_at_once() {
    let goal = json!({ "goal": { "clicked": "intro" } });
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), goal);
    lead.sends();
    lead.hears(&Signal::Clicked { step: "intro".parse().unwrap() });
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Met));
}

#[test]
fn a_goal_met_while_a_person_has_the_lead_leaves_it_with_them() {
    let mut more = with_team();
    more["goal"] = json!({ "clicked": "intro" });
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), more);
    lead.sends();
    lead.hears(&Signal::HandOver);
    lead.hears(&Signal::Clicked { step: "intro".parse().unwrap() });
    assert!(matches!(lead.enrollment.state, State::Offered { .. }));
    lead.hears(&Signal::GivenBack);
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Met));
}

#[test]
fn an_escalation_is_a_message_of_its_own() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    let first = lead.hears(&Signal::HandOver).effects.pop().unwrap().id();
    lead.hears(&answered(first, Answer::Accepted));
    let second = lead.wakes().effects.pop().unwrap();
    assert!(matches!(second, Effect::OfferHandover { to: Responder::Fallback, .. }));
    assert_ne!(second.id().send, first.send);
}

#[test]
fn an_escalation_does_not_wait_for_a_mail_that_is_in_flight() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    let first = lead.hears(&Signal::HandOver).effects.pop().unwrap().id();
    lead.facts.in_flight = vec![first.send];
    let second = lead.wakes().effects.pop().unwrap();
    assert!(matches!(second, Effect::OfferHandover { to: Responder::Fallback, .. }));
    // What becomes of the first mail is history by now.
    lead.facts.in_flight.clear();
    let before = lead.enrollment.state.clone();
    let refused = Answer::Rejected { class: Refusal::Retry, retry_after_s: None };
    lead.hears(&answered(first, refused));
    assert_eq!(lead.enrollment.state, before);
}

#[test]
fn a_refused_offer_is_tried_again_under_its_own_name_and_at_last_daily() {
    let mut lead = Lead::enrolled(
        json!([email("intro")]),
        json!({ "handover": { "to": "a@b.c", "answer_within": "1 hour" } }),
    );
    let first = lead.hears(&Signal::HandOver).effects.pop().unwrap().id();
    let refused = || Answer::Rejected { class: Refusal::Retry, retry_after_s: None };
    lead.hears(&answered(first, refused()));
    let second = lead.wakes().effects.pop().unwrap().id();
    assert_eq!((second.send, second.attempt), (first.send, 2));
    let mut next = second;
    for _ in 0..10 {
        lead.hears(&answered(next, refused()));
        let before = lead.now;
        next = lead.wakes().effects.pop().unwrap().id();
        if next.attempt > 4 && before > "2026-03-02T12:00:00Z".parse::<DateTime<Utc>>().unwrap() {
            assert!(lead.now - before >= TimeDelta::days(1));
        }
    }
    assert_eq!(next.send, first.send);
}

#[test]
fn a_message_that_a_person_orders_again_was_refused_by_nobody() {
    let mut lead = Lead::enrolled(json!([email("intro")]), json!({ "retry": { "refusals": 1 } }));
    let first = lead.wakes().effects.pop().unwrap().id();
    lead.hears(&answered(first, Answer::Lost));
    assert_eq!(lead.enrollment.wake_at(), Some(lead.now));
    let second = lead.wakes().effects.pop().unwrap().id();
    assert_eq!((second.send, second.attempt), (first.send, 2));
    assert!(lead.enrollment.data.asked.values().all(|asked| asked.refusals == 0));
}

#[test]
fn an_offer_that_a_person_orders_again_goes_to_the_same_person_at_once() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    let first = lead.hears(&Signal::HandOver).effects.pop().unwrap().id();
    let before = lead.enrollment.state.clone();
    let second = lead.hears(&answered(first, Answer::Lost)).effects.pop().unwrap().id();
    assert_eq!((second.send, second.attempt), (first.send, 2));
    assert_eq!(lead.enrollment.state, before);
}

#[test]
fn an_offer_that_finds_no_room_does_not_put_off_its_deadline() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    let first = lead.hears(&Signal::HandOver).effects.pop().unwrap().id();
    let State::Offered { answer_by, .. } = lead.enrollment.state else { panic!() };
    let until = lead.now + TimeDelta::days(7);
    lead.hears(&answered(first, Answer::Deferred { until, reason: Why::SenderDailyLimit }));
    assert_eq!(lead.enrollment.wake_at(), Some(answer_by));
}

#[test]
fn an_offer_that_somebody_took_is_not_mailed_any_more() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    let offer = lead.hears(&Signal::HandOver).effects.pop().unwrap().id();
    let applied = lead.hears(&Signal::HandoverAccepted { by: Responder::First });
    assert_eq!(applied.withdrawn, [offer]);
}

#[test]
fn a_lead_with_a_person_survives_a_move_to_a_version_without_handover() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    lead.hears(&Signal::HandOver);
    lead.moves_to(json!([email("intro")]), json!({}));
    lead.wakes();
    assert!(lead.enrollment.wake_at().unwrap() > lead.now);
    lead.hears(&Signal::HandoverAccepted { by: Responder::First });
    assert!(matches!(lead.enrollment.state, State::Accepted { .. }));
}

#[test]
fn a_send_that_comes_back_from_the_gate_after_a_stop_is_withdrawn() {
    let mut lead = Lead::enrolled(json!([email("intro")]), json!({}));
    let effect = lead.wakes().effects.pop().unwrap().id();
    lead.facts.in_flight = vec![effect.send];
    assert_eq!(lead.hears(&Signal::Stopped).withdrawn, []);
    // The call was never made: the send is planned again, and nobody wants it.
    lead.facts.in_flight.clear();
    assert_eq!(lead.hears(&Signal::Woke).withdrawn, [effect]);
    assert_eq!(lead.enrollment.data.open, []);
}

#[test]
fn a_pause_holds_for_a_lead_that_was_over_and_is_given_back() {
    let mut more = with_team();
    more["retry"] = json!({ "refusals": 1 });
    let mut lead = Lead::enrolled(json!([email("intro")]), more);
    let effect = lead.wakes().effects.pop().unwrap().id();
    lead.hears(&answered(effect, Answer::Rejected { class: Refusal::Retry, retry_after_s: None }));
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Failed));
    lead.hears(&Signal::Paused { scope: PauseScope::Campaign });
    lead.hears(&Signal::HandOver);
    lead.hears(&Signal::GivenBack);
    assert!(matches!(lead.enrollment.state, State::Paused { .. }));
}

#[test]
fn what_was_given_up_has_all_its_tries_again_and_asks_under_a_new_attempt() {
    let more = json!({ "retry": { "refusals": 2 } });
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), more);
    let refused = Answer::Rejected { class: Refusal::Retry, retry_after_s: None };
    let mut asked = Vec::new();
    for _ in 0..2 {
        for refusal in 1..=2 {
            assert_eq!(lead.enrollment.outcome(), None, "refused {refusal} times of 2");
            asked.push(lead.wakes().effects.pop().unwrap().id());
            lead.hears(&answered(*asked.last().unwrap(), refused.clone()));
        }
        assert_eq!(lead.enrollment.outcome(), Some(Outcome::Failed));
        lead.hears(&Signal::Retried);
        assert_eq!(lead.waits_for(), "intro");
        assert_eq!(lead.enrollment.wake_at(), Some(lead.now), "no delay is waited for again");
    }
    assert_eq!(asked.iter().map(|id| id.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(asked.iter().all(|id| id.send == asked[0].send));
    lead.sends();
    assert_eq!(lead.waits_for(), "nudge");
}

#[test]
fn a_message_that_was_refused_is_tried_again_and_what_ended_otherwise_is_not() {
    let refused = || {
        let mut lead = Lead::enrolled(json!([email("intro")]), json!({}));
        let effect = lead.wakes().effects.pop().unwrap().id();
        let class = Refusal::Content;
        lead.hears(&answered(effect, Answer::Rejected { class, retry_after_s: None }));
        lead
    };
    let (mut lead, mut stopped) = (refused(), refused());
    lead.hears(&Signal::Retried);
    lead.sends();
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Completed));
    stopped.hears(&Signal::OptedOut);
    stopped.hears(&Signal::Retried);
    assert_eq!(stopped.enrollment.outcome(), Some(Outcome::OptedOut));
    lead.hears(&Signal::Retried);
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Completed));
}

#[test]
fn what_is_tried_again_while_its_campaign_rests_waits_for_the_campaign() {
    let mut lead = Lead::enrolled(json!([email("intro")]), json!({ "retry": { "refusals": 1 } }));
    let effect = lead.wakes().effects.pop().unwrap().id();
    lead.hears(&answered(effect, Answer::Rejected { class: Refusal::Retry, retry_after_s: None }));
    lead.hears(&Signal::Paused { scope: PauseScope::Campaign });
    lead.hears(&Signal::Retried);
    assert!(matches!(lead.enrollment.state, State::Paused { .. }));
    lead.hears(&Signal::Resumed { scope: PauseScope::Campaign, rule: ResumeRule::Keep });
    lead.sends();
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Completed));
}

#[test]
fn a_reply_after_the_last_mail_is_offered_to_a_person() {
    let mut lead = Lead::enrolled(json!([email("intro")]), with_team());
    lead.sends();
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Completed));
    lead.hears(&replied());
    assert!(matches!(lead.enrollment.state, State::Offered { .. }));
}

#[test]
fn soft_bounces_on_three_days_make_a_hard_one() {
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), json!({}));
    lead.sends();
    for _ in 0..3 {
        assert_eq!(lead.enrollment.outcome(), None);
        lead.hears(&Signal::Bounced { step: None, severity: Bounce::Soft });
        lead.hears(&Signal::Bounced { step: None, severity: Bounce::Soft });
        lead.now += TimeDelta::days(1);
    }
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Bounced));
}

#[test]
fn a_refusal_that_comes_while_a_person_has_the_lead_counts() {
    let mut more = with_team();
    more["retry"] = json!({ "refusals": 2 });
    let mut lead = Lead::enrolled(json!([email("intro")]), more);
    let effect = lead.wakes().effects.pop().unwrap().id();
    lead.facts.in_flight = vec![effect.send];
    lead.hears(&Signal::HandOver);
    let refused = Answer::Rejected { class: Refusal::Retry, retry_after_s: None };
    lead.hears(&answered(effect, refused.clone()));
    lead.facts.in_flight.clear();
    lead.hears(&Signal::GivenBack);
    let effect = lead.wakes().effects.pop().unwrap().id();
    lead.hears(&answered(effect, refused));
    assert_eq!(lead.enrollment.outcome(), Some(Outcome::Failed));
}

fn triggered(triggers: Value) -> Value {
    json!({
        "handover": { "to": "a@example.com", "triggers": triggers },
        "keywords": { "price": ["price"] },
        "score": [
            { "when": { "clicked": "intro" }, "points": 20 },
            { "when": { "delivered": "intro" }, "points": 5 },
            { "when": { "attribute": "tier", "equals": "small" }, "points": -10 }
        ],
        "reply": { "rule": "stop" }
    })
}

fn clicked(step: &str) -> Signal {
    Signal::Clicked { step: step.parse().unwrap() }
}

fn offers(applied: &Applied) -> usize {
    let is_offer = |effect: &&Effect| matches!(effect, Effect::OfferHandover { .. });
    applied.effects.iter().filter(is_offer).count()
}

#[test]
fn a_score_that_is_reached_hands_over_once() {
    let more = triggered(json!([{ "key": "hot", "when": { "score_at_least": 25 } }]));
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), more);
    lead.sends();
    assert_eq!(offers(&lead.hears(&clicked("intro"))), 0, "20 points are too few");
    let delivered = Signal::Delivered { step: "intro".parse().unwrap() };
    assert_eq!(offers(&lead.hears(&delivered)), 1);
    lead.hears(&Signal::GivenBack);
    assert_eq!(lead.waits_for(), "nudge", "who gave it back is not offered it for the same reason");
    assert_eq!(offers(&lead.hears(&clicked("intro"))), 0);
}

#[test]
fn a_keyword_hands_over_where_other_answers_end_the_sequence() {
    let more = triggered(json!([{ "key": "asks", "when": { "said": "price" } }]));
    let said = ["price".parse().unwrap()].into();
    let asks = Signal::Replied { to: ReplyTo::This, step: None, said };
    for (signal, expected) in [(replied(), 0), (asks, 1)] {
        let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), more.clone());
        lead.sends();
        assert_eq!(offers(&lead.hears(&signal)), expected);
    }
}

#[test]
fn a_trigger_waits_for_the_end_of_a_pause_and_never_undoes_a_stop() {
    let more = triggered(json!([{ "key": "clicks", "when": { "clicked": "intro" } }]));
    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), more.clone());
    lead.sends();
    lead.hears(&Signal::Paused { scope: PauseScope::Lead });
    assert_eq!(offers(&lead.hears(&clicked("intro"))), 0);
    let resumed = Signal::Resumed { scope: PauseScope::Lead, rule: ResumeRule::Keep };
    assert_eq!(offers(&lead.hears(&resumed)), 1);

    let mut lead = Lead::enrolled(json!([email("intro"), later("nudge")]), more);
    lead.sends();
    lead.hears(&Signal::OptedOut);
    assert_eq!(offers(&lead.hears(&clicked("intro"))), 0);
}

#[test]
fn a_variant_that_was_reached_hands_over() {
    let variants = json!([{ "key": "a", "body": "A" }]);
    let when = json!({ "sent": "intro", "variant": "a" });
    let steps = json!([{ "key": "intro", "email": { "variants": variants } }, later("nudge")]);
    let more = triggered(json!([{ "key": "wording", "when": when }]));
    let mut lead = Lead::enrolled(steps, more);
    let effect = lead.wakes().effects.pop().unwrap().id();
    assert_eq!(offers(&lead.hears(&answered(effect, Answer::Accepted))), 1);
}
