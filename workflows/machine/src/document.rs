//! The campaign file: what an author writes, as plain data. [`compile`]
//! turns it into a [`crate::sequence::Version`], or names every fault with its field and its fix.

mod compile;
mod readable;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use compile::{Fault, compile, unreachable_clicks};

use crate::calendar::Window;
use crate::condition::Condition;
use crate::delay::Delay;
use crate::key::{KeywordKey, StepKey, TriggerKey, VariantKey};
use crate::sequence::{ReplyRule, ReplyScope};

/// A campaign: a sequence of steps for an audience, with its senders, windows and rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignDocument {
    /// Names the campaign; unique in its workspace.
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The names of the senders that may be used. Each lead keeps the one it got first.
    #[serde(default)]
    pub senders: Vec<String>,
    /// The leads that enter at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// The time zone of leads whose own is unknown, as in `Europe/Lisbon`.
    #[serde(deserialize_with = "readable::zone")]
    #[schemars(with = "String")]
    pub zone: Tz,
    /// When messages may leave, on the lead's own wall clock. None: at any time. Texts leave between 08:00
    /// and 21:00 only, whatever stands here.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Days on which nothing leaves.
    #[serde(default, deserialize_with = "readable::days")]
    pub holidays: BTreeSet<NaiveDate>,
    /// How much may leave.
    #[serde(default)]
    pub caps: Caps,
    /// Whether mail needs consent that was granted. Text messages and calls always do.
    #[serde(default)]
    pub consent: ConsentRule,
    /// What keeps leads out, or lets them wait, that other campaigns of the workspace have to do with.
    #[serde(default, skip_serializing_if = "Recontact::is_default")]
    pub recontact: Recontact,
    /// The goal: leads for which it holds leave the campaign as `met`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Condition>,
    /// What an answer does.
    #[serde(default)]
    pub reply: Reply,
    /// Words and phrases that answers are searched for, under keys that conditions name in `said`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keywords: BTreeMap<KeywordKey, Vec<String>>,
    /// What a lead is worth: the points of every rule that holds, added up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score: Vec<ScoreDocument>,
    /// How a person takes over. Needed where an answer hands over, or a step does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// How often a step that is refused for a passing reason is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// The steps in order.
    pub steps: Vec<StepDocument>,
}

/// The leads that enter at the start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// Leads with all of these tags. None: every lead.
    #[serde(default)]
    pub tags: Vec<String>,
    /// And for which this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Condition>,
}

/// How much may leave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Messages of the campaign a day, in the campaign's zone. None: as many as its senders allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
}

/// Whether mail needs consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentRule {
    /// Mail leaves unless consent was refused.
    #[default]
    NotRefused,
    /// Mail leaves only where consent was granted.
    Granted,
}

/// What keeps leads out, or lets them wait, that other campaigns of the workspace have to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recontact {
    /// Leads that another campaign wrote to within this time do not enter. Those who are in several
    /// campaigns get the first message of this one when as much time has passed. None: no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_within: Option<Delay>,
    /// What becomes of leads that a person has from another campaign.
    #[serde(default)]
    pub with_person: WithPerson,
}

impl Recontact {
    /// Whether nothing is said about it: such a document is stored as if it did not know the field.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of leads that a person has from another campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithPerson {
    /// They do not enter while the person has them.
    #[default]
    LeaveOut,
    /// They enter like everybody else.
    Enter,
}

/// What an answer does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// What happens to the lead. Default: handed over where the campaign has a handover, else
    /// stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<ReplyRule>,
    /// Whose answers count.
    #[serde(default)]
    pub scope: ReplyScope,
}

/// Points for what a lead is or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreDocument {
    /// When they count.
    pub when: Condition,
    /// How many, -1,000 to 1,000; below zero they are taken off.
    pub points: i32,
}

/// How a person takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The mail address that is told first. Either this or `agents`; with neither, the workspace's own
    /// address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who of the workspace's agents is told first, in place of one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<AgentChoice>,
    /// The mail address that is told when the first does not answer in time; with agents, when none
    /// of them did or can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// How long a person has to answer.
    #[serde(default = "four_hours")]
    pub answer_within: Delay,
    /// The team's working hours in the campaign's zone; deadlines begin inside them. None: always.
    #[serde(default)]
    pub hours: Vec<Window>,
    /// What hands a lead over by itself, beside its answers and the steps; each does it once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerDocument>,
}

/// Something that hands a lead over by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerDocument {
    /// Names it for ever.
    pub key: TriggerKey,
    /// When.
    pub when: Condition,
}

/// How one of several agents is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentChoice {
    /// The one whose turn it is: whoever was offered a lead longest ago and can take one now.
    InTurn,
}

/// How often a refused step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Refusals of one step that are borne before the lead fails, 1 to 20.
    pub refusals: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { refusals: 6 }
    }
}

/// One step. Exactly one of `email`, `sms`, `call`, `wait_until`, `condition`, `handover` and
/// `finish` says what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDocument {
    /// Names the step for ever: reports, conditions and message ids use it.
    pub key: StepKey,
    /// The delay after the step before.
    #[serde(default, skip_serializing_if = "Delay::is_none")]
    pub wait: Delay,
    /// Sends a mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailDocument>,
    /// Sends a text message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<SmsDocument>,
    /// Asks a person to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallDocument>,
    /// Waits for the first of several events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_until: Option<WaitUntilDocument>,
    /// Takes one of two lanes, which join again after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionDocument>,
    /// Offers the lead to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverDocument>,
    /// Ends the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishDocument>,
}

/// A mail. Either one wording, or several under `variants`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailDocument {
    /// The subject, a template. A follow-up without one answers the mail before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The text, a template; paragraphs are separated by empty lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The text as HTML, a template; instead of `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Several wordings, one of which each lead gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<EmailVariant>,
    /// Whether a person must approve each draft.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

/// One wording of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailVariant {
    /// Names the wording for ever.
    pub key: VariantKey,
    /// Its share among the weights of the step, 0 to 1,000.
    #[serde(default = "one")]
    pub weight: u32,
    /// The subject, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The text, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The text as HTML, a template; instead of `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// A text message. Either one wording, or several under `variants`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmsDocument {
    /// The text, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Several wordings, one of which each lead gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<SmsVariant>,
    /// Whether a person must approve each draft.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

/// One wording of a text message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmsVariant {
    /// Names the wording for ever.
    pub key: VariantKey,
    /// Its share among the weights of the step, 0 to 1,000.
    #[serde(default = "one")]
    pub weight: u32,
    /// The text, a template.
    pub body: String,
}

/// A call by a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallDocument {
    /// What the caller should know or ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A wait for the first of several events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitUntilDocument {
    /// The longest wait.
    #[serde(rename = "for")]
    pub limit: Delay,
    /// An answer ends the wait, and is dealt with by the steps that follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reply: bool,
    /// A click in the message of one of these steps ends it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clicks: Vec<StepKey>,
    /// An attribute that passes this ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<Condition>,
}

/// A decision between two lanes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionDocument {
    /// What decides.
    pub when: Condition,
    /// The steps if it holds.
    #[serde(default)]
    pub then: Vec<StepDocument>,
    /// The steps if it does not.
    #[serde(default, rename = "else")]
    pub otherwise: Vec<StepDocument>,
}

/// An offer to a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoverDocument {
    /// What the person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The end of the sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishDocument {}

fn one() -> u32 {
    1
}

fn four_hours() -> Delay {
    "4 hours".parse().expect("a delay")
}
