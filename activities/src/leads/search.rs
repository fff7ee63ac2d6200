//! Finding leads. A condition on a column of the lead is the planner's business; what stands in other
//! tables (tags, states, addresses) is listed there first if it is rare enough, so that nobody walks
//! through a million leads for the ten with a tag. Where nothing is, the way leads through the leads in
//! the order of their ids for as long as what is found promises a full page soon: neighbours lie
//! together, and each costs a hundredth of one that an index names. What is rare together only is then
//! tried together, without an order, which would tempt the planner to walk through all leads in theirs.
//! It is the last resort, because all indexes begin with the workspace, and Postgres never intersects
//! two that share a condition: it reads every lead that the best of them names.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use machine::explain::Shown;
use machine::ids::{LeadId, WorkspaceId};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::{ActivityError, Result};
use crate::store::lead_search::{self, Among, Filter, Stretch};
use crate::store::lead_views::{self, LeadView};
use crate::tag::Tag;

/// Leads that are listed at a time. A list that is shorter is all there is.
const CHUNK: usize = 5_000;

/// How far the way through all leads goes.
const WALK: Bounds = Bounds { first: 10_000, all: 250_000 };

/// How far the way through those with a tag goes, who lie apart.
const TAGGED_WALK: Bounds = Bounds { first: 500, all: 50_000 };

/// Leads with a tag that are asked in one statement.
const TAGGED_MAX: usize = 25_000;

/// How many times as far as it came a walk goes with its next step.
const STRIDE: usize = 10;

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
    State(&'a str),
    /// Who may have replied.
    Answering,
    /// Who may have been written to.
    Contacted,
}

/// How far a walk goes, in leads.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Its first step.
    first: usize,
    /// As far as it may promise to go.
    all: usize,
}

/// Whether there is more to do.
enum Way {
    /// The page is full, or there is nobody else.
    Ended,
    /// There may be others.
    Open,
}

/// A way through the leads in the order of their ids.
struct Walk<'a> {
    conn: &'a mut PgConnection,
    workspace: WorkspaceId,
    filter: &'a Filter<'a>,
    limit: i64,
    began: Instant,
    limit_of_time: Duration,
    /// Behind whom it goes on.
    after: Uuid,
    /// Leads that were asked.
    asked: usize,
    /// Those who passed.
    found: Vec<Uuid>,
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
    let began = Instant::now();
    lead_search::plan_for_values(conn, limit_of_time).await?;
    let filter = query.filter();
    let mut walk = Walk {
        conn,
        workspace,
        filter: &filter,
        limit,
        began,
        limit_of_time,
        after: after.map_or(Uuid::nil(), LeadId::uuid),
        asked: 0,
        found: Vec::new(),
    };
    match walk.find().await {
        Ok(()) => Ok(walk.found.into_iter().map(LeadId::new).collect()),
        Err(ActivityError::Database(sqlx::Error::Database(error)))
            if error.code().as_deref() == Some(CANCELED) =>
        {
            Err(ActivityError::SearchTooSlow(limit_of_time))
        }
        Err(error) => Err(error),
    }
}

impl Walk<'_> {
    /// Finds a page. No statement takes longer than the whole may.
    async fn find(&mut self) -> Result<()> {
        if self.filter.tag.is_some() {
            if let Way::Ended = self.step(Among::Tagged, TAGGED_WALK.first).await? {
                return Ok(());
            }
            if let Way::Ended = self.last_tagged(CHUNK).await? {
                return Ok(());
            }
        }
        let mut long = None;
        for listed in Listed::of(self.filter) {
            let chunk = listed.next(self.conn, self.workspace, self.after).await?;
            if chunk.len() < CHUNK {
                self.these(&chunk).await?;
                return Ok(());
            }
            long.get_or_insert((listed, chunk));
        }
        if let Some(text) = self.filter.text {
            let few = lead_search::named(self.conn, self.workspace, text, rows(CHUNK)).await?;
            if few.len() < CHUNK {
                self.these(&few).await?;
                return Ok(());
            }
        }
        // A text alone is looked for in the addresses of everybody who is passed: a list costs less.
        if self.filter.tag.is_some() {
            if let Way::Ended = self.walk(Among::Tagged, TAGGED_WALK).await? {
                return Ok(());
            }
            if let Way::Ended = self.last_tagged(TAGGED_MAX).await? {
                return Ok(());
            }
        } else if (self.filter.is_of_columns() || self.filter.text.is_none() && long.is_some())
            && let Way::Ended = self.walk(Among::Everybody, WALK).await?
        {
            return Ok(());
        }
        if let Way::Ended = self.few().await? {
            return Ok(());
        }
        match (self.filter.tag, long) {
            (Some(_), _) => self.tagged().await?,
            (None, Some((listed, chunk))) => self.listed(listed, chunk).await?,
            (None, None) => {
                self.pass(Among::Everybody, None).await?;
            }
        }
        Ok(())
    }

    /// Goes through leads for as long as what is found promises a full page within the bounds.
    async fn walk(&mut self, among: Among<'_>, bounds: Bounds) -> Result<Way> {
        loop {
            let step = if self.asked == 0 {
                bounds.first
            } else {
                let page = usize::try_from(self.limit).expect("a page is short");
                let promised = self.asked.saturating_mul(page) / self.found.len().max(1);
                if promised > bounds.all {
                    return Ok(Way::Open);
                }
                // Where one lead is wanted, and nobody was found, nothing more is promised.
                (promised - self.asked).clamp(bounds.first, self.asked * STRIDE)
            };
            if let Way::Ended = self.step(among, step).await? {
                return Ok(Way::Ended);
            }
        }
    }

    /// Asks the next leads.
    async fn step(&mut self, among: Among<'_>, count: usize) -> Result<Way> {
        let end = self.end_of(among, count).await?;
        self.asked += count;
        self.pass(among, end).await
    }

    async fn end_of(&mut self, among: Among<'_>, count: usize) -> Result<Option<Uuid>> {
        let tag = match among {
            Among::Tagged => self.filter.tag,
            Among::Everybody | Among::These(_) => None,
        };
        Ok(lead_search::end_of(self.conn, self.workspace, tag, self.after, rows(count)).await?)
    }

    /// Asks those who are left with the tag, if they are fewer than `count`.
    async fn last_tagged(&mut self, count: usize) -> Result<Way> {
        match self.end_of(Among::Tagged, count).await? {
            Some(_) => Ok(Way::Open),
            None => self.pass(Among::Tagged, None).await,
        }
    }

    /// Asks everybody with the tag.
    async fn tagged(&mut self) -> Result<()> {
        while let Way::Open = self.step(Among::Tagged, TAGGED_MAX).await? {}
        Ok(())
    }

    /// Asks these leads, who are all there are.
    async fn these(&mut self, leads: &[Uuid]) -> Result<Way> {
        self.pass(Among::These(leads), None).await
    }

    /// Asks those of whom few have what is asked of their columns, or have a number.
    async fn few(&mut self) -> Result<Way> {
        let (workspace, filter) = (self.workspace, self.filter);
        if filter.is_of_columns() {
            let limit = rows(COLUMNS_MAX);
            let few =
                lead_search::in_columns(self.conn, workspace, filter, self.after, limit).await?;
            if few.len() < COLUMNS_MAX {
                return self.these(&few).await;
            }
        }
        if filter.has_email == Some(false) {
            // Who is not reached by mail is reached by telephone.
            let few = lead_search::of_numbers(self.conn, workspace, rows(CHUNK)).await?;
            if few.len() < CHUNK {
                return self.these(&few).await;
            }
        }
        Ok(Way::Open)
    }

    /// Asks everybody who is listed, chunk by chunk.
    async fn listed(&mut self, listed: Listed<'_>, mut chunk: Vec<Uuid>) -> Result<()> {
        loop {
            let last = chunk.last().copied().filter(|_| chunk.len() == CHUNK);
            let end = last.map(|last| last.max(self.after));
            if let Way::Ended = self.pass(Among::These(&chunk), end).await? {
                return Ok(());
            }
            chunk = listed.next(self.conn, self.workspace, self.after).await?;
        }
    }

    /// Asks leads up to `end`, or all that are left.
    async fn pass(&mut self, among: Among<'_>, end: Option<Uuid>) -> Result<Way> {
        let wanted = self.limit - rows(self.found.len());
        let stretch = Stretch { after: self.after, up_to: end };
        let (workspace, filter) = (self.workspace, self.filter);
        self.found.extend(
            lead_search::passing(self.conn, workspace, filter, among, stretch, wanted).await?,
        );
        let Some(end) = end.filter(|_| rows(self.found.len()) < self.limit) else {
            return Ok(Way::Ended);
        };
        self.after = end;
        if self.began.elapsed() >= self.limit_of_time {
            return Err(ActivityError::SearchTooSlow(self.limit_of_time));
        }
        Ok(Way::Open)
    }
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).expect("a page is short")
}

impl<'a> Listed<'a> {
    /// What of a filter stands in lists.
    fn of(filter: &Filter<'a>) -> impl Iterator<Item = Self> + use<'a> {
        let stage = filter.stage.map(str::to_ascii_lowercase);
        let stage = match stage.as_deref() {
            Some("replied") => Some(Self::Answering),
            Some("contacted") => Some(Self::Contacted),
            Some(_) | None => None,
        };
        filter.state.map(Self::State).into_iter().chain(stage)
    }

    async fn next(
        self,
        conn: &mut PgConnection,
        workspace: WorkspaceId,
        after: Uuid,
    ) -> sqlx::Result<Vec<Uuid>> {
        let limit = rows(CHUNK);
        match self {
            Self::State(state) => lead_search::in_state(conn, workspace, state, after, limit).await,
            Self::Answering => lead_search::answering(conn, workspace, after, limit).await,
            Self::Contacted => lead_search::contacted(conn, workspace, after, limit).await,
        }
    }
}
