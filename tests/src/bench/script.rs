//! What the engine writes for one lead, row by row, so that the limit can write the same. It is
//! taken from a small run of the engine itself: triggers note every row it writes.

use chrono::{DateTime, Utc};
use machine::ids::EnrollmentId;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::fill::Waits;

/// Tables whose rows the limit writes lead by lead.
const NOTED: [&str; 4] = ["enrollments", "journal", "sends", "send_contents"];

/// Makes the database note what is written to it.
pub const NOTE_ALL: &str = "
    CREATE TABLE bench_notes (
        n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, op text, row jsonb);
    CREATE FUNCTION bench_note() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
        BEGIN
            INSERT INTO bench_notes (name, op, row) VALUES (TG_TABLE_NAME, TG_OP, to_jsonb(NEW));
            RETURN NULL;
        END $$;
    CREATE TRIGGER bench_note AFTER UPDATE ON enrollments
        FOR EACH ROW EXECUTE FUNCTION bench_note();
    CREATE TRIGGER bench_note AFTER INSERT ON journal
        FOR EACH ROW EXECUTE FUNCTION bench_note();
    CREATE TRIGGER bench_note AFTER INSERT OR UPDATE ON sends
        FOR EACH ROW EXECUTE FUNCTION bench_note();
    CREATE TRIGGER bench_note AFTER INSERT OR UPDATE ON send_contents
        FOR EACH ROW EXECUTE FUNCTION bench_note();
";

/// What becomes of leads, written out.
#[derive(Debug)]
pub struct Script {
    /// A lead that gets every message.
    pub full: Course,
    /// A lead that answers the first.
    pub replying: Course,
}

/// What is written for one lead.
#[derive(Debug)]
pub struct Course {
    /// The lead it was taken from.
    pub enrollment: Uuid,
    /// That lead.
    pub lead: Uuid,
    /// Every turn in order.
    pub turns: Vec<Turn>,
    /// Every message in order.
    pub messages: Vec<Message>,
}

/// What one turn writes.
#[derive(Debug)]
pub struct Turn {
    /// The enrollment's row after it.
    pub enrollment: EnrollmentRow,
    /// Rows of the journal.
    pub journal: Vec<JournalRow>,
}

/// What is written about one message.
#[derive(Debug)]
pub struct Message {
    /// As it is planned.
    pub planned: SendRow,
    /// As it passes the gate.
    pub gated: SendRow,
    /// As it was accepted.
    pub accepted: SendRow,
    /// Its content.
    pub content: ContentRow,
}

/// A row of `enrollments`, as far as turns write it.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "the columns are described where the tables are made")]
pub struct EnrollmentRow {
    pub snapshot: Vec<u8>,
    pub turn: i32,
    pub applied_seq: i32,
    pub verb_seq: i32,
    pub state: String,
    pub why: Option<String>,
    pub until: Option<DateTime<Utc>>,
    pub next_step: Option<String>,
    pub next_at: Option<DateTime<Utc>>,
    pub changed_at: DateTime<Utc>,
    pub wake_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// A row of `journal`.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "the columns are described where the tables are made")]
pub struct JournalRow {
    pub turn: i32,
    pub cause: String,
    pub signal: String,
    pub from_state: String,
    pub to_state: String,
    pub effects: Option<String>,
    pub next_step: Option<String>,
    pub next_at: Option<DateTime<Utc>>,
    pub why: Option<String>,
    pub facts: Option<String>,
    pub rules: i16,
    pub snapshot: Option<Vec<u8>>,
}

/// A row of `sends`.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "the columns are described where the tables are made")]
pub struct SendRow {
    pub send_id: Uuid,
    pub kind: String,
    pub step_key: String,
    pub visit: i32,
    pub attempt: i32,
    pub after_seq: i32,
    pub channel: String,
    pub variant: Option<String>,
    pub state: String,
    pub detail: Option<String>,
    pub address: Option<String>,
    pub provider_id: Option<String>,
    pub message_id: Option<String>,
}

/// A row of `send_contents`.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "the columns are described where the tables are made")]
pub struct ContentRow {
    pub hash: Vec<u8>,
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
}

impl Script {
    /// Reads what was noted.
    pub async fn read(conn: &mut PgConnection) -> anyhow::Result<Self> {
        Ok(Self {
            full: Course::read(conn, Waits::None).await?,
            replying: Course::read(conn, Waits::Hour).await?,
        })
    }

    /// Returns the course that leads of a version take.
    pub fn of(&self, version: i32) -> &Course {
        if version == Waits::Hour.version() { &self.replying } else { &self.full }
    }

    /// Returns how many rows the journal has in the end, for `n` leads.
    pub fn transitions(&self, full: i64, replying: i64) -> i64 {
        let rows = |course: &Course| {
            let rows: usize = course.turns.iter().map(|turn| turn.journal.len()).sum();
            i64::try_from(rows).unwrap_or_default()
        };
        full * rows(&self.full) + replying * rows(&self.replying)
    }
}

impl Course {
    async fn read(conn: &mut PgConnection, waits: Waits) -> anyhow::Result<Self> {
        let (enrollment, lead): (Uuid, Uuid) = sqlx::query_as(
            "SELECT enrollment_id, lead_id FROM enrollments \
             WHERE version = $1 AND ended_at IS NOT NULL ORDER BY enrollment_id LIMIT 1",
        )
        .bind(waits.version())
        .fetch_one(&mut *conn)
        .await?;
        let [rows, journal, sends, contents] = NOTED;
        let rows: Vec<EnrollmentRow> = noted(conn, rows, enrollment).await?;
        let mut journal: Vec<JournalRow> = noted(conn, journal, enrollment).await?;
        let sends: Vec<SendRow> = noted(conn, sends, enrollment).await?;
        let mut turns = Vec::new();
        for row in rows {
            // A signal that comes in writes the row too, and is no turn.
            let upto = journal.partition_point(|entry| entry.turn <= row.turn);
            let entries: Vec<JournalRow> = journal.drain(..upto).collect();
            if !entries.is_empty() {
                turns.push(Turn { enrollment: row, journal: entries });
            }
        }
        let mut messages = Vec::new();
        for planned in sends.iter().filter(|send| send.state == "planned") {
            let then = |state: &str| {
                let found =
                    sends.iter().find(|it| it.send_id == planned.send_id && it.state == state);
                found.cloned().ok_or_else(|| anyhow::anyhow!("a send of the sample is not {state}"))
            };
            let mut content: Vec<ContentRow> = noted(conn, contents, planned.send_id).await?;
            messages.push(Message {
                gated: then("dispatching")?,
                accepted: then("accepted")?,
                planned: planned.clone(),
                content: content
                    .pop()
                    .ok_or_else(|| anyhow::anyhow!("a send of the sample has no content"))?,
            });
        }
        Ok(Self { enrollment, lead, turns, messages })
    }

    /// Returns `text` as it would have been written for another lead. Ids are equally long.
    pub fn told_of(&self, text: &str, other: EnrollmentId, lead: Uuid, sends: &[Uuid]) -> String {
        let mut told = text
            .replace(&self.enrollment.to_string(), &other.to_string())
            .replace(&self.lead.to_string(), &lead.to_string());
        for (message, send) in self.messages.iter().zip(sends) {
            told = told.replace(&message.planned.send_id.to_string(), &send.to_string());
        }
        told
    }
}

/// Returns the rows of `name` that were noted about `id`, oldest first.
async fn noted<R>(conn: &mut PgConnection, name: &str, id: Uuid) -> anyhow::Result<Vec<R>>
where
    R: for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    let key = if name == "send_contents" { "send_id" } else { "enrollment_id" };
    let sql = format!(
        "SELECT (jsonb_populate_record(NULL::{name}, row)).* FROM bench_notes \
         WHERE name = '{name}' AND row->>'{key}' = $1 ORDER BY n"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.to_string()).fetch_all(conn).await?)
}
