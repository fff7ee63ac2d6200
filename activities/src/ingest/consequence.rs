//! What follows from an event for the person it is about.

use machine::sequence::Channel;
use machine::signal::{Bounce, ReplyTo, Signal};

use super::event::{Author, Fact, Said};
use super::target::Target;
use crate::store::signals::Content;
use crate::store::suppressions::Reason;

/// What follows from a fact.
pub(super) struct Consequence {
    /// The promise it implies.
    pub(super) suppress: Option<Reason>,
    /// What its enrollment hears.
    pub(super) own: Option<Content>,
    /// What the person's other enrollments hear.
    pub(super) others: Option<Content>,
    /// What is locked before it is written.
    pub(super) locks: Locks,
}

/// What must stand still while a fact is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// Nothing: it stops nobody.
    None,
    /// The lead, and the addresses that this reason is about.
    Lead(Option<Reason>),
}

impl Consequence {
    pub(super) fn of(fact: &Fact, target: &Target) -> Self {
        let known = |signal| Some(Content::Known(signal));
        let step = target.step().cloned();
        match fact {
            Fact::Noted(_) => Self::quiet(None),
            Fact::Delivered => Self::quiet(step.map(|step| Signal::Delivered { step })),
            Fact::Clicked => Self::quiet(step.map(|step| Signal::Clicked { step })),
            Fact::Bounced(severity @ Bounce::Soft) => Self {
                suppress: None,
                own: known(Signal::Bounced { step, severity: *severity }),
                others: None,
                locks: Locks::Lead(None),
            },
            Fact::Bounced(severity @ Bounce::Hard) => Self {
                suppress: Some(Reason::HardBounce),
                own: known(Signal::Bounced { step, severity: *severity }),
                others: match target.channel {
                    Channel::Email => known(Signal::Bounced { step: None, severity: *severity }),
                    // A number that takes no texts says nothing about the mailbox that others write to;
                    // those who would text it too are kept from it by its suppression.
                    Channel::Sms | Channel::Call => None,
                },
                locks: Locks::Lead(Some(Reason::HardBounce)),
            },
            Fact::Complained => Self::stop(Reason::Complained, Signal::Complained),
            Fact::OptedOut => Self::stop(Reason::OptedOut, Signal::OptedOut),
            Fact::Text(Said::Stop) => Self::stop(Reason::OptedOut, Signal::OptedOut),
            // Whether it means a beginning was found out before.
            Fact::Text(Said::Reply | Said::Start) => Self {
                suppress: None,
                own: known(Signal::replied(ReplyTo::This, step)),
                others: known(Signal::replied(ReplyTo::Other, None)),
                locks: Locks::Lead(None),
            },
            Fact::Text(Said::Help) => Self::quiet(None),
            Fact::Mail(author) => Self {
                suppress: None,
                own: Some(Content::Uninterpreted),
                others: Some(Content::Uninterpreted),
                locks: Locks::Lead(match author {
                    Author::Objector => Some(Reason::OptedOut),
                    Author::Person | Author::Machine => None,
                }),
            },
        }
    }

    fn quiet(signal: Option<Signal>) -> Self {
        Self { suppress: None, own: signal.map(Content::Known), others: None, locks: Locks::None }
    }

    fn stop(reason: Reason, signal: Signal) -> Self {
        Self {
            suppress: Some(reason),
            own: Some(Content::Known(signal.clone())),
            others: Some(Content::Known(signal)),
            locks: Locks::Lead(Some(reason)),
        }
    }
}
