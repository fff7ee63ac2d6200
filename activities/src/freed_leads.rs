//! Leads that the gate put off because something was taken: told as soon as it is free again, in the
//! transaction that frees it. What others hold locked is passed by and comes at its own time, so nobody
//! waits for anybody here.

use chrono::{DateTime, Utc};
use machine::signal::Signal;
use uuid::Uuid;

use crate::agents::offers;
use crate::error::Result;
use crate::ids;
use crate::store::signals::{self, Content, NewSignal};
use crate::store::{Tx, company_holds, waiting_leads};

/// How many leads that wait for an agent are looked at, the longest waiting first.
const FOR_AN_AGENT_MAX: i64 = 500;

/// How many leads are told at once that a colleague is free.
const OF_A_COMPANY_MAX: i64 = 500;

/// Tells who waits for an agent, but not `except`, to ask again: as many as there is room for, and of them
/// only those who would be offered to somebody now.
pub(crate) async fn ask_for_an_agent(
    tx: &mut Tx,
    except: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    let workspace = tx.workspace();
    let waiting = waiting_leads::for_an_agent(tx, workspace, except, FOR_AN_AGENT_MAX).await?;
    let next = offers::next_of(tx, &waiting, now).await?;
    let next = waiting_leads::lock_free(tx, workspace, &next).await?;
    tell(tx, next, now).await
}

/// Lets the companies go that were held on account of `enrollments`, and tells who waits for them.
pub(crate) async fn let_companies_go(
    tx: &mut Tx,
    enrollments: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    let workspace = tx.workspace();
    if !company_holds::let_go(tx, workspace, enrollments).await? {
        return Ok(());
    }
    // A statement of its own: it sees who came to wait while the holds were waited for.
    let waiting = company_holds::strike_off(tx, workspace, OF_A_COMPANY_MAX).await?;
    tell(tx, waiting, now).await
}

async fn tell(tx: &mut Tx, enrollments: Vec<Uuid>, now: DateTime<Utc>) -> Result<()> {
    if enrollments.is_empty() {
        return Ok(());
    }
    let workspace = tx.workspace();
    let source_key = format!("freed/{}", ids::new::<machine::ids::Send>());
    let told = enrollments.into_iter().map(|enrollment| NewSignal {
        enrollment: enrollment.into(),
        content: Content::Known(Signal::Freed),
        source_key: source_key.clone(),
        event: None,
        refs: None,
    });
    let told: Vec<NewSignal> = told.collect();
    signals::write(tx, workspace, &told, now).await?;
    Ok(())
}
