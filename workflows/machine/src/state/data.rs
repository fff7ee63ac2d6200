//! What an enrollment carries through every state. Part of the storage format.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::Responder;
use crate::effect::EffectId;
use crate::ids::MailId;
use crate::key::{KeywordKey, StepKey, TriggerKey, VariantKey};
use crate::outcome::Outcome;
use crate::sequence::Wake;
use crate::signal::{CallResult, PauseScope};

/// What an enrollment carries through every state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// When the lead entered; `None` until the first signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<DateTime<Utc>>,
    /// What happened so far.
    #[serde(flatten)]
    pub history: History,
    /// The requests that are not answered yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Open>,
    /// The steps that were asked for and are not done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<StepKey, Asked>,
    /// How many handovers there were, and how many mails about them.
    #[serde(skip_serializing_if = "Handovers::is_none")]
    pub handovers: Handovers,
    /// The mails in which people of ours wrote to the lead, each heard of once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<MailId, Passing>,
    /// What the lead wrote that the person who has it has not been told yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
    /// The first day the lead is back from an absence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away_until: Option<NaiveDate>,
    /// The days on which a message bounced softly.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub soft_bounces: BTreeSet<NaiveDate>,
    /// The pauses in force.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pauses: BTreeSet<PauseScope>,
    /// The strongest outcome that facts have claimed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<Outcome>,
    /// What the lead was counted for, beside what the history tells of its messages.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub counted: BTreeSet<Counted>,
}

/// A lane of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The condition held.
    Then,
    /// It did not.
    Else,
}

/// How a step was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// Its message was accepted.
    Sent {
        /// In which wording.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<VariantKey>,
    },
    /// Its wait ended.
    Waited {
        /// By what.
        by: Wake,
    },
    /// A lane was taken.
    Lane {
        /// Which.
        lane: Lane,
    },
    /// Its call was made.
    Called {
        /// How it went.
        result: CallResult,
    },
    /// The lead was offered to a person.
    HandedOver,
    /// A person skipped it.
    Skipped,
}

/// What happened so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The steps that are done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub done: BTreeMap<StepKey, Done>,
    /// The steps whose message was delivered.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub delivered: BTreeSet<StepKey>,
    /// The steps in whose message a link was followed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub clicked: BTreeSet<StepKey>,
    /// The steps whose message was answered.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub replied: BTreeSet<StepKey>,
    /// The keywords that stood in its answers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub said: BTreeSet<KeywordKey>,
}

impl History {
    /// Returns the wording in which the message of a step left, where it has several.
    pub fn wording_of(&self, step: &StepKey) -> Option<&VariantKey> {
        match self.done.get(step)? {
            Done::Sent { variant } => variant.as_ref(),
            Done::Waited { .. }
            | Done::Lane { .. }
            | Done::Called { .. }
            | Done::HandedOver
            | Done::Skipped => None,
        }
    }
}

/// An effect that is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The request.
    pub id: EffectId,
    /// The step it belongs to; `None` for a handover's offer, and for a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepKey>,
    /// The letter it passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Letter>,
    /// The wording that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
}

impl Open {
    /// Whether it offers a handover to a person.
    pub fn is_offer(&self) -> bool {
        self.step.is_none() && self.letter.is_none()
    }

    /// Whether it is a mail to a person of ours.
    pub fn is_to_the_team(&self) -> bool {
        self.step.is_none() && self.answer().is_none()
    }

    /// Returns the mail of a person of ours that it passes on to the lead.
    pub fn answer(&self) -> Option<MailId> {
        match self.letter {
            Some(Letter::Answer { mail }) => Some(mail),
            Some(Letter::Forward { .. }) | None => None,
        }
    }
}

/// A letter between the lead and the person who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
pub enum Letter {
    /// To the lead: what the person wrote.
    Answer {
        /// In this mail.
        mail: MailId,
    },
    /// To the person: what the lead wrote since.
    Forward {
        /// Who has the lead.
        to: Responder,
    },
}

/// What a letter has been through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Passing {
    /// How often it was asked for; 0: nobody had the lead, or somebody else.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// How often it was refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// When it is asked for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<DateTime<Utc>>,
}

/// The newest mail to the person who has the lead about what it wrote since, until it has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// Who has the lead.
    pub to: Responder,
    /// What it has been through.
    #[serde(flatten)]
    pub passing: Passing,
}

/// What a lead is counted for once, however often it is reported; once a message, where it is about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// A message arrived.
    Delivered,
    /// A link in a message was followed.
    Clicked,
    /// It answered a message of this campaign.
    Replied,
    /// Its address is bad.
    Bounced,
    /// A message did not get through, this time.
    SoftBounced,
    /// It wants no more.
    OptedOut,
    /// It called a message spam.
    Complained,
}

impl Counted {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Clicked => "clicked",
            Self::Replied => "replied",
            Self::Bounced => "bounced",
            Self::SoftBounced => "soft_bounced",
            Self::OptedOut => "opted_out",
            Self::Complained => "complained",
        }
    }
}

/// What a step has been through before it is done. Kept by step: when a version moves a lead to
/// another step and back, the counts must go on, or a request would get the id of an older one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// How often it was asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// How often it was refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// The wording that was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
}

/// The handovers of an enrollment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Handovers {
    /// How many there were.
    pub visits: u32,
    /// How many mails were meant for the team, reminders included. Each is a send of its own.
    pub mails: u32,
    /// How often the newest mail was asked for; 0 once it left.
    pub attempts: u32,
    /// How many mails told the person who has the lead that it wrote again.
    #[serde(skip_serializing_if = "is_zero")]
    pub forwards: u32,
    /// The triggers that have handed the lead over: none does it twice.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub triggered: BTreeSet<TriggerKey>,
}

impl Handovers {
    fn is_none(&self) -> bool {
        self.visits == 0 && self.triggered.is_empty()
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
