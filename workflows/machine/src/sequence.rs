//! A version of a sequence: the parsed, validated, immutable form that the machine runs. Made from
//! a [`crate::document::CampaignDocument`] and from nothing else.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calendar::Calendar;
use crate::condition::{Condition, Evidence};
use crate::context::Attributes;
use crate::delay::Delay;
use crate::key::{AttributeName, StepKey, TriggerKey, VariantKey};
use crate::keywords::Keywords;
use crate::state::{Done, History, Lane};

/// How we reach a lead.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Mail.
    Email,
    /// Text message.
    Sms,
    /// Telephone call by a person.
    Call,
}

impl Channel {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Call => "call",
        }
    }

    /// Returns the channel of a word that was stored.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Email, Self::Sms, Self::Call].into_iter().find(|channel| channel.as_str() == word)
    }
}

/// What may end a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// The time ran out.
    Time,
    /// The lead answered.
    Reply,
    /// The lead followed a link.
    Click,
    /// An attribute took the value that was waited for.
    Attribute,
}

/// What the campaign does with an answer that no step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplyRule {
    /// End the sequence and offer the lead to a person.
    HandOver,
    /// End the sequence.
    Stop,
}

/// Whose answers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplyScope {
    /// An answer to any campaign of ours ends this one too.
    #[default]
    Person,
    /// Only answers to this campaign count.
    Campaign,
    /// As `person`; and while somebody is with a person, the others of the same company wait: those
    /// whose mail addresses have the same domain, unless it is one where anybody has a mailbox.
    Company,
}

/// One version of a sequence with the rules it runs under.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The steps in order; lanes are inside their condition.
    pub steps: Vec<Step>,
    /// The zone of leads whose own is unknown.
    pub zone: Tz,
    /// When messages may leave.
    pub calendar: Calendar,
    /// When texts may: only where the calendar is open and it is neither early nor late.
    pub text_calendar: Calendar,
    /// When the campaign's goal is met.
    pub goal: Option<Condition>,
    /// What an answer does.
    pub on_reply: ReplyRule,
    /// Whose answers count.
    pub reply_scope: ReplyScope,
    /// How a person takes over, if one can.
    pub handover: Option<HandoverRule>,
    /// How many refusals that may pass are borne for one step.
    pub refusals_max: u32,
    /// Whether mail needs consent that was granted.
    pub mail_needs_consent: bool,
    /// How long after another campaign wrote to a lead the first message of this one waits.
    pub not_within: Option<Delay>,
    /// The attributes that steps and goal name: the only ones a turn reads.
    pub attributes: BTreeSet<AttributeName>,
    /// The words that answers are searched for.
    pub keywords: Keywords,
    /// What a lead is worth: the points of every rule that holds, added up.
    pub score: Vec<ScoreRule>,
}

/// Points for what a lead is or did.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRule {
    /// When they count.
    pub when: Condition,
    /// How many; below zero they are taken off.
    pub points: i32,
}

/// Something that hands a lead over by itself, once.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Author-given, never changes.
    pub key: TriggerKey,
    /// When.
    pub when: Condition,
}

/// How a person takes over.
#[derive(Debug, Clone, PartialEq)]
pub struct HandoverRule {
    /// Who is asked first.
    pub first: FirstAsked,
    /// How long a person has to answer an offer.
    pub answer_within: Delay,
    /// The team's working hours; deadlines begin inside them.
    pub hours: Calendar,
    /// Whether there is somebody to turn to when the first does not answer.
    pub has_fallback: bool,
    /// What hands a lead over by itself, the first one first.
    pub triggers: Vec<Trigger>,
}

/// Who is asked first to take a lead over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstAsked {
    /// One address; it is asked once.
    Address,
    /// The agents, one after another; the gate knows whose turn it is.
    AgentsInTurn,
}

impl HandoverRule {
    /// Returns the time by which somebody who is asked at `now` must answer: counted from the team's
    /// next working hour. Hours that never open are refused when a version is made.
    pub fn answer_by(&self, zone: Tz, now: DateTime<Utc>) -> DateTime<Utc> {
        let from = self.opening(zone, now);
        let by = self.answer_within.after(from, zone);
        match self.first {
            // "At nine" begins again at nine: or all agents would be asked at that very moment.
            FirstAsked::AgentsInTurn if by <= from => {
                self.answer_within.after(from + TimeDelta::minutes(1), zone)
            }
            FirstAsked::AgentsInTurn | FirstAsked::Address => by,
        }
    }

    /// Returns the team's first working hour at or after `from`.
    pub fn opening(&self, zone: Tz, from: DateTime<Utc>) -> DateTime<Utc> {
        self.hours.next_opening(zone, from).map_or(from, |opening| opening.at)
    }
}

/// One touch, decision or wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Author-given, never changes.
    pub key: StepKey,
    /// The delay after the step before.
    pub delay: Delay,
    /// What happens.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// A message: mail or text.
    Message {
        /// On which channel.
        channel: Channel,
        /// The wordings, with their weights; at least one.
        variants: Vec<Weighted>,
        /// Whether a person must approve each draft.
        approval: Approval,
    },
    /// A call by a person.
    Call,
    /// Wait for the first of several events.
    WaitUntil(WaitUntil),
    /// Take one of two lanes; they join again after the condition.
    Condition {
        /// What decides.
        when: Condition,
        /// The steps if it holds.
        then: Vec<Step>,
        /// The steps if it does not.
        otherwise: Vec<Step>,
    },
    /// Offer the lead to a person.
    Handover,
    /// End the sequence.
    Finish,
}

/// Whether a person must approve each draft of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Drafts leave by themselves.
    NotNeeded,
    /// A person decides about each.
    Required,
}

/// A wording and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted {
    /// The wording; `None` where a step has only one.
    pub key: Option<VariantKey>,
    /// Its share among the weights of the step.
    pub weight: u32,
}

/// What a `wait_until` step waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitUntil {
    /// The longest wait; it always ends.
    pub limit: Delay,
    /// Whether an answer ends it.
    pub reply: bool,
    /// Whether a click in the message of one of these steps ends it.
    pub clicks: Vec<StepKey>,
    /// Whether a value of an attribute ends it.
    pub attribute: Option<Condition>,
}

impl Version {
    /// Returns what a lead with these attributes and this history is worth.
    pub fn score(&self, attributes: &Attributes, history: &History) -> i32 {
        let evidence = Evidence { attributes, history, score: 0 };
        let holding = self.score.iter().filter(|rule| rule.when.holds(evidence));
        holding.fold(0, |sum: i32, rule| sum.saturating_add(rule.points))
    }

    /// Returns when messages of `channel` may leave.
    pub fn calendar_of(&self, channel: Channel) -> &Calendar {
        match channel {
            Channel::Email | Channel::Call => &self.calendar,
            Channel::Sms => &self.text_calendar,
        }
    }

    /// Returns the first step, in order, that is not done, following the lanes that were taken.
    ///
    /// Positions are never stored: a step that was removed is passed by, one that was added before
    /// the lead's place is taken next, one that is done is never repeated.
    pub fn next<'a>(&'a self, history: &History) -> Option<&'a Step> {
        next_in(&self.steps, history)
    }

    /// Returns the step with this key, wherever it is.
    pub fn step(&self, key: &StepKey) -> Option<&Step> {
        find(&self.steps, key)
    }

    /// Whether what a lead does or is worth depends on clicks.
    pub fn heeds_clicks(&self) -> bool {
        let triggers = self.handover.iter().flat_map(|handover| &handover.triggers);
        let mut heeds = self.goal.iter().any(Condition::names_clicks)
            || self.score.iter().any(|rule| rule.when.names_clicks())
            || triggers.map(|trigger| &trigger.when).any(Condition::names_clicks);
        self.each_step(&mut |step| {
            heeds |= match &step.kind {
                StepKind::WaitUntil(until) => !until.clicks.is_empty(),
                StepKind::Condition { when, .. } => when.names_clicks(),
                StepKind::Message { .. }
                | StepKind::Call
                | StepKind::Handover
                | StepKind::Finish => false,
            };
        });
        heeds
    }

    /// Calls `visit` for every step, lanes included, in order.
    pub fn each_step<'a>(&'a self, visit: &mut impl FnMut(&'a Step)) {
        each(&self.steps, visit);
    }
}

fn next_in<'a>(steps: &'a [Step], history: &History) -> Option<&'a Step> {
    for step in steps {
        match history.done.get(&step.key) {
            None => return Some(step),
            Some(Done::Lane { lane }) => {
                if let StepKind::Condition { then, otherwise, .. } = &step.kind {
                    let steps = match lane {
                        Lane::Then => then,
                        Lane::Else => otherwise,
                    };
                    if let Some(step) = next_in(steps, history) {
                        return Some(step);
                    }
                }
            }
            Some(
                Done::Sent { .. }
                | Done::Waited { .. }
                | Done::Called { .. }
                | Done::HandedOver
                | Done::Skipped,
            ) => {}
        }
    }
    None
}

fn find<'a>(steps: &'a [Step], key: &StepKey) -> Option<&'a Step> {
    steps.iter().find_map(|step| {
        if step.key == *key {
            return Some(step);
        }
        match &step.kind {
            StepKind::Condition { then, otherwise, .. } => {
                find(then, key).or_else(|| find(otherwise, key))
            }
            StepKind::Message { .. }
            | StepKind::Call
            | StepKind::WaitUntil(_)
            | StepKind::Handover
            | StepKind::Finish => None,
        }
    })
}

fn each<'a>(steps: &'a [Step], visit: &mut impl FnMut(&'a Step)) {
    for step in steps {
        visit(step);
        if let StepKind::Condition { then, otherwise, .. } = &step.kind {
            each(then, visit);
            each(otherwise, visit);
        }
    }
}
