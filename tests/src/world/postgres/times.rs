//! A world where everything is done twice: what is done once more must change nothing.

use std::collections::VecDeque;

use activities::turn::Ask;

/// How many requests and answers are remembered, to come once more.
const REMEMBERED: usize = 60;

/// How often everything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::world) enum Times {
    /// As often as it is needed.
    Once,
    /// Once more at once, and once more whenever the world has come to rest: what comes in, turns,
    /// requests at the gate, and records of what became of them.
    Twice,
}

impl Times {
    /// Returns `what` as often as it is done at once.
    pub(super) fn of<T: Clone>(self, what: T) -> impl Iterator<Item = T> {
        let times = match self {
            Self::Once => 1,
            Self::Twice => 2,
        };
        std::iter::repeat_n(what, times)
    }
}

/// Whether two requests are the same.
pub(super) fn is_same(one: &Ask, other: &Ask) -> bool {
    (one.send, one.attempt) == (other.send, other.attempt)
}

/// Keeps the newest of what was done.
pub(super) fn remember<T: Clone>(old: &mut VecDeque<T>, new: &[T]) {
    old.extend(new.iter().cloned());
    old.drain(..old.len().saturating_sub(REMEMBERED));
}
