//! From document to version: every rule an author can break, each with the field and the fix.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{
    AgentChoice, CampaignDocument, ConsentRule, ScoreDocument, StepDocument, TriggerDocument,
    WaitUntilDocument,
};
use crate::calendar::{Calendar, TEXT_HOURS};
use crate::condition::Condition;
use crate::delay::Delay;
use crate::key::{KeywordKey, StepKey, VariantKey};
use crate::keywords::Keywords;
use crate::sequence::{
    Approval, Channel, FirstAsked, HandoverRule, ReplyRule, ReplyScope, ScoreRule, Step, StepKind,
    Trigger, Version, WaitUntil, Weighted,
};

/// The most steps a version may have, lanes included.
const MAX_STEPS: usize = 200;

/// How deep conditions may be nested.
const MAX_DEPTH: usize = 8;

/// Something wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a path into the document: `steps[2].email.subject`.
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Turns a document into a version.
///
/// # Errors
///
/// Every fault at once, in the order of the document.
pub fn compile(document: &CampaignDocument) -> Result<Version, Vec<Fault>> {
    let mut compiler = Compiler::default();
    let version = compiler.version(document);
    if compiler.faults.is_empty() { Ok(version) } else { Err(compiler.faults) }
}

/// Returns what keeps a document from being published although it compiles: waits for clicks in a
/// message that comes after them. Versions that were published before this was asked run on.
pub fn unreachable_clicks(document: &CampaignDocument) -> Vec<Fault> {
    let mut passed = BTreeSet::new();
    let mut faults = Vec::new();
    look_for_clicks("steps", &document.steps, &mut passed, &mut faults);
    // A step that does not exist is a fault of another kind.
    faults.retain(|(key, _)| passed.contains(key));
    faults.into_iter().map(|(_, fault)| fault).collect()
}

fn look_for_clicks(
    path: &str,
    steps: &[StepDocument],
    passed: &mut BTreeSet<StepKey>,
    faults: &mut Vec<(StepKey, Fault)>,
) {
    for (index, step) in steps.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(wait) = &step.wait_until {
            for (index, key) in wait.clicks.iter().enumerate() {
                if !passed.contains(key) {
                    let field = format!("{path}.wait_until.clicks[{index}]");
                    let message = format!(
                        "names the step `{key}`, which the wait `{}` does not come after, so nobody \
                         can have clicked in it: name an earlier step, or move the wait behind `{key}`",
                        step.key
                    );
                    faults.push((key.clone(), Fault { field, message }));
                }
            }
        }
        if let Some(condition) = &step.condition {
            let before = passed.clone();
            look_for_clicks(&format!("{path}.condition.then"), &condition.then, passed, faults);
            let then = std::mem::replace(passed, before);
            look_for_clicks(
                &format!("{path}.condition.else"),
                &condition.otherwise,
                passed,
                faults,
            );
            passed.extend(then);
        }
        passed.insert(step.key.clone());
    }
}

#[derive(Default)]
struct Compiler {
    faults: Vec<Fault>,
    /// Every step key with the place of its first use.
    keys: BTreeMap<StepKey, String>,
    /// References to steps, checked once every key is known.
    references: Vec<(String, StepKey)>,
    keywords: BTreeSet<KeywordKey>,
    has_handover_step: bool,
}

impl Compiler {
    fn fault(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { field: field.into(), message: message.into() });
    }

    fn version(&mut self, document: &CampaignDocument) -> Version {
        if document.name.trim().is_empty() || document.name.chars().count() > 100 {
            self.fault("name", "is empty or longer than 100 characters: give the campaign a name");
        }
        let calendar = self.calendar("windows", &document.windows, &document.holidays);
        self.keywords(&document.keywords);
        let steps = self.steps("steps", &document.steps, 0);
        if document.steps.is_empty() {
            self.fault("steps", "is empty: add at least one step");
        }
        let text_calendar = self.text_calendar(&calendar, &steps);
        if self.keys.len() > MAX_STEPS {
            self.fault("steps", format!("has more than {MAX_STEPS} steps: split the campaign"));
        }
        if let Some(goal) = &document.goal {
            self.condition("goal", goal);
        }
        let score = self.score(&document.score);
        if let Some(filter) = document.audience.as_ref().and_then(|a| a.filter.as_ref()) {
            self.audience_filter(filter);
        }
        self.check_references();
        let handover = self.handover(document);
        let on_reply = document.reply.rule.unwrap_or(match handover {
            Some(_) => ReplyRule::HandOver,
            None => ReplyRule::Stop,
        });
        if on_reply == ReplyRule::HandOver && handover.is_none() {
            self.fault(
                "reply.rule",
                "is `hand_over`, but there is no `handover`: add `handover.to` or `handover.agents`, or \
                 `handover: {}` for the workspace's address",
            );
        }
        if document.reply.scope == ReplyScope::Company && on_reply != ReplyRule::HandOver {
            self.fault(
                "reply.scope",
                "is `company`, which waits for the end of a handover, but answers are not handed over: \
                 add `handover` and leave `reply.rule` out",
            );
        }
        if self.has_handover_step && handover.is_none() {
            self.fault(
                "handover",
                "is missing, but a step hands over: add `handover.to` or `handover.agents`, or \
                 `handover: {}` for the workspace's address",
            );
        }
        if !(1..=20).contains(&document.retry.refusals) {
            self.fault("retry.refusals", "is out of range: use 1 to 20");
        }
        if document.caps.per_day == Some(0) {
            self.fault("caps.per_day", "is 0, so nothing could ever leave: use at least 1");
        }
        if document.recontact.not_within.is_some_and(|time| time.is_none()) {
            let message = "is no time at all: write it like `30 days`, or leave it out";
            self.fault("recontact.not_within", message);
        }
        let mut version = Version {
            steps,
            zone: document.zone,
            calendar,
            text_calendar,
            goal: document.goal.clone(),
            on_reply,
            reply_scope: document.reply.scope,
            handover,
            refusals_max: document.retry.refusals,
            mail_needs_consent: document.consent == ConsentRule::Granted,
            not_within: document.recontact.not_within,
            attributes: BTreeSet::new(),
            keywords: Keywords::new(&document.keywords),
            score,
        };
        collect_names(&mut version);
        version
    }

    fn calendar(
        &mut self,
        field: &str,
        windows: &[crate::calendar::Window],
        holidays: &BTreeSet<chrono::NaiveDate>,
    ) -> Calendar {
        let calendar = Calendar { windows: windows.to_vec(), holidays: holidays.clone() };
        if let Err(faults) = calendar.validate() {
            for fault in faults {
                let path = fault.field().replacen("windows", field, 1);
                self.fault(path, fault.to_string().replacen("windows", field, 1));
            }
        }
        calendar
    }

    fn text_calendar(&mut self, calendar: &Calendar, steps: &[Step]) -> Calendar {
        let within = calendar.within_text_hours();
        if within.is_none() && sends_texts(steps) {
            let (opens, closes) = TEXT_HOURS;
            let message = format!(
                "is never open between {opens} and {closes}, when texts may be sent: widen a \
                 window, or leave the texts out"
            );
            self.fault("windows", message);
        }
        within.or_else(|| Calendar::default().within_text_hours()).unwrap_or_default()
    }

    fn handover(&mut self, document: &CampaignDocument) -> Option<HandoverRule> {
        let handover = document.handover.as_ref()?;
        let first = match (&handover.to, handover.agents) {
            (_, None) => FirstAsked::Address,
            (_, Some(AgentChoice::InTurn)) => FirstAsked::AgentsInTurn,
        };
        match (&handover.to, handover.agents) {
            // With neither it is the workspace's own address, of which nothing is known here.
            (Some(_), None) | (None, Some(_) | None) => {}
            (Some(_), Some(_)) => {
                self.fault("handover.agents", "stands beside `handover.to`: keep one of the two");
            }
        }
        let addresses = [
            ("handover.to", handover.to.as_ref()),
            ("handover.fallback", handover.fallback.as_ref()),
        ];
        for (field, address) in addresses {
            if address.is_some_and(|address| !looks_like_address(address)) {
                self.fault(field, "is not a mail address: write it like `sales@example.com`");
            }
        }
        if handover.answer_within.is_none() {
            self.fault("handover.answer_within", "is no time at all: write it like `4 hours`");
        }
        let hours = self.calendar("handover.hours", &handover.hours, &document.holidays);
        let triggers = self.triggers(&handover.triggers);
        Some(HandoverRule {
            first,
            answer_within: handover.answer_within,
            hours,
            has_fallback: handover.fallback.is_some(),
            triggers,
        })
    }

    fn triggers(&mut self, triggers: &[TriggerDocument]) -> Vec<Trigger> {
        let mut keys = BTreeSet::new();
        let mut compiled = Vec::with_capacity(triggers.len());
        for (index, TriggerDocument { key, when }) in triggers.iter().enumerate() {
            let path = format!("handover.triggers[{index}]");
            if !keys.insert(key) {
                self.fault(format!("{path}.key"), format!("`{key}` is taken: keys are unique"));
            }
            self.condition(&format!("{path}.when"), when);
            compiled.push(Trigger { key: key.clone(), when: when.clone() });
        }
        compiled
    }

    fn keywords(&mut self, keywords: &BTreeMap<KeywordKey, Vec<String>>) {
        for (key, words) in keywords {
            let is_bad = |words: &String| words.trim().is_empty() || words.chars().count() > 100;
            if words.is_empty() || words.iter().any(is_bad) {
                let message = "has no words, or an empty or overlong one: list words or phrases of \
                               at most 100 characters";
                self.fault(format!("keywords.{key}"), message);
            }
            self.keywords.insert(key.clone());
        }
    }

    fn score(&mut self, rules: &[ScoreDocument]) -> Vec<ScoreRule> {
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, ScoreDocument { when, points }) in rules.iter().enumerate() {
            let path = format!("score[{index}]");
            self.condition(&format!("{path}.when"), when);
            if when.names_score() {
                let message = "looks at the score that it is part of: use what happened";
                self.fault(format!("{path}.when"), message);
            }
            if !(-1_000..=1_000).contains(points) {
                self.fault(format!("{path}.points"), "is out of range: use -1000 to 1000");
            }
            compiled.push(ScoreRule { when: when.clone(), points: *points });
        }
        compiled
    }

    fn steps(&mut self, path: &str, steps: &[StepDocument], depth: usize) -> Vec<Step> {
        if depth > MAX_DEPTH {
            self.fault(path, format!("is nested deeper than {MAX_DEPTH}: flatten the conditions"));
            return Vec::new();
        }
        let mut compiled = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(first) = self.keys.get(&step.key) {
                let message =
                    format!("`{}` is already the key of {first}: keys are unique", step.key);
                self.fault(format!("{path}.key"), message);
            } else {
                self.keys.insert(step.key.clone(), path.clone());
            }
            if let Some(kind) = self.kind(&path, step, depth) {
                if matches!(kind, StepKind::Finish) && index + 1 < steps.len() {
                    self.fault(
                        &path,
                        "ends the sequence, so the steps after it never run: move it to the end",
                    );
                }
                compiled.push(Step { key: step.key.clone(), delay: step.wait, kind });
            }
        }
        compiled
    }

    fn kind(&mut self, path: &str, step: &StepDocument, depth: usize) -> Option<StepKind> {
        let mut kinds: Vec<(&'static str, StepKind)> = Vec::new();
        if let Some(email) = &step.email {
            kinds.push(("email", self.email(&format!("{path}.email"), email)));
        }
        if let Some(sms) = &step.sms {
            kinds.push(("sms", self.sms(&format!("{path}.sms"), sms)));
        }
        if step.call.is_some() {
            kinds.push(("call", StepKind::Call));
        }
        if let Some(wait) = &step.wait_until {
            kinds.push(("wait_until", self.wait_until(path, step, wait)));
        }
        if let Some(condition) = &step.condition {
            let path = format!("{path}.condition");
            self.condition(&format!("{path}.when"), &condition.when);
            if condition.then.is_empty() && condition.otherwise.is_empty() {
                self.fault(&path, "has no steps in either lane: fill `then` or `else`");
            }
            kinds.push((
                "condition",
                StepKind::Condition {
                    when: condition.when.clone(),
                    then: self.steps(&format!("{path}.then"), &condition.then, depth + 1),
                    otherwise: self.steps(&format!("{path}.else"), &condition.otherwise, depth + 1),
                },
            ));
        }
        if step.handover.is_some() {
            self.has_handover_step = true;
            kinds.push(("handover", StepKind::Handover));
        }
        if step.finish.is_some() {
            kinds.push(("finish", StepKind::Finish));
        }
        match kinds.len() {
            0 => {
                self.fault(path, "does nothing: add one of `email`, `sms`, `call`, `wait_until`, `condition`, `handover`, `finish`");
                None
            }
            1 => kinds.pop().map(|(_, kind)| kind),
            _ => {
                let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
                self.fault(
                    path,
                    format!(
                        "does several things ({}): make each a step of its own",
                        names.join(", ")
                    ),
                );
                None
            }
        }
    }

    fn email(&mut self, path: &str, email: &super::EmailDocument) -> StepKind {
        let single = email.body.is_some() || email.html.is_some();
        let mut variants = Vec::new();
        match (single, email.variants.is_empty()) {
            (true, true) => {
                self.wording(path, email.body.as_ref(), email.html.as_ref());
                variants.push(Weighted { key: None, weight: 1 });
            }
            (false, true) => self.fault(
                path,
                "has no text: add `body` or `html`, or several wordings under `variants`",
            ),
            (true, false) => {
                self.fault(path, "has a text beside `variants`: move it into a variant");
            }
            (false, false) => {
                for (index, variant) in email.variants.iter().enumerate() {
                    let path = format!("{path}.variants[{index}]");
                    self.wording(&path, variant.body.as_ref(), variant.html.as_ref());
                    variants
                        .push(Weighted { key: Some(variant.key.clone()), weight: variant.weight });
                }
            }
        }
        self.weights(path, &variants);
        let approval = if email.approval { Approval::Required } else { Approval::NotNeeded };
        StepKind::Message { channel: Channel::Email, variants, approval }
    }

    fn wording(&mut self, path: &str, body: Option<&String>, html: Option<&String>) {
        match (body, html) {
            (Some(_), Some(_)) => {
                self.fault(path, "has both `body` and `html`: keep one, the other is made from it");
            }
            (None, None) => self.fault(path, "has no text: add `body` or `html`"),
            (Some(text), None) | (None, Some(text)) if text.trim().is_empty() => {
                self.fault(path, "has an empty text: write one");
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
    }

    fn sms(&mut self, path: &str, sms: &super::SmsDocument) -> StepKind {
        let mut variants: Vec<Weighted> = sms
            .variants
            .iter()
            .map(|variant| Weighted { key: Some(variant.key.clone()), weight: variant.weight })
            .collect();
        match (&sms.body, variants.is_empty()) {
            (Some(body), true) if !body.trim().is_empty() => {
                variants.push(Weighted { key: None, weight: 1 });
            }
            (Some(_) | None, true) => {
                self.fault(path, "has no text: add `body`, or several wordings under `variants`");
            }
            (Some(_), false) => {
                self.fault(path, "has a text beside `variants`: move it into a variant");
            }
            (None, false) => {}
        }
        self.weights(path, &variants);
        let approval = if sms.approval { Approval::Required } else { Approval::NotNeeded };
        StepKind::Message { channel: Channel::Sms, variants, approval }
    }

    fn weights(&mut self, path: &str, variants: &[Weighted]) {
        let mut seen: BTreeSet<&VariantKey> = BTreeSet::new();
        for variant in variants {
            if let Some(key) = &variant.key
                && !seen.insert(key)
            {
                self.fault(
                    format!("{path}.variants"),
                    format!("has the key `{key}` twice: keys are unique"),
                );
            }
            if variant.weight > 1_000 {
                self.fault(
                    format!("{path}.variants"),
                    "has a weight above 1,000: use smaller shares",
                );
            }
        }
        if !variants.is_empty() && variants.iter().all(|variant| variant.weight == 0) {
            self.fault(
                format!("{path}.variants"),
                "has only weights of 0: give at least one a share",
            );
        }
    }

    fn wait_until(
        &mut self,
        path: &str,
        step: &StepDocument,
        wait: &WaitUntilDocument,
    ) -> StepKind {
        let path = format!("{path}.wait_until");
        if !step.wait.is_none() {
            self.fault(&path, "has `wait` beside it: the wait's length is `for`");
        }
        if wait.limit == Delay::NONE {
            self.fault(format!("{path}.for"), "is no time at all: write it like `5 days`");
        }
        if let Some(condition) = &wait.attribute {
            self.condition(&format!("{path}.attribute"), condition);
        }
        for (index, key) in wait.clicks.iter().enumerate() {
            self.references.push((format!("{path}.clicks[{index}]"), key.clone()));
        }
        StepKind::WaitUntil(WaitUntil {
            limit: wait.limit,
            reply: wait.reply,
            clicks: wait.clicks.clone(),
            attribute: wait.attribute.clone(),
        })
    }

    fn condition(&mut self, path: &str, condition: &Condition) {
        if let Some(message) = condition.fault() {
            self.fault(path, message);
        }
        let mut steps = Vec::new();
        condition.collect_steps(&mut steps);
        for (field, key) in steps {
            self.references.push((format!("{path}.{field}"), key.clone()));
        }
        let mut keywords = BTreeSet::new();
        condition.collect_keywords(&mut keywords);
        for key in keywords {
            if !self.keywords.contains(key) {
                let message = format!("names the keyword `{key}`: add its words under `keywords`");
                self.fault(format!("{path}.said"), message);
            }
        }
    }

    fn audience_filter(&mut self, filter: &Condition) {
        if let Some(message) = filter.fault_as_filter() {
            self.fault("audience.filter", message);
        }
    }

    fn check_references(&mut self) {
        for (field, key) in std::mem::take(&mut self.references) {
            if !self.keys.contains_key(&key) {
                self.fault(
                    field,
                    format!("names the step `{key}`, which does not exist: use the key of a step"),
                );
            }
        }
    }
}

fn sends_texts(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.kind {
        StepKind::Message { channel, .. } => *channel == Channel::Sms,
        StepKind::Condition { then, otherwise, .. } => sends_texts(then) || sends_texts(otherwise),
        StepKind::Call | StepKind::WaitUntil(_) | StepKind::Handover | StepKind::Finish => false,
    })
}

fn looks_like_address(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let parts = text.split_once('@');
    plain
        && parts.is_some_and(|(local, domain)| {
            !local.is_empty() && domain.contains('.') && !domain.contains('@')
        })
}

/// Collects what the version looks at, so that a turn reads that and nothing else.
fn collect_names(version: &mut Version) {
    let mut attributes = BTreeSet::new();
    let mut conditions: Vec<Condition> = version.goal.iter().cloned().collect();
    conditions.extend(version.score.iter().map(|rule| rule.when.clone()));
    let triggers = version.handover.iter().flat_map(|rule| &rule.triggers);
    conditions.extend(triggers.map(|trigger| trigger.when.clone()));
    version.each_step(&mut |step| match &step.kind {
        StepKind::Condition { when, .. } => conditions.push(when.clone()),
        StepKind::WaitUntil(wait) => conditions.extend(wait.attribute.clone()),
        StepKind::Message { .. } | StepKind::Call | StepKind::Handover | StepKind::Finish => {}
    });
    for condition in &conditions {
        condition.collect_attributes(&mut attributes);
    }
    version.attributes = attributes;
}
