//! What sleeping leads take: room in the table and its indexes, as they stand after one message each
//! and packed on a copy.

use serde::Serialize;
use sqlx::PgConnection;

use super::report::{BytesPerLead, Report};
use super::server;

/// What was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sizes {
    /// As the engine left the table.
    pub standing: BytesPerLead,
    /// On a packed copy.
    pub packed: BytesPerLead,
    /// The whole database, in bytes.
    pub database: i64,
}

/// Measures the enrollments of a database.
pub async fn measure(url: &str, n: i64) -> anyhow::Result<Sizes> {
    let mut conn = server::connect(url).await?;
    let standing = per_lead(&mut conn, "enrollments", n).await?;
    let (database,): (i64,) =
        sqlx::query_as("SELECT pg_database_size(current_database())").fetch_one(&mut conn).await?;
    sqlx::raw_sql(
        "CREATE TABLE enrollments_copy (LIKE enrollments INCLUDING ALL); \
         INSERT INTO enrollments_copy SELECT * FROM enrollments; VACUUM FULL enrollments_copy",
    )
    .execute(&mut conn)
    .await?;
    let packed = per_lead(&mut conn, "enrollments_copy", n).await?;
    Ok(Sizes { standing, packed, database })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn per_lead(conn: &mut PgConnection, table: &str, n: i64) -> anyhow::Result<BytesPerLead> {
    let (heap, index): (i64, i64) =
        sqlx::query_as("SELECT pg_table_size($1::regclass), pg_indexes_size($1::regclass)")
            .bind(table)
            .fetch_one(conn)
            .await?;
    let share = |bytes: i64| bytes as f64 / n as f64;
    Ok(BytesPerLead { heap: share(heap), index: share(index), all: share(heap + index) })
}

impl Sizes {
    /// Returns the line for people.
    pub fn line(&self, n: i64, report: &Report) -> String {
        let idle = report.idle_cpu_s.unwrap_or_default();
        format!(
            "bench sleep engine=postgres n={n} bytes_per_lead={:.0} (heap {:.0}, index {:.0}) \
             as_it_stands={:.0} (heap {:.0}, index {:.0}) database_mb={} rss_mb={:.1} \
             idle_cpu_s={:.2} (engine {:.2}, postgres {:.2})",
            self.packed.all,
            self.packed.heap,
            self.packed.index,
            self.standing.all,
            self.standing.heap,
            self.standing.index,
            self.database >> 20,
            megabytes(report.rss_bytes),
            idle.of_run(),
            idle.engine,
            idle.store,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}
