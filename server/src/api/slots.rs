//! Work that only few may have under way at once, because it takes memory or time: some for everybody
//! together, fewer for one workspace, so that none keeps the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use machine::ids::WorkspaceId;

use super::problem::Problem;

/// When to ask again where there is no room, in seconds.
const AGAIN_S: u64 = 5;

/// The slots.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    taken: Arc<Mutex<HashMap<WorkspaceId, usize>>>,
    /// For everybody together.
    all: usize,
    /// For one workspace.
    each: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    workspace: WorkspaceId,
}

impl Slots {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { taken: Arc::default(), all, each }
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// When there is none left for `workspace`.
    pub(super) fn take(&self, workspace: WorkspaceId) -> Result<Slot, Problem> {
        let mut taken = self.taken.lock().expect("no holder panics");
        let all: usize = taken.values().sum();
        let own = taken.get(&workspace).copied().unwrap_or_default();
        if all >= self.all || own >= self.each {
            return Err(Problem::too_many(AGAIN_S));
        }
        taken.insert(workspace, own + 1);
        Ok(Slot { slots: self.clone(), workspace })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().expect("no holder panics");
        if let Some(own) = taken.get_mut(&self.workspace) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.workspace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use activities::ids;

    use super::Slots;

    #[test]
    fn one_workspace_leaves_room_for_others() {
        let slots = Slots::new(3, 2);
        let (one, other) = (ids::new(), ids::new());
        let first = slots.take(one).expect("the first");
        let _second = slots.take(one).expect("the second");
        assert!(slots.take(one).is_err(), "its share is taken");
        let _third = slots.take(other).expect("another's");
        assert!(slots.take(other).is_err(), "all are taken");
        drop(first);
        slots.take(other).expect("room again");
    }
}
