//! Plans: their sentences, their ladder, and that lifting the constraint a plan names brings the
//! time it predicts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use chrono::{DateTime, NaiveDate, Utc};
use machine::context::{Consents, Context, Facts};
use machine::document::compile;
use machine::enrollment::Enrollment;
use machine::explain::{self, InDoubt, Plan, Shown, WakesOn};
use machine::sequence::Version;
use machine::signal::{Answer, Missing, PauseScope, Refusal, ResumeRule, Signal};
use machine::state::Why;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const MONDAY: &str = "2026-03-02T08:00:00Z";

struct Lead {
    version: Version,
    now: DateTime<Utc>,
    facts: Facts,
    enrollment: Enrollment,
}

impl Lead {
    fn enrolled(document: Value, now: DateTime<Utc>) -> Self {
        let version = compile(&serde_json::from_value(document).unwrap()).unwrap();
        let enrollment = Enrollment::begin(&version.steps[0], now);
        let mut lead = Self { version, now, facts: Facts::default(), enrollment };
        lead.hears(&Signal::Enrolled);
        lead
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            workspace: Uuid::from_u128(1).into(),
            enrollment: Uuid::from_u128(2).into(),
            lead: Uuid::from_u128(3).into(),
            version: &self.version,
            facts: &self.facts,
        }
    }

    fn hears(&mut self, signal: &Signal) {
        let mut enrollment = self.enrollment.clone();
        enrollment.apply(signal, self.context());
        self.enrollment = enrollment;
    }

    fn wakes(&mut self) {
        self.now = self.now.max(self.enrollment.wake_at().unwrap());
        self.hears(&Signal::Woke);
    }

    fn is_answered(&mut self, answer: Answer) {
        let effect = self.enrollment.data.open[0].id;
        self.hears(&Signal::SendAnswered { effect, answer });
    }

    fn plan(&self) -> Plan {
        explain::explain(&self.enrollment, &self.context())
    }

    #[track_caller]
    fn says(&self, state: Shown, headline: &str) {
        let plan = self.plan();
        assert_eq!((plan.state, plan.headline.as_str()), (state, headline));
    }
}

fn campaign(steps: Value) -> Value {
    json!({
        "name": "Test", "zone": "Europe/Lisbon", "steps": steps,
        "windows": [{ "days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:10", "to": "17:00" }],
        "handover": { "to": "a@example.com", "fallback": "b@example.com" },
    })
}

fn email(key: &str, wait: &str) -> Value {
    json!({ "key": key, "wait": wait, "email": { "body": "Hello" } })
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

#[test]
fn every_state_has_a_plain_sentence() {
    let steps = json!([email("intro", "0 seconds"), email("nudge", "21 hours")]);
    let mut lead = Lead::enrolled(campaign(steps), at(MONDAY));
    lead.says(
        Shown::Queued,
        "Waits until today 09:10 in Lisbon to send `intro`: outside the sending window",
    );
    lead.wakes();
    lead.says(Shown::Sending, "Is sending `intro` and waits for the answer");
    lead.is_answered(Answer::Accepted);
    lead.says(
        Shown::Waiting,
        "Waits until Tue 09:10 in Lisbon to send `nudge`: outside the sending window",
    );
    lead.hears(&Signal::AutoReplied { back_on: NaiveDate::from_ymd_opt(2026, 3, 14) });
    lead.says(
        Shown::Waiting,
        "Waits until Mon 16 Mar 09:10 in Lisbon to send `nudge`: outside the sending window",
    );
    lead.hears(&Signal::SendNow { step: "nudge".parse().unwrap() });
    lead.says(Shown::Waiting, "Is about to send `nudge`");
    lead.wakes();
    lead.is_answered(Answer::Rejected { class: Refusal::Retry, retry_after_s: Some(600) });
    lead.says(
        Shown::Retrying,
        "Waits until today 09:20 in Lisbon to send `nudge`: attempt 1 of 6 failed",
    );
    lead.wakes();
    let fields = vec!["first_name".to_owned()];
    lead.is_answered(Answer::Held { missing: Missing::Variables { fields } });
    lead.says(
        Shown::Held,
        "Held before `nudge` since today 09:20 in Lisbon: `first_name` is missing",
    );
    lead.hears(&Signal::Paused { scope: PauseScope::Campaign });
    lead.says(
        Shown::Paused,
        "Paused since today 09:20 in Lisbon before `nudge`: nothing leaves until the campaign is \
         resumed",
    );
    lead.hears(&Signal::HandOver);
    lead.says(
        Shown::WithPerson,
        "Offered to the campaign's owner, who has until today 13:20 in Lisbon to take it",
    );
    lead.hears(&Signal::HandoverAnswered);
    lead.says(
        Shown::WithPerson,
        "With the campaign's owner, who has answered the lead; automation is off",
    );
    lead.hears(&Signal::OptedOut);
    lead.says(Shown::OptedOut, "Ended: nobody may write to the lead any more");
}

#[test]
fn a_wait_for_events_names_them() {
    let steps = json!([
        email("intro", "0 seconds"),
        { "key": "look", "wait_until": {
            "for": "5 days", "reply": true, "clicks": ["intro"],
            "attribute": { "attribute": "rooms", "at_least": 50 },
        } },
    ]);
    let mut lead = Lead::enrolled(campaign(steps), at(MONDAY));
    lead.wakes();
    lead.is_answered(Answer::Accepted);
    lead.says(
        Shown::Waiting,
        "Waits until Sat 09:10 in Lisbon for a reply, a click in `intro` or `rooms` is at least 50",
    );
}

#[test]
fn the_columns_say_what_the_plan_says() {
    let mut lead = Lead::enrolled(campaign(json!([email("intro", "0 seconds")])), at(MONDAY));
    let summary = explain::summary(&lead.enrollment, &lead.version);
    assert_eq!(
        serde_json::to_value(summary).unwrap(),
        json!({
            "state": "queued", "why": "send_window", "until": "2026-03-02T09:10:00Z",
            "next_step": "intro", "next_at": "2026-03-02T09:10:00Z",
        })
    );
    lead.hears(&Signal::Paused { scope: PauseScope::Lead });
    let summary = explain::summary(&lead.enrollment, &lead.version);
    assert_eq!(
        serde_json::to_value(summary).unwrap(),
        json!({
            "state": "paused", "why": "lead_paused", "until": null,
            "next_step": "intro", "next_at": null,
        })
    );
}

#[test]
fn the_forecast_follows_the_likeliest_path() {
    let steps = json!([
        email("intro", "0 seconds"),
        { "key": "big", "condition": {
            "when": { "attribute": "rooms", "at_least": 50 },
            "then": [{ "key": "ring", "wait": "1 day", "call": {} }],
            "else": [email("small", "2 days")],
        } },
        email("close", "3 days"),
    ]);
    let mut document = campaign(steps);
    document["windows"] = json!([]);
    let mut lead = Lead::enrolled(document, at(MONDAY));
    let name = "rooms".parse().unwrap();
    lead.facts.attributes.insert(name, json!(80));
    lead.facts.consent =
        Consents { call: machine::context::Consent::Granted, ..Consents::default() };
    assert_eq!(
        serde_json::to_value(&lead.plan().then).unwrap(),
        json!([
            { "step": "big", "action": "decide", "condition": "if `rooms` is at least 50",
              "otherwise": "send `small`", "at": "2026-03-02T08:00:00Z" },
            { "step": "ring", "action": "call", "condition": "if no reply",
              "otherwise": null, "at": "2026-03-03T08:00:00Z" },
            { "step": "close", "action": "email", "condition": "if no reply",
              "otherwise": null, "at": "2026-03-06T08:00:00Z" },
            { "step": null, "action": "finish", "condition": "if no reply",
              "otherwise": null, "at": "2026-03-06T08:00:00Z" },
        ])
    );
    lead.hears(&Signal::Paused { scope: PauseScope::Lead });
    let times: Vec<_> = lead.plan().then.into_iter().map(|forecast| forecast.at).collect();
    assert_eq!(times, [None; 4], "a paused lead has an order, but no times");
}

/// A constraint an author can lift.
#[derive(Debug, Clone, Copy)]
struct Limits {
    delay_hours: u32,
    windows: bool,
    holidays: u32,
    away_days: u32,
    zone: usize,
    start_hours: i64,
    text: bool,
}

impl Limits {
    fn without(self, why: Why) -> Self {
        match why {
            Why::Delay => Self { delay_hours: 0, ..self },
            Why::SendWindow => Self { windows: false, ..self },
            Why::Holiday => Self { holidays: 0, ..self },
            Why::LeadAsked => Self { away_days: 0, ..self },
            // The same step as a mail, which no law keeps from the night.
            Why::QuietHours => Self { text: false, ..self },
            other => panic!("{other:?} cannot bind here"),
        }
    }

    /// A lead that just had `intro` and waits for `nudge`, in a campaign with these limits.
    fn lead(self) -> Lead {
        let now = at(MONDAY) + chrono::TimeDelta::hours(self.start_hours);
        let zone = ["UTC", "Europe/Lisbon", "America/New_York", "Asia/Kathmandu"][self.zone];
        let windows = json!([{ "days": ["mon", "tue", "thu"], "from": "07:10", "to": "22:00" }]);
        let first = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
        let holidays = first.iter_days().take(20).enumerate();
        let holidays = holidays.filter(|(day, _)| self.holidays >> day & 1 == 1);
        let delay = format!("{} hours", self.delay_hours);
        let nudge = match self.text {
            true => json!({ "key": "nudge", "wait": delay, "sms": { "body": "Hello" } }),
            false => email("nudge", &delay),
        };
        let document = json!({
            "name": "Test", "zone": zone,
            "windows": if self.windows { windows } else { json!([]) },
            "holidays": holidays.map(|(_, date)| date).collect::<Vec<_>>(),
            "steps": [
                { "key": "quiet", "wait_until": { "for": "1 second", "clicks": ["nudge"] } },
                nudge,
            ],
        });
        let mut lead = Lead::enrolled(document, now);
        if self.away_days > 0 {
            let back_on = first + chrono::Days::new(self.away_days.into());
            lead.hears(&Signal::AutoReplied { back_on: Some(back_on) });
        }
        // Past the first wait at the same instant, whatever the limits are.
        lead.hears(&Signal::Skipped { step: "quiet".parse().unwrap() });
        lead
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A plan that says "without that, 14:20 today" is right: the same lead in the same campaign
    /// without the constraint waits until exactly then.
    #[test]
    fn lifting_the_constraint_a_plan_names_brings_the_time_it_predicts(
        delay_hours in 0_u32..100, windows: bool, holidays in 0_u32..(1 << 20),
        away_days in 0_u32..20, zone in 0_usize..4, start_hours in 0_i64..100, text: bool,
    ) {
        let limits = Limits { delay_hours, windows, holidays, away_days, zone, start_hours, text };
        let lead = limits.lead();
        let plan = lead.plan();
        prop_assert_eq!(plan.next.as_ref().unwrap().at, lead.enrollment.wake_at());
        for constraint in plan.constraints.iter().filter(|constraint| constraint.binding) {
            let relaxed = limits.without(constraint.kind).lead();
            prop_assert_eq!(constraint.without, relaxed.enrollment.wake_at(), "{:?}", constraint);
        }
        let binding = plan.constraints.iter().rev().find(|constraint| constraint.binding).unwrap();
        prop_assert!(binding.without <= plan.next.unwrap().at);
    }
}

#[test]
fn a_pause_is_explained_and_lifted_by_its_own_rule() {
    let mut lead = Lead::enrolled(campaign(json!([email("intro", "3 days")])), at(MONDAY));
    let before = lead.enrollment.wake_at();
    lead.hears(&Signal::Paused { scope: PauseScope::Lead });
    lead.hears(&Signal::Resumed { scope: PauseScope::Lead, rule: ResumeRule::Keep });
    assert_eq!(lead.enrollment.wake_at(), before);
    assert_eq!(lead.plan().next.unwrap().at, before);
}

#[test]
fn a_text_waits_for_the_morning_and_the_plan_names_the_hours() {
    let document = json!({
        "name": "Test", "zone": "Europe/Lisbon",
        "steps": [{ "key": "text", "wait": "12 hours", "sms": { "body": "Hello" } }],
    });
    let lead = Lead::enrolled(document, at("2026-03-02T10:00:00Z"));
    let plan = lead.plan();
    assert_eq!(plan.next.as_ref().unwrap().at, Some(at("2026-03-03T08:00:00Z")), "{plan:#?}");
    let quiet = plan.constraints.iter().find(|it| it.kind == Why::QuietHours).unwrap();
    assert!(quiet.binding && quiet.label == "Hours for texts 08:00 to 21:00", "{quiet:?}");
    assert_eq!(quiet.without, Some(at("2026-03-02T22:00:00Z")));
    assert!(plan.headline.ends_with("too early or too late for a text"), "{}", plan.headline);
}

#[test]
fn of_a_message_in_doubt_nobody_says_that_it_is_being_sent() {
    let document = json!({
        "name": "Test", "zone": "UTC",
        "steps": [{ "key": "intro", "email": { "body": "Hello" } }],
    });
    let mut lead = Lead::enrolled(document, MONDAY.parse().unwrap());
    lead.wakes();
    let step = "intro".parse().unwrap();
    let mut plan = lead.plan();
    plan.note_doubt(InDoubt::Step(&step));
    assert_eq!(plan.headline, "Nobody knows whether `intro` went out: a person must look, and say");
    assert!(plan.wakes_on.contains(&WakesOn::Review));
    assert!(!plan.wakes_on.contains(&WakesOn::ProviderAnswer));
    lead.hears(&Signal::Paused { scope: PauseScope::Lead });
    let mut plan = lead.plan();
    plan.note_doubt(InDoubt::Offer);
    assert!(plan.headline.starts_with("Paused since today 08:00"), "{}", plan.headline);
    assert!(plan.headline.contains("; nobody knows whether the mail to the team went out"));
}
