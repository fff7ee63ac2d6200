//! Random campaigns that an author could have written: every step kind, lanes in lanes, windows,
//! holidays, goals, and what an edit makes of them.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use chrono_tz::Tz;
use machine::calendar::{LocalTime, Weekday, Window};
use machine::condition::Condition;
use machine::delay::Delay;
use machine::document::{
    CallDocument, CampaignDocument, ConditionDocument, ConsentRule, EmailDocument, EmailVariant,
    FinishDocument, Handover, HandoverDocument, ScoreDocument, SmsDocument, StepDocument,
    TriggerDocument, WaitUntilDocument, compile,
};
use machine::key::StepKey;
use machine::sequence::{ReplyRule, ReplyScope, Version, Wake};
use serde_json::json;

use crate::dice::Dice;

/// A text that must never be seen in a snapshot.
pub(crate) const CANARY: &str = "canary";

pub(crate) const ZONES: [Tz; 6] = [
    Tz::UTC,
    Tz::Europe__Lisbon,
    Tz::America__New_York,
    Tz::Asia__Kathmandu,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Apia,
];

/// The keyword that answers may contain.
pub(crate) const KEYWORD: &str = "price";

/// Returns a campaign that compiles.
pub(crate) fn campaign(dice: &mut Dice) -> CampaignDocument {
    let mut author = Author { dice, keys: Vec::new(), waits: Vec::new(), next: 0 };
    let steps = author.steps(0);
    let handover = author.dice.chance(70).then(|| Handover {
        to: "owner@example.com".to_owned(),
        fallback: author.dice.chance(50).then(|| "team@example.com".to_owned()),
        answer_within: author.dice.pick(&["4 hours", "1 day", "at 09:00"]).parse().unwrap(),
        hours: author.windows(),
        triggers: author.triggers(),
    });
    let reply_rule = author.dice.pick(&[None, Some(ReplyRule::Stop)]);
    let scope = author.dice.pick(&[ReplyScope::Person, ReplyScope::Person, ReplyScope::Campaign]);
    let mut campaign: CampaignDocument = serde_json::from_value(json!({
        "name": CANARY, "zone": "Europe/Lisbon", "steps": [],
    }))
    .unwrap();
    campaign.zone = author.dice.pick(&ZONES);
    campaign.windows = author.windows();
    campaign.holidays = author.holidays();
    campaign.goal = author.dice.chance(50).then(|| author.condition(0));
    campaign.consent =
        author.dice.pick(&[ConsentRule::NotRefused, ConsentRule::NotRefused, ConsentRule::Granted]);
    campaign.reply.rule = reply_rule;
    campaign.reply.scope = scope;
    campaign.retry.refusals = 1 + u32::try_from(author.dice.below(4)).unwrap();
    campaign.keywords = [(KEYWORD.parse().unwrap(), vec!["price".to_owned()])].into();
    campaign.score = author.score();
    campaign.steps = steps;
    campaign.handover = handover;
    if campaign.handover.is_none() {
        without_handovers(&mut campaign.steps);
    }
    if campaign.steps.is_empty() {
        campaign.steps.push(email("only"));
    }
    campaign
}

/// Returns the campaign as its author might change it while leads are under way; the same where
/// the change would not compile.
pub(crate) fn edited(campaign: &CampaignDocument, dice: &mut Dice) -> CampaignDocument {
    let mut edited = campaign.clone();
    match dice.below(6) {
        0 => {
            let at = dice.below(edited.steps.len());
            edited.steps.remove(at);
        }
        1 => {
            let at = dice.below(edited.steps.len() + 1);
            edited.steps.insert(at, email("added"));
        }
        2 => {
            let (one, two) = (dice.below(edited.steps.len()), dice.below(edited.steps.len()));
            edited.steps.swap(one, two);
        }
        3 => edited.handover = None,
        4 => edited.windows = Vec::new(),
        _ => edited.retry.refusals = 1,
    }
    if compile(&edited).is_ok() { edited } else { campaign.clone() }
}

pub(crate) fn version(campaign: &CampaignDocument) -> Version {
    compile(campaign).unwrap_or_else(|faults| panic!("{faults:?}"))
}

struct Author<'a> {
    dice: &'a mut Dice,
    /// Messages so far, to refer to.
    keys: Vec<StepKey>,
    waits: Vec<StepKey>,
    next: u32,
}

impl Author<'_> {
    fn triggers(&mut self) -> Vec<TriggerDocument> {
        let count = self.dice.pick(&[0, 0, 1, 2]);
        let trigger = |number| {
            let least = Condition { score_at_least: Some(5), ..Condition::default() };
            let said = Condition { said: Some(KEYWORD.parse().unwrap()), ..Condition::default() };
            let when = match self.dice.below(4) {
                0 => least,
                1 => said,
                _ => self.condition(0),
            };
            TriggerDocument { key: format!("t{number}").parse().unwrap(), when }
        };
        (0..count).map(trigger).collect()
    }

    fn score(&mut self) -> Vec<ScoreDocument> {
        let count = self.dice.below(3);
        let points = [-10, 5, 10];
        (0..count)
            .map(|_| ScoreDocument { when: self.condition(0), points: self.dice.pick(&points) })
            .collect()
    }

    fn steps(&mut self, depth: usize) -> Vec<StepDocument> {
        let count = 1 + self.dice.below(if depth == 0 { 6 } else { 2 });
        let mut steps = Vec::new();
        while steps.len() < count
            && steps.last().is_none_or(|last: &StepDocument| last.finish.is_none())
        {
            steps.push(self.step(depth));
        }
        steps
    }

    fn step(&mut self, depth: usize) -> StepDocument {
        self.next += 1;
        let mut step = blank(&format!("s{}", self.next));
        step.wait = self.delay();
        match self.dice.below(if depth < 2 { 12 } else { 8 }) {
            0..=3 => {
                step.email = Some(self.email());
                self.keys.push(step.key.clone());
            }
            4 => {
                let approval = self.dice.chance(30);
                let body = Some(CANARY.to_owned());
                step.sms = Some(SmsDocument { body, variants: Vec::new(), approval });
                self.keys.push(step.key.clone());
            }
            5 => step.call = Some(CallDocument { note: Some(CANARY.to_owned()) }),
            6 | 7 => {
                step.wait = Delay::NONE;
                step.wait_until = Some(WaitUntilDocument {
                    limit: self.dice.pick(&["1 hour", "2 days", "at 09:00"]).parse().unwrap(),
                    reply: self.dice.chance(50),
                    clicks: self.clicks(),
                    attribute: self.dice.chance(40).then(|| self.attribute()),
                });
                self.waits.push(step.key.clone());
            }
            8 | 9 => {
                let when = self.condition(0);
                let (then, otherwise) = (self.steps(depth + 1), self.steps(depth + 1));
                step.condition = Some(ConditionDocument { when, then, otherwise });
            }
            10 => step.handover = Some(HandoverDocument { note: Some(CANARY.to_owned()) }),
            _ => step.finish = Some(FinishDocument {}),
        }
        step
    }

    fn email(&mut self) -> EmailDocument {
        let approval = self.dice.chance(20);
        if self.dice.chance(30) {
            let variant = |key: &str, weight| EmailVariant {
                key: key.parse().unwrap(),
                weight,
                subject: None,
                body: Some(CANARY.to_owned()),
                html: None,
            };
            let variants = vec![variant("a", 1), variant("b", 2), variant("c", 0)];
            return EmailDocument { variants, approval, ..EmailDocument::default() };
        }
        EmailDocument { body: Some(CANARY.to_owned()), approval, ..EmailDocument::default() }
    }

    fn delay(&mut self) -> Delay {
        let delays = ["0 seconds", "0 seconds", "1 hour", "3 days", "1 day at 09:00", "at 10:30"];
        self.dice.pick(&delays).parse().unwrap()
    }

    fn clicks(&mut self) -> Vec<StepKey> {
        if self.keys.is_empty() || self.dice.chance(60) {
            return Vec::new();
        }
        vec![self.dice.pick(&self.keys)]
    }

    fn windows(&mut self) -> Vec<Window> {
        let window = |days: &[Weekday], from: &str, to: &str| Window {
            days: days.to_vec(),
            from: from.parse::<LocalTime>().unwrap(),
            to: to.parse::<LocalTime>().unwrap(),
        };
        let weekdays = &Weekday::ALL[..5];
        match self.dice.below(4) {
            0 | 1 => Vec::new(),
            2 => vec![window(weekdays, "09:00", "12:00"), window(weekdays, "13:00", "17:00")],
            _ => vec![window(&[Weekday::Fri, Weekday::Sun], "20:00", "02:00")],
        }
    }

    fn holidays(&mut self) -> BTreeSet<NaiveDate> {
        if self.dice.chance(60) {
            return BTreeSet::new();
        }
        let first = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
        first.iter_days().take(30).filter(|_| self.dice.chance(20)).collect()
    }

    fn condition(&mut self, depth: usize) -> Condition {
        let keys = self.keys.clone();
        let step = if keys.is_empty() { None } else { Some(self.dice.pick(&keys)) };
        let parts =
            |author: &mut Self| vec![author.condition(depth + 1), author.condition(depth + 1)];
        match (self.dice.below(if depth < 2 { 10 } else { 7 }), step) {
            (3, Some(sent)) => Condition { sent: Some(sent), ..Condition::default() },
            (4, Some(key)) => Condition { clicked: Some(key), ..Condition::default() },
            (5, Some(key)) => Condition { delivered: Some(key), ..Condition::default() },
            (6, Some(key)) => Condition { replied: Some(key), ..Condition::default() },
            (7, _) => Condition { all: Some(parts(self)), ..Condition::default() },
            (8, _) => Condition { any: Some(parts(self)), ..Condition::default() },
            (9, _) if !self.waits.is_empty() => {
                let waited = Some(self.dice.pick(&self.waits));
                let by = self.dice.pick(&[None, Some(Wake::Reply), Some(Wake::Click)]);
                Condition { waited, by, ..Condition::default() }
            }
            (9, _) => Condition { not: Some(Box::new(self.attribute())), ..Condition::default() },
            _ => self.attribute(),
        }
    }

    fn attribute(&mut self) -> Condition {
        let attribute = Some(self.dice.pick(&["a", "b", "c"]).parse().unwrap());
        match self.dice.below(3) {
            0 => Condition { attribute, equals: Some(json!(CANARY)), ..Condition::default() },
            1 => Condition { attribute, at_least: Some(3.0), ..Condition::default() },
            _ => Condition { attribute, exists: Some(true), ..Condition::default() },
        }
    }
}

fn blank(key: &str) -> StepDocument {
    serde_json::from_value(json!({ "key": key })).unwrap()
}

fn email(key: &str) -> StepDocument {
    let email = EmailDocument { body: Some(CANARY.to_owned()), ..EmailDocument::default() };
    StepDocument { email: Some(email), ..blank(key) }
}

fn without_handovers(steps: &mut Vec<StepDocument>) {
    steps.retain(|step| step.handover.is_none());
    for step in steps {
        if let Some(condition) = &mut step.condition {
            without_handovers(&mut condition.then);
            without_handovers(&mut condition.otherwise);
            if condition.then.is_empty() && condition.otherwise.is_empty() {
                condition.then.push(email(&format!("{}-then", step.key)));
            }
        }
    }
}
