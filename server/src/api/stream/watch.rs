//! One look for all streams of a workspace: while anybody listens, the database is asked again and
//! again how far the changes are, and the listeners hear of it when they are further.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use activities::changes::{self, Position};
use activities::error::chain;
use activities::store::Store;
use machine::ids::WorkspaceId;
use tokio::sync::{Semaphore, watch};

/// How often the database is asked.
const LOOK: Duration = Duration::from_millis(250);

/// How long it is left alone after a failure.
const TROUBLE: Duration = Duration::from_secs(2);

type Far = Option<Position>;

/// Who listens to which workspace.
#[derive(Clone)]
pub(super) struct Watch {
    ears: Arc<Mutex<HashMap<WorkspaceId, Weak<watch::Receiver<Far>>>>>,
    looks: Arc<Semaphore>,
}

/// Rings when a workspace has changed. The look ends with the last of them.
pub(super) struct Bell {
    heard: watch::Receiver<Far>,
    _listening: Arc<watch::Receiver<Far>>,
}

impl Watch {
    /// Watches with at most as many looks at once as `looks` permits.
    pub(super) fn new(looks: Arc<Semaphore>) -> Self {
        Self { ears: Arc::default(), looks }
    }

    /// Listens to a workspace.
    pub(super) fn listen(&self, store: &Store, workspace: WorkspaceId) -> Bell {
        let mut ears = self.ears.lock().expect("no holder panics");
        ears.retain(|_, ear| ear.strong_count() > 0);
        if let Some(ear) = ears.get(&workspace).and_then(Weak::upgrade) {
            return Bell { heard: watch::Receiver::clone(&ear), _listening: ear };
        }
        let (tell, heard) = watch::channel(None);
        let ear = Arc::new(heard.clone());
        ears.insert(workspace, Arc::downgrade(&ear));
        tokio::spawn(look(store.clone(), workspace, tell, Arc::clone(&self.looks)));
        Bell { heard, _listening: ear }
    }
}

impl Bell {
    /// Waits until there is something new.
    pub(super) async fn rung(&mut self) {
        if self.heard.changed().await.is_err() {
            // Nobody looks any more: the heartbeat does.
            std::future::pending::<()>().await;
        }
    }

    /// Notes that everything up to now is being read.
    pub(super) fn note(&mut self) {
        self.heard.mark_unchanged();
    }
}

async fn look(
    store: Store,
    workspace: WorkspaceId,
    tell: watch::Sender<Far>,
    looks: Arc<Semaphore>,
) {
    loop {
        let looking = looks.acquire().await.expect("it is never closed");
        let far = changes::newest(&store, workspace).await;
        drop(looking);
        let wait = match far {
            Ok(far) => {
                tell.send_if_modified(|known| {
                    let is_new = *known != far;
                    *known = far;
                    is_new
                });
                LOOK
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "changes cannot be watched; trying again");
                TROUBLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = tell.closed() => return,
        }
    }
}
