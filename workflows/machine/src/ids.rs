//! Identifiers: one distinct type per kind of thing, all UUIDs. This module makes the derived ones
//! (a send's id is the hash of what it is for); random ones are drawn by the caller.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A UUID that names a `K` and nothing else.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// Names a tenant.
pub enum Workspace {}
/// Names a person we may write to.
pub enum Lead {}
/// Names a campaign.
pub enum Campaign {}
/// Names one lead's run through one campaign.
pub enum Enrollment {}
/// Names a sequence; its versions are numbered.
pub enum Sequence {}
/// Names a mailbox or phone number we send from.
pub enum Sender {}
/// Names one intended message to one address.
pub enum Send {}
/// Names a person of ours who takes leads over.
pub enum Agent {}
/// Names a mail that came in.
pub enum Mail {}

/// A tenant.
pub type WorkspaceId = Id<Workspace>;
/// A person we may write to.
pub type LeadId = Id<Lead>;
/// A campaign.
pub type CampaignId = Id<Campaign>;
/// One lead's run through one campaign.
pub type EnrollmentId = Id<Enrollment>;
/// A sequence.
pub type SequenceId = Id<Sequence>;
/// A mailbox or phone number.
pub type SenderId = Id<Sender>;
/// One row of the send ledger, or one request to a person.
pub type SendId = Id<Send>;
/// A person of ours who takes leads over.
pub type AgentId = Id<Agent>;
/// A mail that came in.
pub type MailId = Id<Mail>;

impl<K> Id<K> {
    /// Wraps `uuid`; the caller knows what it names.
    pub const fn new(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// Returns the bare UUID, for storage.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

impl<K> From<Uuid> for Id<K> {
    fn from(uuid: Uuid) -> Self {
        Self::new(uuid)
    }
}

/// The text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no id: ids look like 01a1fe44-5656-720c-b778-a723f6c352cf")]
pub struct InvalidId;

impl<K> FromStr for Id<K> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self::new).map_err(|_| InvalidId)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.uuid.serialize(serializer)
    }
}

impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(Self::new)
    }
}

impl<K> JsonSchema for Id<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Uuid::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Uuid::json_schema(generator)
    }
}

/// What an effect is about: a step of the sequence, a handover, or a letter between the lead and the
/// person who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The step with this key.
    Step(&'a str),
    /// A handover, which is not a step: a reply can cause one at any time.
    Handover,
    /// What a person of ours wrote to the lead in this mail.
    Answer(MailId),
    /// What the lead wrote to the person who has it.
    Forward,
}

/// Returns the id of the send for `subject` at its `visit`.
///
/// It is the idempotency key and the local part of the Message-ID: the same enrollment, step and
/// visit always give the same id (UUID version 5, RFC 9562), so a step can never be sent twice
/// under two names.
pub fn send_id(
    workspace: WorkspaceId,
    enrollment: EnrollmentId,
    subject: Subject<'_>,
    visit: u32,
) -> SendId {
    // A step key never begins with a slash, so nothing else can collide with a step.
    let (kind, mail): (&[u8], &[u8]) = match &subject {
        Subject::Step(key) => (&key.as_bytes()[..key.len().min(64)], &[]),
        Subject::Handover => (b"/handover", &[]),
        Subject::Answer(mail) => (b"/answer", mail.uuid.as_bytes()),
        Subject::Forward => (b"/forward", &[]),
    };
    let mut name = Vec::with_capacity(16 + 64 + 4);
    for part in [enrollment.uuid().as_bytes(), kind, mail, &visit.to_be_bytes()] {
        name.extend_from_slice(part);
    }
    Id::new(Uuid::new_v5(&workspace.uuid(), &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_id_depends_on_every_part_of_its_key() {
        let id = |w: u128, e: u128, subject, visit| {
            send_id(Uuid::from_u128(w).into(), Uuid::from_u128(e).into(), subject, visit)
        };
        let intro = id(1, 1, Subject::Step("intro"), 1);
        assert_eq!(intro, id(1, 1, Subject::Step("intro"), 1));
        for other in [
            id(2, 1, Subject::Step("intro"), 1),
            id(1, 2, Subject::Step("intro"), 1),
            id(1, 1, Subject::Step("intro2"), 1),
            id(1, 1, Subject::Step("intro"), 2),
            id(1, 1, Subject::Handover, 1),
            id(1, 1, Subject::Forward, 1),
            id(1, 1, Subject::Answer(Uuid::from_u128(1).into()), 1),
            id(1, 1, Subject::Answer(Uuid::from_u128(2).into()), 1),
        ] {
            assert_ne!(intro, other);
        }
    }
}
