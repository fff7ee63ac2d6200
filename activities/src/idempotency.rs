//! A request that is repeated under its `Idempotency-Key` gets the answer of the first time, for a
//! day. Who makes it, what it asks and what it was answered are bytes here; HTTP is not known.

use chrono::{DateTime, TimeDelta, Utc};
use machine::ids::WorkspaceId;
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use crate::api_keys::ApiKeyId;
use crate::error::{ActivityError, Result};
use crate::key_ring::KeyRing;
use crate::seal::{self, Place};
use crate::store::idempotent_answers::{self as store, AnswerRow};
use crate::store::{Store, Tx, clock};

/// How long an answer is kept.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// A request that is not answered after this long lost its process: whoever repeats it, does it.
const ABANDONED: TimeDelta = TimeDelta::minutes(5);

/// How much is forgotten beside each new request.
const EXPIRED_MAX: i64 = 20;

/// One request as its maker names it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Who makes it.
    pub key: ApiKeyId,
    /// Its name, unique for its maker.
    pub idempotency_key: String,
    /// SHA-256 of all that it asks.
    pub fingerprint: [u8; 32],
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// How a request stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has it: the caller works on it, and finishes or drops it.
    Claimed,
    /// It was answered.
    Answered(Answer),
    /// Somebody works on it.
    UnderWay,
    /// Its name stands for another request.
    Different,
}

/// Claims a request, or tells what became of it.
///
/// # Errors
///
/// When the database fails, or a stored answer cannot be opened.
pub async fn claim(store: &Store, keys: &KeyRing, request: &Request) -> Result<Standing> {
    let mut tx = store.begin(request.workspace).await?;
    let now = clock::read(&mut tx).await?.wall;
    store::expire(&mut tx, request.workspace, now - KEPT, EXPIRED_MAX).await?;
    let (workspace, key, name) =
        (request.workspace, request.key.uuid(), request.idempotency_key.as_str());
    let is_new = store::claim(&mut tx, workspace, key, name, &request.fingerprint, now).await?;
    let standing = if is_new {
        Standing::Claimed
    } else {
        match store::find(&mut tx, workspace, key, name).await? {
            Some(row) => known(&mut tx, keys, request, row, now).await?,
            // Dropped this moment: the next try finds it free.
            None => Standing::UnderWay,
        }
    };
    tx.commit().await?;
    Ok(standing)
}

async fn known(
    tx: &mut Tx,
    keys: &KeyRing,
    request: &Request,
    row: AnswerRow,
    now: DateTime<Utc>,
) -> Result<Standing> {
    if row.fingerprint != request.fingerprint {
        return Ok(Standing::Different);
    }
    if let (Some(status), Some(headers), Some(body)) = (row.status, row.headers, row.body) {
        return answer(keys, request, status, headers, &body).map(Standing::Answered);
    }
    if now - row.begun_at < ABANDONED {
        return Ok(Standing::UnderWay);
    }
    let (key, name) = (request.key.uuid(), request.idempotency_key.as_str());
    let is_ours = store::take_over(tx, request.workspace, key, name, row.begun_at, now).await?;
    Ok(if is_ours { Standing::Claimed } else { Standing::UnderWay })
}

fn answer(
    keys: &KeyRing,
    request: &Request,
    status: i16,
    headers: Value,
    body: &[u8],
) -> Result<Answer> {
    let stored = |why: String| ActivityError::Stored { what: "answer", why };
    let body = seal::open(keys, place(request), body)
        .map_err(|error| ActivityError::Secret(error.to_string()))?;
    Ok(Answer {
        status: status.try_into().map_err(|_| stored(format!("{status} is no status")))?,
        headers: serde_json::from_value(headers).map_err(|error| stored(error.to_string()))?,
        body: body.expose_secret().to_vec(),
    })
}

/// Keeps the answer of a claimed request.
///
/// # Errors
///
/// When the database fails.
pub async fn finish(
    store: &Store,
    keys: &KeyRing,
    request: &Request,
    answer: &Answer,
) -> Result<()> {
    let sealed = seal::seal(keys, place(request), &answer.body);
    let headers = serde_json::to_value(&answer.headers).expect("texts are JSON");
    let status = i16::try_from(answer.status).expect("a status has three digits");
    let (key, name) = (request.key.uuid(), request.idempotency_key.as_str());
    let mut tx = store.begin(request.workspace).await?;
    store::finish(&mut tx, request.workspace, key, name, status, &headers, &sealed).await?;
    tx.commit().await
}

/// Gives a claimed request up: nothing was done, and it may be made again.
///
/// # Errors
///
/// When the database fails.
pub async fn drop_claim(store: &Store, request: &Request) -> Result<()> {
    let (key, name) = (request.key.uuid(), request.idempotency_key.as_str());
    let mut tx = store.begin(request.workspace).await?;
    store::forget(&mut tx, request.workspace, key, name).await?;
    tx.commit().await
}

fn place(request: &Request) -> Place<'static> {
    let row = Uuid::new_v5(&request.key.uuid(), request.idempotency_key.as_bytes());
    Place { table: "idempotent_answers", column: "body", workspace: request.workspace.uuid(), row }
}
