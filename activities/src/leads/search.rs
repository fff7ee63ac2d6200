//! Finding leads. A condition on a column of the lead is the planner's business; what stands in other
//! tables (tags, states, addresses) is listed there first if it is rare enough, so that nobody walks
//! through a million leads for the ten with a tag. Conditions that are rare together only are tried
//! together, without an order, which would tempt the planner to walk through all leads in theirs.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use machine::explain::Shown;
use machine::ids::{LeadId, WorkspaceId};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::{ActivityError, Result};
use crate::store::lead_search::{self, Filter};
use crate::store::lead_views::{self, LeadView};
use crate::tag::Tag;

/// Leads that are listed at a time. A list that is shorter is all there is.
const CHUNK: usize = 5_000;

/// How long a list may take that somebody waits for.
const LIST_MAX: Duration = Duration::from_secs(2);

/// How long a search may take where nobody waits.
const WORK_MAX: Duration = Duration::from_secs(10);

/// How Postgres says that a statement took longer than it may.
const CANCELED: &str = "57014";

/// Leads that several conditions on columns may leave, so that everything else is asked of them alone.
const COLUMNS_MAX: usize = 25_000;

/// What is looked for: all of it at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Query {
    /// An enrollment of the lead is in this state.
    pub state: Option<Shown>,
    /// The lead has this tag.
    pub tag: Option<Tag>,
    /// Its attribute `country` is this one, in any case of letters.
    pub country: Option<String>,
    /// Its attribute `tier` is this one, in any case of letters.
    pub tier: Option<String>,
    /// Its attribute `score` is this number or a larger one.
    pub score_min: Option<f64>,
    /// An address, its name, its last name or its company begins with this, in any case of letters.
    pub text: Option<String>,
    /// It came to us then or later, in campaign time.
    pub since: Option<DateTime<Utc>>,
    /// What is known of how it came to us begins with this, as in `import/`.
    pub source: Option<String>,
    /// It stands there with us, in any case of letters: `new`, `contacted` or `replied` by what
    /// happened, or what people say of it.
    pub stage: Option<String>,
    /// Whether it has a mail address.
    pub has_email: Option<bool>,
}

impl Query {
    fn filter(&self) -> Filter<'_> {
        Filter {
            state: self.state.map(Shown::as_str),
            tag: self.tag.as_ref().map(Tag::as_str),
            country: self.country.as_deref(),
            tier: self.tier.as_deref(),
            score_min: self.score_min,
            text: self.text.as_deref(),
            since: self.since,
            source: self.source.as_deref(),
            stage: self.stage.as_deref(),
            has_email: self.has_email,
        }
    }
}

/// Something by which leads are listed in the order of their ids.
#[derive(Debug, Clone, Copy)]
enum Listed<'a> {
    Tag(&'a str),
    State(&'a str),
    /// Who may have replied.
    Answering,
    /// Who may have been written to.
    Contacted,
}

/// Returns up to `limit` leads that `query` asks for, behind `after` in the order of their ids. Those
/// that were erased are left out.
///
/// # Errors
///
/// When the database fails, or the search takes longer than two seconds.
pub async fn page(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    query: &Query,
    after: Option<LeadId>,
    limit: i64,
) -> Result<Vec<LeadView>> {
    let found = within(LIST_MAX, conn, workspace, query, after, limit).await?;
    Ok(lead_views::by_ids(conn, workspace, &found).await?)
}

/// As [`page`], but the ids of the leads only, and with more time.
///
/// # Errors
///
/// When the database fails, or the search takes longer than ten seconds.
pub async fn ids(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    query: &Query,
    after: Option<LeadId>,
    limit: i64,
) -> Result<Vec<LeadId>> {
    within(WORK_MAX, conn, workspace, query, after, limit).await
}

async fn within(
    limit_of_time: Duration,
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    query: &Query,
    after: Option<LeadId>,
    limit: i64,
) -> Result<Vec<LeadId>> {
    let deadline = Instant::now() + limit_of_time;
    lead_search::plan_for_values(conn, limit_of_time).await?;
    let after = after.map_or(Uuid::nil(), LeadId::uuid);
    match find(conn, workspace, &query.filter(), after, limit, deadline).await {
        Ok(Some(found)) => Ok(found.into_iter().map(LeadId::new).collect()),
        Ok(None) => Err(ActivityError::SearchTooSlow(limit_of_time)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(CANCELED) => {
            Err(ActivityError::SearchTooSlow(limit_of_time))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns what is found, or `None` where the deadline passes first. No statement takes longer than the
/// whole may.
async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter<'_>,
    mut after: Uuid,
    limit: i64,
    deadline: Instant,
) -> sqlx::Result<Option<Vec<Uuid>>> {
    let mut long = None;
    let stage = filter.stage.map(str::to_ascii_lowercase);
    let stage = match stage.as_deref() {
        Some("replied") => Some(Listed::Answering),
        Some("contacted") => Some(Listed::Contacted),
        _ => None,
    };
    let lists = filter.tag.map(Listed::Tag).into_iter();
    let lists = lists.chain(filter.state.map(Listed::State));
    for listed in lists.chain(stage) {
        let chunk = listed.next(conn, workspace, after).await?;
        if chunk.len() < CHUNK {
            return lead_search::passing(conn, workspace, filter, Some(&chunk), after, limit)
                .await
                .map(Some);
        }
        long.get_or_insert((listed, chunk));
    }
    if let Some(text) = filter.text {
        let few = lead_search::named(conn, workspace, text, rows(CHUNK)).await?;
        if few.len() < CHUNK {
            return lead_search::passing(conn, workspace, filter, Some(&few), after, limit)
                .await
                .map(Some);
        }
    }
    let columns = filter.columns();
    if columns > 1 || columns == 1 && filter.is_more_than_columns() {
        let limit_of_few = rows(COLUMNS_MAX);
        let few = lead_search::in_columns(conn, workspace, filter, after, limit_of_few).await?;
        if few.len() < COLUMNS_MAX {
            return lead_search::passing(conn, workspace, filter, Some(&few), after, limit)
                .await
                .map(Some);
        }
    }
    if filter.has_email == Some(false) {
        // Who is not reached by mail is reached by telephone.
        let few = lead_search::of_numbers(conn, workspace, rows(CHUNK)).await?;
        if few.len() < CHUNK {
            return lead_search::passing(conn, workspace, filter, Some(&few), after, limit)
                .await
                .map(Some);
        }
    }
    let Some((listed, mut chunk)) = long else {
        return lead_search::passing(conn, workspace, filter, None, after, limit).await.map(Some);
    };
    let mut found = Vec::new();
    loop {
        let wanted = limit - rows(found.len());
        let among = Some(chunk.as_slice());
        found.extend(lead_search::passing(conn, workspace, filter, among, after, wanted).await?);
        let (Some(last), true) = (chunk.last(), chunk.len() == CHUNK && rows(found.len()) < limit)
        else {
            return Ok(Some(found));
        };
        if Instant::now() >= deadline {
            return Ok(None);
        }
        after = *last;
        chunk = listed.next(conn, workspace, after).await?;
    }
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).expect("a page is short")
}

impl Listed<'_> {
    async fn next(
        self,
        conn: &mut PgConnection,
        workspace: WorkspaceId,
        after: Uuid,
    ) -> sqlx::Result<Vec<Uuid>> {
        let limit = rows(CHUNK);
        match self {
            Self::Tag(tag) => lead_search::tagged(conn, workspace, tag, after, limit).await,
            Self::State(state) => lead_search::in_state(conn, workspace, state, after, limit).await,
            Self::Answering => lead_search::answering(conn, workspace, after, limit).await,
            Self::Contacted => lead_search::contacted(conn, workspace, after, limit).await,
        }
    }
}
