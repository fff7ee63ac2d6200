//! A mail of a person of ours, in answer to a mail about a lead: it is passed on to the lead if it is known
//! to come from whoever has the lead, or is asked to take it, and if it says anything of its own. What is
//! not passed on is kept, and a person is told why.

use machine::ids::MailId;
use machine::signal::Signal;
use machine::state::Responder;

use super::event::{Author, Fact, Letter};
use super::{EventId, NewEvent, Signalled, unmatched};
use crate::address::EmailAddress;
use crate::error::Result;
use crate::inbound::answer::LINE;
use crate::store::Tx;
use crate::store::answers::{self, Addressed};
use crate::store::audit::{self, Act};
use crate::store::clock;
use crate::store::dead_letters::{self, Subject};
use crate::store::enrollments;
use crate::store::inbound_events;
use crate::store::matches::NamedSend;
use crate::store::signals::{self, Content, NewSignal};

/// Why an answer is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refused {
    /// An out-of-office note, a report, anything that no person wrote.
    #[error("a machine wrote it")]
    Automatic,
    #[error("the lead was erased, and nothing of the answer was kept")]
    Erased,
    /// It is from another address, or nobody vouches for the one it claims.
    #[error("nobody vouches for its author")]
    Unproven,
    /// The mail that is answered did not say that answers are passed on.
    #[error("the mail it answers did not ask for one")]
    NotAsked,
    #[error("the lead was offered to somebody else since")]
    MovedOn,
    #[error("it reads as if its author wanted no more mail")]
    Objection,
    #[error("there is nothing of its author's own in it, above what is quoted")]
    Empty,
}

/// Takes what became of, or came as an answer to, a mail to a person of ours.
pub(super) async fn take(
    tx: &mut Tx,
    (id, event): (EventId, &NewEvent),
    named: &NamedSend,
) -> Result<Signalled> {
    let workspace = tx.workspace();
    let now = clock::read(tx).await?;
    let Fact::Mail(author) = event.fact else {
        return unmatched(tx, workspace, (id, event), now, "an answer to an offer").await;
    };
    // No turn moves the lead on to somebody else meanwhile.
    enrollments::lock(tx, workspace, &[named.enrollment.uuid()]).await?;
    // A statement of its own after the lock.
    let addressed = answers::addressed(tx, workspace, named.send, LINE).await?;
    match judge(author, event.letter.as_ref(), named, addressed.as_ref()) {
        Ok((by, files)) => {
            let mail = MailId::new(id.uuid());
            let new = NewSignal {
                enrollment: named.enrollment,
                content: Content::Known(Signal::PersonWrote { by, mail, files }),
                source_key: format!("{}/{}", event.provider.as_str(), event.event_key),
                event: Some(id),
                refs: None,
            };
            // Read after the lock: never earlier than what the lead was told before.
            let now = clock::read(tx).await?;
            let enrollments = signals::write(tx, workspace, &[new], now.campaign).await?;
            let actor = match addressed.and_then(|it| it.agent) {
                Some(agent) => format!("agent/{agent}"),
                None => format!("responder/{}", by.as_str()),
            };
            let subject = format!("enrollment/{}", named.enrollment);
            let act = Act { actor: &actor, act: "answer_mailed", subject: &subject, details: None };
            audit::record(tx, workspace, &act, now.wall).await?;
            Ok(Signalled::Stored { enrollments })
        }
        Err(refused) => {
            let cause = format!("an answer of ours was not passed on to the lead: {refused}");
            let subject = Subject::Unmatched(id);
            dead_letters::add(tx, workspace, subject, &cause, now.campaign).await?;
            inbound_events::finish(tx, workspace, &[id], now.wall).await?;
            Ok(Signalled::Unmatched)
        }
    }
}

/// Returns who wrote it, and how many files came with it.
fn judge(
    author: Author,
    letter: Option<&Letter>,
    named: &NamedSend,
    addressed: Option<&Addressed>,
) -> std::result::Result<(Responder, u32), Refused> {
    if author == Author::Machine {
        return Err(Refused::Automatic);
    }
    if named.erased {
        return Err(Refused::Erased);
    }
    let (Some(letter), Some(addressed)) = (letter, addressed) else {
        return Err(Refused::Unproven);
    };
    let from = letter.from.as_ref().filter(|_| letter.is_vouched).ok_or(Refused::Unproven)?;
    let is = |address: &Option<String>| {
        address.as_deref().and_then(|it| it.parse::<EmailAddress>().ok()).as_ref() == Some(from)
    };
    let is_agent = is(&addressed.agent_email);
    if !is(&named.address) && !is_agent {
        return Err(Refused::Unproven);
    }
    if !addressed.asks_for_an_answer {
        return Err(Refused::NotAsked);
    }
    // Where agents are asked in turn, the lead is one agent's at a time.
    let stands = match (addressed.agent, addressed.offered_to) {
        (None, None) => true,
        (Some(agent), Some(offered_to)) => agent == offered_to,
        // A mail about what the lead wrote since, which is no offer.
        (Some(_), None) => is_agent,
        (None, Some(_)) => false,
    };
    if !stands {
        return Err(Refused::MovedOn);
    }
    match author {
        Author::Objector => return Err(Refused::Objection),
        Author::Person | Author::Machine => {}
    }
    if letter.is_empty {
        return Err(Refused::Empty);
    }
    let by = match addressed.responder.as_str() {
        "fallback" => Responder::Fallback,
        _ => Responder::First,
    };
    Ok((by, letter.files))
}
