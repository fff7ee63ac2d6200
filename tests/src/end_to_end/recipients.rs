//! The people who are written to, each with a part to play, and what is bound to become of them. They
//! see mails and nothing else: what they answer hangs on what the mail server accepted for them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use activities::store::clock;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::mail_server::{Accepted, MailServer};
use super::provider::{self, Post, Provider};
use crate::cluster::Database;

/// How often recipients look into their mailboxes.
const LOOK: Duration = Duration::from_millis(20);

/// How long a recipient stays away, in campaign days.
const AWAY_DAYS: i64 = 12;

/// What they answer.
pub const ANSWER: &str = "Thank you, tell me more.";

/// The campaign that the recipients get: three mails, days apart.
pub const CAMPAIGN: &str = r#"
name: three-mails
senders: [one, two]
zone: Europe/Lisbon
reply: { rule: stop }
steps:
  - key: first
    email:
      subject: "First, number {{ number }}"
      body: "Hello from {{ sender.name }}."
  - key: second
    wait: 4 days
    email:
      body: "Did you see my mail, number {{ number }}?"
  - key: third
    wait: 3 days
    email:
      subject: "Third, number {{ number }}"
      body: "Good-bye."
"#;

/// The mails of the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mail {
    /// The first.
    First,
    /// Its follow-up, which answers it.
    Second,
    /// The last.
    Third,
}

/// What a recipient, or the recipient's mail server, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Reads all mails; the mail server reports some of them as delivered.
    Silent,
    /// Answers this mail.
    Replies(Mail),
    /// Does not exist, as its mail server says at once.
    Unknown,
    /// Does not exist, as a report says later.
    Bounces,
    /// Uses the way out of this mail.
    OptsOut(Mail),
    /// Reports the second mail as unwanted.
    Complains,
    /// Is away for a while, and a machine says until when.
    Away,
    /// Has a machine that answers at once and says nothing.
    Acknowledged,
    /// Has a mailbox that was full the first time.
    Full,
    /// Has a slow mail server.
    Slow,
    /// Has a mail server that takes long to accept the first mail.
    Unheard,
    /// Has a mail server that takes long to say that it accepted the first mail.
    Unanswered,
    /// Has such a mail server too, and uses the way out meanwhile.
    OptsOutUnanswered,
}

impl Part {
    /// Returns the part of the recipient with this number.
    pub fn of(number: u32) -> Self {
        match (number, number % 25) {
            (9 | 34, _) => Self::Unheard,
            (14 | 59, _) => Self::Unanswered,
            (39 | 84, _) => Self::OptsOutUnanswered,
            (_, 0) => Self::Replies(Mail::First),
            (_, 1) => Self::Replies(Mail::Second),
            (_, 2) => Self::Replies(Mail::Third),
            (_, 3) => Self::Unknown,
            (_, 4) => Self::Bounces,
            (_, 5) => Self::OptsOut(Mail::First),
            (_, 6) => Self::OptsOut(Mail::Second),
            (_, 7) => Self::Complains,
            (_, 8) => Self::Away,
            (_, 10) => Self::Acknowledged,
            (_, 11) => Self::Full,
            (_, 12) => Self::Slow,
            (_, _) => Self::Silent,
        }
    }

    /// Returns the state in which its lead ends.
    pub fn ends_as(self) -> &'static str {
        match self {
            Self::Replies(_) => "replied",
            Self::Unknown | Self::Bounces => "bounced",
            Self::OptsOut(_) | Self::OptsOutUnanswered | Self::Complains => "opted_out",
            Self::Silent
            | Self::Away
            | Self::Acknowledged
            | Self::Full
            | Self::Slow
            | Self::Unheard
            | Self::Unanswered => "finished",
        }
    }

    /// Returns the mail after which nothing more may come.
    pub fn last_mail(self) -> Option<Mail> {
        match self {
            Self::Replies(mail) | Self::OptsOut(mail) => Some(mail),
            Self::Bounces | Self::OptsOutUnanswered => Some(Mail::First),
            Self::Complains => Some(Mail::Second),
            Self::Unknown
            | Self::Silent
            | Self::Away
            | Self::Acknowledged
            | Self::Full
            | Self::Slow
            | Self::Unheard
            | Self::Unanswered => None,
        }
    }

    fn mailbox(self) -> &'static str {
        match self {
            Self::Unknown => "hard",
            Self::Full => "soft",
            Self::Slow => "slow",
            Self::Unheard => "unheard",
            Self::Unanswered | Self::OptsOutUnanswered => "unanswered",
            Self::Silent
            | Self::Replies(_)
            | Self::Bounces
            | Self::OptsOut(_)
            | Self::Complains
            | Self::Away
            | Self::Acknowledged => "lead",
        }
    }
}

/// Returns the address of a recipient.
pub fn address(number: u32) -> String {
    format!("{}-{number}@recipients.example", Part::of(number).mailbox())
}

/// Returns the number of the recipient with this address.
///
/// # Panics
///
/// When it is nobody's.
pub fn number(address: &str) -> u32 {
    let number = address.split_once('@').and_then(|(local, _)| local.rsplit_once('-'));
    number.and_then(|(_, number)| number.parse().ok()).expect("an address of a recipient")
}

/// Returns so many recipients as a file to be imported.
pub fn as_csv(count: u32) -> String {
    let zones = ["Europe/Lisbon", "America/New_York", "Asia/Tokyo", ""];
    let mut file = "email,name,number,zone\n".to_owned();
    for (number, zone) in (0..count).zip(zones.iter().cycle()) {
        file.push_str(&format!("{},Ursula the {number}th,{number},{zone}\n", address(number)));
    }
    file
}

/// Returns which mail of the campaign this is.
///
/// # Panics
///
/// When it is none.
pub fn mail(accepted: &Accepted) -> Mail {
    match accepted.subject.split(',').next() {
        Some("First") => Mail::First,
        Some("Re: First") => Mail::Second,
        Some("Third") => Mail::Third,
        _ => panic!("not a mail of the campaign: {accepted:?}"),
    }
}

/// What a recipient did, and when it was taken.
#[derive(Debug, Clone)]
pub struct Done {
    /// Who.
    pub number: u32,
    /// What names it in our tables.
    pub name: String,
    /// What kind of thing it was.
    pub what: What,
    /// When it was acknowledged, in seconds since 1970.
    pub taken_at: f64,
}

/// What kinds of things recipients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Something after which nothing more may be sent, told by the provider.
    Stop,
    /// The same, by the way out.
    WayOut,
    /// An absence until then.
    Absence(DateTime<Utc>),
    /// Something that stops nobody.
    Nothing,
}

/// Recipients who play their parts.
pub struct Recipients {
    mail_server: Arc<MailServer>,
    provider: Provider,
    database: Database,
    seen: HashSet<String>,
    acts: JoinSet<Done>,
    done: Vec<Done>,
}

impl Recipients {
    /// Gathers the recipients.
    pub fn new(mail_server: Arc<MailServer>, provider: Provider, database: Database) -> Self {
        let (seen, acts, done) = (HashSet::new(), JoinSet::new(), Vec::new());
        Self { mail_server, provider, database, seen, acts, done }
    }

    /// Plays until `stop`, then until everything that was begun is taken, and tells what happened.
    pub async fn play(mut self, stop: CancellationToken) -> Vec<Done> {
        while !stop.is_cancelled() {
            self.look().await;
            tokio::time::sleep(LOOK).await;
        }
        self.look().await;
        while let Some(done) = self.acts.join_next().await {
            self.done.push(done.expect("a post is taken"));
        }
        self.done
    }

    async fn look(&mut self) {
        while let Some(done) = self.acts.try_join_next() {
            self.done.push(done.expect("a post is taken"));
        }
        for accepted in self.mail_server.accepted() {
            if self.seen.insert(accepted.file.display().to_string()) {
                self.answer(&accepted).await;
            }
        }
    }

    async fn answer(&mut self, accepted: &Accepted) {
        let number = number(&accepted.to);
        let Some((what, post)) = self.act(Part::of(number), accepted).await else { return };
        let manner = self.provider.manner();
        self.acts.spawn(async move {
            let taken_at = provider::deliver(&post, manner).await;
            Done { number, name: post.name, what, taken_at }
        });
    }

    async fn act(&self, part: Part, accepted: &Accepted) -> Option<(What, Post)> {
        let provider = &self.provider;
        let mail = mail(accepted);
        Some(match part {
            Part::Replies(to) if to == mail => (What::Stop, provider.answer(accepted, ANSWER, &[])),
            Part::Bounces if mail == Mail::First => {
                let failure = json!({
                    "severity": "permanent",
                    "reason": "bounce",
                    "delivery-status": { "code": 550, "message": "5.1.1 no such user" },
                });
                (What::Stop, provider.event(accepted, "failed", &failure))
            }
            Part::OptsOut(of) if of == mail => (What::WayOut, Provider::one_click(accepted)),
            Part::OptsOutUnanswered if mail == Mail::First => {
                (What::WayOut, Provider::one_click(accepted))
            }
            Part::Complains if mail == Mail::Second => {
                (What::Stop, provider.event(accepted, "complained", &json!({})))
            }
            Part::Away if mail == Mail::First => {
                let back = self.campaign_now().await + TimeDelta::days(AWAY_DAYS);
                let text = format!(
                    "I am out of the office and will be back on {}.",
                    back.format("%-d %B %Y")
                );
                let headers = [("Auto-Submitted", "auto-replied")];
                (What::Absence(back), provider.answer(accepted, &text, &headers))
            }
            Part::Acknowledged => {
                let headers = [("Auto-Submitted", "auto-replied")];
                (What::Nothing, provider.answer(accepted, "We have received your mail.", &headers))
            }
            Part::Silent if accepted.send.as_u128().is_multiple_of(3) => {
                (What::Nothing, provider.event(accepted, "delivered", &json!({})))
            }
            Part::Silent
            | Part::Replies(_)
            | Part::Unknown
            | Part::Bounces
            | Part::OptsOut(_)
            | Part::Complains
            | Part::Away
            | Part::Full
            | Part::Slow
            | Part::Unheard
            | Part::Unanswered
            | Part::OptsOutUnanswered => return None,
        })
    }

    /// Reads campaign time, as soon as the database can be reached.
    async fn campaign_now(&self) -> DateTime<Utc> {
        loop {
            if let Ok(mut owner) = self.database.try_owner().await
                && let Ok(clocks) = clock::read(&mut owner).await
            {
                return clocks.campaign;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
