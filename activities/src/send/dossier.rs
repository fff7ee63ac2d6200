//! The mail that offers a lead to a person of ours, with what they should read before acting: what
//! the lead said, what to do next, who it is, what was sent and what happened.

mod history;
mod promises;

use std::collections::HashMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use machine::enrollment::Enrollment;
use machine::ids::{Subject, WorkspaceId, send_id};
use machine::key::TriggerKey;
use machine::sequence::Channel;
use machine::signal::{Answer, Missing, Refusal};
use machine::state::Responder;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use crate::address::EmailAddress;
use crate::agents::offers;
use crate::campaigns::enroll::attributes_of;
use crate::content::step::{BodySource, CompiledStep, Values};
use crate::error::Result;
use crate::handover_cause::{self, Cause};
use crate::header_text::HeaderText;
use crate::inbound::answer::LINE;
use crate::mailroom::Mailroom;
use crate::received::{self, Letter, Received};
use crate::senders::Sender;
use crate::store::dossiers::{self, Home, Sent};
use crate::store::journal::{self, Entry};
use crate::store::prepares::LeadRow;
use crate::store::received_mails::{self, ReceivedRow};
use crate::store::suppression_views::SuppressionView;
use crate::store::{Tx, clock, workspaces};
use crate::suppression_key::SuppressionKey;
use crate::suppression_list;
use crate::turn::{Ask, What};

/// How many journal rows a dossier tells, the newest.
const ROWS_MAX: i64 = 200;

/// How many of a lead's answers a dossier shows, the newest.
const LETTERS_MAX: i64 = 3;

/// How many of a lead's attributes a dossier shows.
const ATTRIBUTES_MAX: usize = 100;

/// How much of one text a dossier shows, in characters.
const TEXT_MAX: usize = 5_000;

/// What is known of one enrollment.
pub(super) struct Dossier {
    entries: Vec<Entry>,
    letters: Vec<Received>,
    sent: Vec<Sent>,
    home: Option<Home>,
    promises: Vec<SuppressionView>,
    now: DateTime<Utc>,
}

/// What is known of enrollments, as it is stored.
pub(super) struct Files {
    entries: HashMap<Uuid, Vec<Entry>>,
    letters: Vec<ReceivedRow>,
    sent: Vec<Sent>,
    homes: Vec<Home>,
    promises: HashMap<Uuid, Vec<SuppressionView>>,
    now: DateTime<Utc>,
}

/// A mail to a person of ours.
pub(super) struct Offer {
    pub(super) to: EmailAddress,
    pub(super) subject: HeaderText,
    pub(super) text: String,
    pub(super) html: String,
}

/// Reads what the offers among `asks` have to tell; `None` if there is no offer.
pub(super) async fn read(
    tx: &mut Tx,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    asks: &[Ask],
) -> Result<Option<Files>> {
    let mut enrollments = Vec::new();
    let mut promises = HashMap::new();
    let mut sends = Vec::new();
    let mut entries = HashMap::new();
    for ask in asks.iter().filter(|ask| ask.what.is_to_the_team()) {
        let id = ask.enrollment;
        if entries.contains_key(&id.uuid()) {
            continue;
        }
        enrollments.push(id.uuid());
        let steps = ask.version.mails.iter().chain(&ask.version.texts);
        sends
            .extend(steps.map(|key| send_id(workspace, id, Subject::Step(key.as_str()), 1).uuid()));
        entries.insert(id.uuid(), journal::newest(tx, workspace, id, ROWS_MAX).await?);
        promises.insert(id.uuid(), suppression_list::about(tx, key, workspace, ask.lead).await?);
    }
    if enrollments.is_empty() {
        return Ok(None);
    }
    let kind = Some("replied");
    Ok(Some(Files {
        entries,
        letters: received_mails::newest(tx, workspace, &enrollments, kind, LETTERS_MAX).await?,
        sent: dossiers::sent(tx, workspace, &sends).await?,
        homes: dossiers::homes(tx, workspace, &enrollments).await?,
        promises,
        now: clock::read(tx).await?.campaign,
    }))
}

/// Opens what was read, for each enrollment.
pub(super) async fn open(
    mailroom: &Mailroom,
    workspace: WorkspaceId,
    files: Option<Files>,
) -> HashMap<Uuid, Dossier> {
    let Some(files) = files else { return HashMap::new() };
    let now = files.now;
    let mut dossiers: HashMap<Uuid, Dossier> = files
        .entries
        .into_iter()
        .map(|(enrollment, entries)| {
            let (letters, sent, promises) = (Vec::new(), Vec::new(), Vec::new());
            (enrollment, Dossier { entries, letters, sent, home: None, promises, now })
        })
        .collect();
    for letter in received::open(&mailroom.keys, workspace, files.letters).await {
        if let Some(dossier) = dossiers.get_mut(&letter.enrollment) {
            dossier.letters.push(letter);
        }
    }
    for sent in files.sent {
        if let Some(dossier) = dossiers.get_mut(&sent.enrollment_id) {
            dossier.sent.push(sent);
        }
    }
    for (enrollment, promises) in files.promises {
        if let Some(dossier) = dossiers.get_mut(&enrollment) {
            dossier.promises = promises;
        }
    }
    for home in files.homes {
        if let Some(dossier) = dossiers.get_mut(&home.enrollment_id) {
            dossier.home = Some(home);
        }
    }
    dossiers
}

/// Whom an offer goes to.
pub(super) enum Recipient {
    /// An address that the campaign names.
    Named(EmailAddress),
    /// The agent whose turn it is.
    Agent(EmailAddress),
}

impl Recipient {
    /// Returns who is told; `agent` is the address of the agent whose turn it is.
    pub(super) fn of(
        ask: &Ask,
        to: Responder,
        agent: Option<&str>,
    ) -> std::result::Result<Self, Answer> {
        let parsed = |address: &str| address.parse::<EmailAddress>().ok();
        let handover = ask.settings.handover.as_ref();
        let recipient = match agent {
            Some(agent) => parsed(agent).map(Self::Agent),
            None => {
                let first = handover.and_then(|handover| handover.to.as_deref());
                let fallback = handover.and_then(|handover| handover.fallback.as_deref());
                let address = match to {
                    Responder::First => first,
                    Responder::Fallback => fallback.or(first),
                };
                address.and_then(parsed).map(Self::Named)
            }
        };
        recipient.ok_or(Answer::Held { missing: Missing::Address { channel: Channel::Email } })
    }

    pub(super) fn is_agent(&self) -> bool {
        match self {
            Self::Named(_) => false,
            Self::Agent(_) => true,
        }
    }

    fn address(&self) -> &EmailAddress {
        match self {
            Self::Named(address) | Self::Agent(address) => address,
        }
    }
}

/// What an offer is about.
pub(super) struct About<'a> {
    pub(super) lead: &'a LeadRow,
    pub(super) sender: &'a Sender,
    pub(super) dossier: &'a Dossier,
    /// By which an agent takes the lead.
    pub(super) link: Option<Url>,
    /// Whether an answer to the mail comes back to us.
    pub(super) comes_back: bool,
}

/// Writes the offer.
pub(super) fn compose(
    ask: &Ask,
    to: &Recipient,
    answer_by: Option<DateTime<Utc>>,
    about: &About<'_>,
) -> std::result::Result<Offer, Answer> {
    let About { lead, sender, dossier, link, comes_back } = about;
    let answer_by = match to {
        // An agent's time begins when the offer leaves, however long it waited for one.
        Recipient::Agent(_) if !offers::is_overdue(ask, dossier.now) => {
            let version = &ask.version.version;
            let rule = version.handover.as_ref();
            rule.map(|rule| rule.answer_by(version.zone, dossier.now)).or(answer_by)
        }
        Recipient::Agent(_) | Recipient::Named(_) => answer_by,
    };
    let cause = Cause::newest(&dossier.entries);
    let can_be_answered = *comes_back && lead.email.is_some();
    let can_be_answered = can_be_answered && !promises::are_about_mail(&dossier.promises);
    let link = link.as_ref();
    let telling = Telling { ask, answer_by, lead, sender, dossier, cause, link, can_be_answered };
    let values = json!({
        "subject": telling.subject(),
        "campaign": ask.version.document.name,
        "text": telling.text(),
    });
    let values = values.as_object().cloned().unwrap_or_default();
    let empty = Map::new();
    let wording = CompiledStep::compile(
        Some("{{ subject }} ({{ campaign }})"),
        BodySource::Text("{{ text }}"),
    );
    let rendered = wording.ok().and_then(|it| it.render(Values::new(&empty, &values), None).ok());
    let content = Answer::Rejected { class: Refusal::Content, retry_after_s: None };
    let rendered = rendered.ok_or_else(|| content.clone())?;
    let subject = rendered.subject.ok_or(content)?;
    Ok(Offer { to: to.address().clone(), subject, text: rendered.text, html: rendered.html })
}

/// Everything an offer is told from.
struct Telling<'a> {
    ask: &'a Ask,
    answer_by: Option<DateTime<Utc>>,
    lead: &'a LeadRow,
    sender: &'a Sender,
    dossier: &'a Dossier,
    cause: Cause,
    link: Option<&'a Url>,
    /// Whether an answer to the mail goes to the lead.
    can_be_answered: bool,
}

/// Returns what an offer begins with, for those who do not see it as a mail that can be answered.
pub(crate) fn head(text: &str) -> &str {
    let mut parts = text.split("\n\n");
    let first = parts.next().unwrap_or_default();
    if first.starts_with(LINE) { parts.next().unwrap_or_default() } else { first }
}

impl Telling<'_> {
    fn subject(&self) -> String {
        let who = self.who();
        match (self.is_overdue(), self.has_answered()) {
            _ if self.is_forward() => format!("{who} wrote again"),
            (true, true) => format!("Reminder: {who} waits for an answer"),
            (true, false) => format!("Reminder: {who} needs you"),
            (false, true) => format!("{who} answered"),
            (false, false) => format!("{who} needs you"),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let who = self.who();
        if self.can_be_answered {
            let _ = writeln!(
                text,
                "{LINE}\nAnswer this mail to write to {who}: what you write above that line goes to \
                 them, from {}, in their conversation; nothing below it does. Attachments are not \
                 passed on.\n",
                self.sender.from
            );
        }
        let _ = match &self.cause {
            _ if self.is_forward() => writeln!(text, "{who} wrote again, and you have this lead."),
            Cause::Replied { .. } => writeln!(text, "{who} answered and waits for a person."),
            Cause::Asked => writeln!(text, "{who} needs a person: one of you asked for it."),
            Cause::Triggered { triggers } => {
                let met = handover_cause::in_words(triggers, &self.ask.version.version);
                writeln!(text, "{who} needs a person: the campaign looks for {met}.")
            }
            Cause::Step { step: Some(step) } => {
                writeln!(text, "{who} needs a person: the campaign has come to its step `{step}`.")
            }
            Cause::Step { step: None } => {
                writeln!(text, "{who} needs a person: the campaign has come so far.")
            }
        };
        if let Some(answer_by) = self.answer_by {
            let answer_by = self.local(answer_by);
            let _ = match self.is_overdue() {
                true => writeln!(text, "It was to be answered by {answer_by}, and nobody has."),
                false => writeln!(text, "Please answer by {answer_by}."),
            };
        }
        if let Some(link) = self.link {
            let _ = writeln!(
                text,
                "\nTake it here, without a login; the link works once, and for you alone:\n{link}"
            );
        }
        promises::tell(&mut text, &self.dossier.promises, |at| self.local(at));
        self.worth(&mut text);
        self.letters(&mut text);
        self.next(&mut text);
        self.person(&mut text);
        text.push_str("\nWhat was sent, and what happened\n");
        for (at, words) in history::of(self.dossier) {
            let _ = writeln!(text, "{}: {words}", self.local(at));
        }
        self.answered_mail(&mut text);
        text
    }

    /// What they are worth by the campaign's own rules.
    fn worth(&self, text: &mut String) {
        let Some(home) = &self.dossier.home else { return };
        // A snapshot that does not load is told elsewhere; an offer is made all the same.
        let Ok(run) = serde_json::from_slice::<Enrollment>(&home.snapshot) else { return };
        let version = &self.ask.version.version;
        let met: Vec<_> = run.data.handovers.triggered.iter().map(TriggerKey::as_str).collect();
        if !met.is_empty() {
            let _ = writeln!(text, "They meet what the campaign looks for: {}.", met.join(", "));
        }
        if !version.score.is_empty() {
            let attributes = attributes_of(self.lead.attributes.clone());
            let score = version.score(&attributes, &run.data.history);
            let _ = writeln!(text, "Their score is {score}.");
        }
    }

    /// What they said.
    fn letters(&self, text: &mut String) {
        for letter in &self.dossier.letters {
            let _ = writeln!(text, "\nWhat they said on {}", self.local(letter.at));
            match &letter.letter {
                Letter::Read { from, subject, text: said, .. } => {
                    let from = from.as_deref().unwrap_or("nobody");
                    let subject = subject.as_deref().map(|subject| format!(": {subject}"));
                    let _ = writeln!(text, "from {from}{}", subject.unwrap_or_default());
                    if !letter.proven {
                        text.push_str(
                            "It does not name a mail of ours: make sure that it is from them.\n",
                        );
                    }
                    quote(text, said);
                }
                Letter::Unreadable(why) => {
                    let _ = writeln!(text, "Their mail cannot be read here: {why}.");
                }
            }
        }
        if self.has_answered() && self.dossier.letters.is_empty() {
            let _ = writeln!(
                text,
                "\nWhat they said\nTheir answer did not come through here: it is in the mailbox of {}.",
                self.sender.from
            );
        }
    }

    /// What to do next.
    fn next(&self, text: &mut String) {
        let email = self.lead.email.as_deref().unwrap_or("them");
        let wrote = self.dossier.letters.last().is_some_and(|letter| letter.is_text());
        let number = self.lead.phone.as_deref().filter(|_| wrote);
        let subject = self.dossier.sent.last().and_then(|sent| sent.subject.as_deref());
        let subject = subject.and_then(|subject| subject.parse::<HeaderText>().ok());
        text.push_str("\nWhat to do next\n");
        let answer = if self.can_be_answered { "Answer this mail, or write to" } else { "Answer" };
        let _ = match (self.has_answered(), number, subject) {
            _ if promises::are_about_mail(&self.dossier.promises) => {
                writeln!(text, "Call them, and do not write to {email}.")
            }
            (true, Some(number), _) => {
                writeln!(text, "Answer {number}: call them, or write to {email}.")
            }
            (true, None, Some(subject)) => writeln!(
                text,
                "{answer} {email}. With the subject “{}” it stays in their conversation.",
                subject.reply_subject()
            ),
            (true, None, None) => writeln!(text, "{answer} {email}."),
            (false, _, _) => {
                writeln!(text, "Call them, or write to {email}: no more mails leave meanwhile.")
            }
        };
        if let Some(zone) = self.zone() {
            let now = self.dossier.now.with_timezone(&zone);
            let _ = writeln!(text, "It is {} there ({zone}).", now.format("%A %H:%M"));
        }
        let meridian = match &self.dossier.home {
            Some(home) if home.workspace != workspaces::DEFAULT => {
                format!("meridian --workspace {} handover", home.workspace)
            }
            Some(_) | None => "meridian handover".to_owned(),
        };
        let id = self.ask.enrollment;
        let fallback = match &self.ask.what {
            What::Handover { to: Responder::Fallback, .. } => " --fallback",
            What::Handover { to: Responder::First, .. }
            | What::Forward { .. }
            | What::Answer { .. }
            | What::Step { .. } => "",
        };
        let _ = write!(
            text,
            "\nTell the others\n\
             you take it: {meridian} accept {id}{fallback}\n\
             you have answered: {meridian} answered {id}\n\
             it came to something: {meridian} close {id} won\n\
             or to nothing: {meridian} close {id} lost\n\
             the campaign may go on: {meridian} give-back {id}\n"
        );
    }

    /// Who it is.
    fn person(&self, text: &mut String) {
        text.push_str("\nWho it is\n");
        if let Some(email) = &self.lead.email {
            let _ = writeln!(text, "email: {email}");
        }
        if let Some(phone) = &self.lead.phone {
            let _ = writeln!(text, "phone: {phone}");
        }
        // A number is an attribute too, and may be the address in another column.
        let said = [self.lead.email.as_deref(), self.lead.phone.as_deref()];
        let attributes = self.lead.attributes.as_object().into_iter().flatten();
        let attributes = attributes
            .filter(|(_, value)| value.as_str().is_none_or(|text| !said.contains(&Some(text))));
        for (name, value) in attributes.take(ATTRIBUTES_MAX) {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let _ = writeln!(text, "{name}: {}", shortened(value.trim()).replace('\n', " "));
        }
    }

    /// The last mail that they got: the one they answer, as a rule.
    fn answered_mail(&self, text: &mut String) {
        let Some(last) = self.dossier.sent.last() else { return };
        let Some(said) = &last.text else { return };
        let _ = writeln!(text, "\nThe last message they got, on {}", self.local(last.gate_at));
        quote(text, said);
    }

    /// The person's name, company or address, in one line.
    fn who(&self) -> String {
        let field = |name: &str| {
            let value = self.lead.attributes.get(name).and_then(Value::as_str).unwrap_or_default();
            value
                .chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect::<String>()
                .trim()
                .to_owned()
        };
        let name = format!("{} {}", field("first_name"), field("last_name")).trim().to_owned();
        let company = field("company");
        let parts: Vec<String> =
            [name, company].into_iter().filter(|part| !part.is_empty()).collect();
        match parts.is_empty() {
            true => self.lead.email.clone().unwrap_or_else(|| "A lead".to_owned()),
            false => parts.join(", "),
        }
    }

    fn is_forward(&self) -> bool {
        matches!(self.ask.what, What::Forward { .. })
    }

    fn has_answered(&self) -> bool {
        match self.cause {
            Cause::Replied { .. } => true,
            Cause::Asked | Cause::Triggered { .. } | Cause::Step { .. } => false,
        }
    }

    fn is_overdue(&self) -> bool {
        self.answer_by.is_some_and(|answer_by| answer_by < self.dossier.now)
    }

    fn zone(&self) -> Option<Tz> {
        self.dossier.home.as_ref()?.zone.as_deref()?.parse().ok()
    }

    fn local(&self, at: DateTime<Utc>) -> String {
        let zone = self.ask.settings.zone;
        at.with_timezone(&zone).format("%a %-d %b %Y %H:%M %Z").to_string()
    }
}

/// Writes a text as mail programs quote.
fn quote(text: &mut String, said: &str) {
    for line in shortened(said.trim()).lines() {
        let _ = writeln!(text, "> {line}");
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{} […]", &text[..end]),
        None => text.to_owned(),
    }
}
