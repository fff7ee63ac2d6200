//! The lines of this process to each sender: a mailbox takes one call at a time, whatever Temporal hands
//! out. A queue's own limits are for all processes together; these are what one account bears.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use activities::mailroom::{Outlet, calls_max_at_first};
use machine::ids::{SenderId, WorkspaceId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Name = (WorkspaceId, Option<SenderId>);

/// All lines of a process.
pub(crate) struct Lines {
    lines: Mutex<HashMap<Name, Line>>,
    per_mailbox: usize,
}

struct Line {
    free: Arc<Semaphore>,
    width: usize,
}

impl Lines {
    pub(crate) fn new(per_mailbox: usize) -> Self {
        Self { lines: Mutex::default(), per_mailbox }
    }

    /// Waits for a free line; it is held until the answer is dropped.
    pub(crate) async fn enter(
        &self,
        workspace: WorkspaceId,
        sender: Option<SenderId>,
    ) -> OwnedSemaphorePermit {
        let free = {
            let mut lines = self.lines.lock().expect("no holder panics");
            let line = lines.entry((workspace, sender)).or_insert_with(|| {
                let width = calls_max_at_first(sender, self.per_mailbox);
                Line { free: Arc::new(Semaphore::new(width)), width }
            });
            Arc::clone(&line.free)
        };
        free.acquire_owned().await.expect("no line is ever closed")
    }

    /// Learns what kind of sender a line leads to.
    pub(crate) fn learn(&self, workspace: WorkspaceId, sender: SenderId, outlet: &Outlet) {
        let width = outlet.calls_max(self.per_mailbox);
        let mut lines = self.lines.lock().expect("no holder panics");
        if let Some(line) = lines.get_mut(&(workspace, Some(sender)))
            && width > line.width
        {
            line.free.add_permits(width - line.width);
            line.width = width;
        }
    }
}
