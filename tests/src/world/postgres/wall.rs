//! The wall clock of a world whose leads sleep on timers: it runs from one moment to the next and stands
//! still at each until all that is due has happened. Campaign time runs so much faster that timers are
//! short. The world's database answers `clock_timestamp()` by it, but for the defaults of columns. Whoever
//! asks it for the time may be made to wait, but for the test.

use std::time::Duration;

use activities::store::Store;
use activities::store::clock::{self, Clocks};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use url::Url;

/// How many times as fast as this clock campaign time runs: a day in a second.
pub(super) const FACTOR: f64 = 86_400.0;

/// Puts it up in a database, for whoever connects from now on. It stands still.
pub(super) async fn put_up(owner: &mut PgConnection) {
    sqlx::raw_sql(
        "CREATE SCHEMA staged;
         GRANT USAGE ON SCHEMA staged TO PUBLIC;
         CREATE TABLE staged.wall AS SELECT now() AS since, now() AS at, interval '0' AS span;
         CREATE FUNCTION staged.clock_timestamp() RETURNS timestamptz
             LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS
         $$BEGIN
             IF current_setting('staged.asker', true) IS DISTINCT FROM 'test' THEN
                 PERFORM pg_advisory_xact_lock_shared(1);
             END IF;
             RETURN (SELECT at + least(clock_timestamp() - since, span) FROM staged.wall);
         END$$;
         DO $$BEGIN
             EXECUTE format('ALTER DATABASE %I SET search_path = staged, pg_catalog, public',
                            current_database());
         END$$;",
    )
    .execute(owner)
    .await
    .expect("a clock is put up");
}

/// Returns where the test itself connects: it is told the time at any time.
pub(super) fn url_of_the_test(database: &str) -> String {
    let mut url: Url = database.parse().expect("our own URL");
    url.query_pairs_mut()
        .append_pair("options[staged.asker]", "test")
        // One that waits for a lock of somebody who waits for the time would wait for ever.
        .append_pair("options[lock_timeout]", "60s");
    url.into()
}

/// From now on nobody is told the time but the test. For a world at rest: turns ask for the time first, but
/// whoever sends or records locks its lead before.
pub(super) async fn hide(owner: &mut PgConnection) {
    sqlx::query("SELECT pg_advisory_lock(1)").execute(owner).await.expect("the clock is hidden");
}

/// Everybody is told the time again.
pub(super) async fn show(owner: &mut PgConnection) {
    sqlx::query("SELECT pg_advisory_unlock(1)").execute(owner).await.expect("the clock is shown");
}

/// Lets it run until campaign time is `to`, and stand still there.
pub(super) async fn run_to(owner: &mut PgConnection, store: &Store, to: DateTime<Utc>) {
    let span = span_short_of(read(store).await, to);
    sqlx::query("UPDATE staged.wall SET span = $1, since = pg_catalog.clock_timestamp()")
        .bind(span)
        .execute(&mut *owner)
        .await
        .expect("the clock runs");
    while let Some(left) = time_left(owner).await {
        tokio::time::sleep(left).await;
    }
    sqlx::query("UPDATE staged.wall SET at = at + span, span = '0'")
        .execute(owner)
        .await
        .expect("the clock stands");
    // What is missing yet is shorter than any timer.
    let mut conn = store.begin_outside().await.expect("the database answers");
    clock::advance_to(&mut conn, to).await.expect("a clock");
    conn.commit().await.expect("a commit");
}

/// Returns how long it will still run, if it does.
async fn time_left(owner: &mut PgConnection) -> Option<Duration> {
    let left: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM since + span - pg_catalog.clock_timestamp())::float8
         FROM staged.wall",
    )
    .fetch_one(owner)
    .await
    .expect("the database answers");
    (left > 0.0).then(|| Duration::from_secs_f64(left))
}

async fn read(store: &Store) -> Clocks {
    let mut conn = store.begin_outside().await.expect("the database answers");
    clock::read(&mut conn).await.expect("a clock")
}

/// Returns how long it runs until campaign time is all but `to`.
#[expect(clippy::cast_precision_loss, reason = "microseconds of decades are exact in a double")]
#[expect(clippy::cast_possible_truncation, reason = "a test takes no ages")]
fn span_short_of(clocks: Clocks, to: DateTime<Utc>) -> TimeDelta {
    let far = (to - clocks.campaign).num_microseconds().expect("less than ages") as f64;
    let span = TimeDelta::microseconds((far / clocks.factor).floor() as i64 - 1);
    span.max(TimeDelta::zero())
}
