//! What crosses into Temporal's histories: ids, times and the words of states. No address, no name, no
//! text of a person, and nothing of what failed but its kind.

use activities::turn::one::View;
use machine::ids::{EnrollmentId, SendId, WorkspaceId};
use machine::sequence::Channel;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a workflow begins with, and goes on with in another run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadInput {
    /// The tenant.
    pub workspace: Uuid,
    /// The enrollment.
    pub enrollment: Uuid,
    /// What the names of task queues begin with.
    pub queues: String,
    /// Whether the namespace knows our search attributes.
    #[serde(default)]
    pub labelled: bool,
}

/// How the enrollment stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadView {
    /// Of two views the one with the higher numbers is the newer one.
    #[serde(default)]
    pub seen: (i32, i32),
    /// The word for where it is.
    #[serde(default)]
    pub state: String,
    /// The step that comes next.
    #[serde(default)]
    pub step: Option<String>,
    /// When it is due, campaign time, in milliseconds since 1970.
    #[serde(default)]
    pub wake_at_ms: Option<i64>,
    /// How long that is, wall time.
    #[serde(default)]
    pub wait_ms: u64,
    /// What it does, in a sentence.
    #[serde(default)]
    pub headline: Option<String>,
    /// What is to be done for it.
    #[serde(default)]
    pub errands: Vec<Errand>,
    /// There is nothing to wait for but a signal, which begins another run.
    #[serde(default)]
    pub rests: bool,
}

/// One thing that is to be done for an enrollment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Errand {
    /// What.
    pub kind: ErrandKind,
    /// With which send.
    pub send: Uuid,
    /// Which ask of it; nothing for a call that was lost.
    pub attempt: i32,
}

/// What is to be done with a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrandKind {
    /// A mail is to be sent.
    Email,
    /// A text is to be sent.
    Sms,
    /// Its call was lost: evidence is looked for.
    Sweep,
}

/// What an errand's activity begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrandInput {
    /// The tenant.
    pub workspace: Uuid,
    /// The enrollment.
    pub enrollment: Uuid,
    /// The send.
    pub send: Uuid,
    /// Which ask of it.
    pub attempt: i32,
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrandDone {
    /// The send stays planned: it is taken up again when somebody has looked at the enrollment, not
    /// at once.
    #[serde(default)]
    pub waits: bool,
    /// How the enrollment stands by now.
    pub view: LeadView,
}

/// What a poke says. Nobody decides by it: it is for whoever reads a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poke {
    /// The newest signal there is.
    #[serde(default)]
    pub signal_seq: i32,
}

/// Returns the name of the workflow of an enrollment.
pub fn workflow_id(workspace: WorkspaceId, enrollment: EnrollmentId) -> String {
    format!("w/{workspace}/e/{enrollment}")
}

impl LeadView {
    /// The view of an enrollment that is not ours any more, or gone.
    pub(crate) fn gone() -> Self {
        Self { state: "gone".to_owned(), rests: true, ..Self::default() }
    }

    /// Whether this is how the enrollment stands, where `last` is how it was seen to stand.
    pub(crate) fn is_news_after(&self, last: &Self) -> bool {
        // One that is gone has no numbers.
        self.seen >= last.seen || self.seen == (0, 0)
    }
}

impl From<View> for LeadView {
    fn from(view: View) -> Self {
        let asks = view.asks.iter().map(|ask| Errand {
            kind: match ask.what.channel() {
                Channel::Email | Channel::Call => ErrandKind::Email,
                Channel::Sms => ErrandKind::Sms,
            },
            send: ask.send.uuid(),
            attempt: ask.attempt,
        });
        let lost = view.lost.iter().map(|send: &SendId| Errand {
            kind: ErrandKind::Sweep,
            send: send.uuid(),
            attempt: 0,
        });
        Self {
            seen: view.seen,
            state: view.state,
            step: view.step,
            wake_at_ms: view.wake_at.map(|at| at.timestamp_millis()),
            wait_ms: view
                .wait
                .map(|wait| u64::try_from(wait.num_milliseconds()).unwrap_or_default())
                .unwrap_or_default(),
            headline: view.headline,
            errands: asks.chain(lost).collect(),
            rests: view.rests,
        }
    }
}
