//! What played recipients do: which share of them answers which message how, and when. Who does
//! what hangs on the lead alone, so the same leads play the same parts every time.

use std::collections::BTreeMap;

use machine::delay::Delay;
use machine::ids::LeadId;
use machine::key::StepKey;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the recipients of a campaign do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The parts. On one message the first that fits is played.
    pub rules: Vec<Rule>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names the part, for people.
    pub name: String,
    /// Which share of those who get the message plays it, 0 to 1.
    pub share: f64,
    /// The step whose message is answered.
    pub on: StepKey,
    /// How long after the message.
    #[serde(default, skip_serializing_if = "Delay::is_none")]
    pub after: Delay,
    /// What happens.
    #[serde(rename = "do")]
    pub act: Act,
    /// What the answer says; where it is left out, something that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// With `auto_reply`: when the recipient is back, counted from the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_in: Option<Delay>,
}

/// What a played recipient, or its mail server, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A person answers.
    Reply,
    /// An out-of-office answers.
    AutoReply,
    /// The address does not exist.
    BounceHard,
    /// The mailbox is full.
    BounceSoft,
    /// The recipient uses the way out.
    OptOut,
    /// The recipient reports the message as unwanted.
    Complain,
    /// The recipient follows a link.
    Click,
}

/// Why a text is not a script.
#[derive(Debug, thiserror::Error)]
pub enum InvalidScript {
    /// It does not read as one.
    #[error("the script does not read: {0}")]
    Form(String),
    /// A share is not between 0 and 1.
    #[error("rule `{0}` has a share that is not between 0 and 1")]
    Share(String),
    /// More than everybody would have to answer a message.
    #[error("the rules on `{0}` have shares of more than 1 together")]
    Shares(StepKey),
    /// `back_in` means something on `auto_reply` only.
    #[error("rule `{0}` has `back_in`, which only `do: auto_reply` uses")]
    BackIn(String),
}

impl Script {
    /// Parses a script in YAML.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidScript> {
        let script: Self = serde_saphyr::from_str(text)
            .map_err(|error| InvalidScript::Form(error.without_snippet().to_string()))?;
        let mut shares: BTreeMap<&StepKey, f64> = BTreeMap::new();
        for rule in &script.rules {
            if !(0.0..=1.0).contains(&rule.share) {
                return Err(InvalidScript::Share(rule.name.clone()));
            }
            if rule.back_in.is_some() && rule.act != Act::AutoReply {
                return Err(InvalidScript::BackIn(rule.name.clone()));
            }
            *shares.entry(&rule.on).or_default() += rule.share;
        }
        // A little more than 1 is how a computer adds tenths.
        if let Some((step, _)) = shares.into_iter().find(|(_, share)| *share > 1.000_001) {
            return Err(InvalidScript::Shares(step.clone()));
        }
        Ok(script)
    }

    /// Returns the part that `lead` plays when it gets the message of `step`.
    ///
    /// The rules on a step divide the leads among themselves in their order, so each gets its whole
    /// share.
    pub fn part(&self, lead: LeadId, step: &StepKey) -> Option<&Rule> {
        let mut point = place(lead, step);
        self.rules.iter().filter(|rule| rule.on == *step).find(|rule| {
            point -= rule.share;
            point < 0.0
        })
    }
}

impl Rule {
    /// Returns what the answer says.
    pub fn text(&self) -> &str {
        match (&self.text, self.act) {
            (Some(text), _) => text,
            (None, Act::Reply) => "Thank you, that sounds interesting. Can you tell me more?",
            (None, Act::AutoReply) => "I am out of the office.",
            (None, Act::BounceHard) => "550 5.1.1 no such user",
            (None, Act::BounceSoft) => "452 4.2.2 mailbox full",
            (None, Act::OptOut | Act::Complain | Act::Click) => "",
        }
    }
}

/// Returns a lead's place among all leads for a step, 0 to 1: a hash, so that it never changes.
fn place(lead: LeadId, step: &StepKey) -> f64 {
    let hash = Uuid::new_v5(&lead.uuid(), format!("plays/{step}").as_bytes()).as_u128();
    #[expect(clippy::cast_precision_loss, reason = "53 bits of a hash are plenty")]
    let place = (hash >> 75) as f64 / (1_u64 << 53) as f64;
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
rules:
  - { name: keen, share: 0.25, on: intro, after: 2 days, do: reply }
  - { name: away, share: 0.25, on: intro, after: 1 minute, do: auto_reply, back_in: 6 days }
  - { name: gone, share: 0.5, on: nudge, do: bounce_hard }
";

    #[test]
    fn every_rule_gets_its_share_and_every_lead_its_part() {
        let script = Script::parse(SCRIPT).unwrap();
        let intro: StepKey = "intro".parse().unwrap();
        let mut played = BTreeMap::<&str, u32>::new();
        for number in 0..10_000_u128 {
            let lead = LeadId::from(Uuid::from_u128(number));
            let part = script.part(lead, &intro);
            assert_eq!(part, script.part(lead, &intro));
            *played.entry(part.map_or("nothing", |rule| rule.name.as_str())).or_default() += 1;
        }
        assert!((2_300..2_700).contains(&played["keen"]), "{played:?}");
        assert!((2_300..2_700).contains(&played["away"]), "{played:?}");
        assert!((4_800..5_200).contains(&played["nothing"]), "{played:?}");
    }

    #[test]
    fn a_script_that_makes_no_sense_is_refused() {
        let rule = |rest: &str| format!("rules:\n  - {{ name: a, on: intro, {rest} }}\n");
        for (text, told) in [
            (rule("share: 2, do: reply"), "between 0 and 1"),
            (rule("share: 1, do: dance"), "does not read"),
            (rule("share: 1, do: reply, back_in: 1 day"), "back_in"),
            (
                rule("share: 1, do: reply") + "  - { name: b, on: intro, share: 0.1, do: click }\n",
                "more than 1",
            ),
        ] {
            let error = Script::parse(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
