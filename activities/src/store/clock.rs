//! The two clocks. Campaign time rules waits, windows, quota days, deadlines and the journal; wall
//! time rules leases, time-outs, signatures and skew. Both are the database's: everywhere else
//! `now` is a parameter.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// Both clocks, read at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clocks {
    /// What campaigns live by.
    pub campaign: DateTime<Utc>,
    /// What the world lives by.
    pub wall: DateTime<Utc>,
    /// Campaign seconds in a wall second: 1 in production.
    pub factor: f64,
}

impl Clocks {
    /// Returns the campaign time that comes `wall` wall time from now.
    pub fn campaign_in(&self, wall: TimeDelta) -> DateTime<Utc> {
        self.campaign + scale(wall, self.factor)
    }

    /// Returns how much wall time passes until the campaign time `at`; zero if it has passed.
    pub fn wall_until(&self, at: DateTime<Utc>) -> TimeDelta {
        scale(at - self.campaign, 1.0 / self.factor).max(TimeDelta::zero())
    }

    /// Returns how much wall time has passed since the campaign time `at`; zero if it is to come.
    pub fn wall_since(&self, at: DateTime<Utc>) -> TimeDelta {
        scale(self.campaign - at, 1.0 / self.factor).max(TimeDelta::zero())
    }
}

/// Reads both clocks. Inside a transaction it is the time of the call, not of the beginning.
pub async fn read(conn: &mut PgConnection) -> sqlx::Result<Clocks> {
    let row = sqlx::query!(
        r#"
        SELECT
            campaign_anchor + (w.now - real_anchor) * factor AS "campaign!",
            w.now AS "wall!",
            factor
        FROM clock, (SELECT clock_timestamp() AS now) AS w
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(Clocks { campaign: row.campaign, wall: row.wall, factor: row.factor })
}

/// Moves campaign time on to `at` at once; it never goes back. For demonstrations and tests.
pub async fn advance_to(conn: &mut PgConnection, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE clock
        SET campaign_anchor = greatest($1, campaign_anchor + (w.now - real_anchor) * factor),
            real_anchor = w.now
        FROM (SELECT clock_timestamp() AS now) AS w
        "#,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Has campaign time go on at `at`, or where it was anchored last if that is later, as if it had stood still
/// since. For demonstrations, before anything works by it.
pub async fn go_on_at(conn: &mut PgConnection, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE clock
        SET campaign_anchor = greatest($1, campaign_anchor), real_anchor = clock_timestamp()
        "#,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes campaign time run `factor` times as fast as wall time from now on.
pub async fn set_factor(conn: &mut PgConnection, factor: f64) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE clock
        SET campaign_anchor = campaign_anchor + (w.now - real_anchor) * clock.factor,
            real_anchor = w.now,
            factor = $1
        FROM (SELECT clock_timestamp() AS now) AS w
        "#,
        factor
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rounds up: what is to come is not now on the slowest clock, and what is due there was due for any time.
#[expect(clippy::cast_possible_truncation, reason = "a delta of milliseconds fits for ages")]
#[expect(clippy::cast_precision_loss, reason = "milliseconds of decades are exact in a double")]
fn scale(delta: TimeDelta, factor: f64) -> TimeDelta {
    TimeDelta::milliseconds((delta.num_milliseconds() as f64 * factor).ceil() as i64)
}
