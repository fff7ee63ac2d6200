//! What there is to see of an enrollment, read from the rows.

use std::sync::Arc;

use activities::store::clock;
use chrono::{DateTime, Utc};
use machine::context::{Context, Facts};
use machine::enrollment::Enrollment;
use machine::explain::{self, Shown};
use machine::ids::{EnrollmentId, LeadId, SequenceId};
use sqlx::Row as _;

use super::Inner;
use crate::world::backend::Sight;

impl Inner {
    pub(super) async fn sight(&mut self, id: EnrollmentId) -> Sight {
        let row = sqlx::query(
            "SELECT e.snapshot, e.parked_at, e.lead_id, e.version, c.sequence_id, \
                    (SELECT d.cause FROM dead_letters d WHERE d.enrollment_id = e.enrollment_id \
                     ORDER BY d.at DESC LIMIT 1) AS cause, \
                    (SELECT j.facts FROM journal j WHERE j.enrollment_id = e.enrollment_id \
                     ORDER BY j.turn DESC LIMIT 1) AS facts \
             FROM enrollments e JOIN campaigns c USING (workspace_id, campaign_id) \
             WHERE e.enrollment_id = $1",
        )
        .bind(id.uuid())
        .fetch_one(&mut self.owner)
        .await
        .expect("it is enrolled");
        let parked: Option<DateTime<Utc>> = row.get("parked_at");
        let snapshot: Vec<u8> = row.get("snapshot");
        let enrollment: Option<Enrollment> =
            serde_json::from_slice(&snapshot).ok().filter(|_| parked.is_none());
        let facts: Option<String> = row.get("facts");
        let facts: Facts = facts
            .map(|facts| serde_json::from_str(&facts).expect("stored facts"))
            .unwrap_or_default();
        let name = (SequenceId::new(row.get("sequence_id")), row.get("version"));
        let mut tx = self.store.begin(self.workspace).await.expect("the database answers");
        let loaded = self.room.versions.get(&mut tx, self.workspace, &[name].into()).await;
        let loaded = Arc::clone(&loaded.expect("the version loads")[&name]);
        let now = clock::read(&mut tx).await.expect("a clock").campaign;
        drop(tx);
        let plan = enrollment.as_ref().map(|enrollment| {
            let context = Context {
                now,
                workspace: self.workspace,
                enrollment: id,
                lead: LeadId::new(row.get("lead_id")),
                version: &loaded.version,
                facts: &facts,
            };
            explain::explain(enrollment, &context)
        });
        let mut unanswered: Vec<String> = sqlx::query_scalar(
            "SELECT send_id || ' is ' || state FROM sends WHERE enrollment_id = $1 \
             AND state NOT IN ('accepted', 'rejected', 'cancelled') \
             UNION ALL SELECT kind || ' waits for a person' FROM tasks \
             WHERE enrollment_id = $1 AND closed_at IS NULL",
        )
        .bind(id.uuid())
        .fetch_all(&mut self.owner)
        .await
        .expect("the database answers");
        let open = enrollment.iter().flat_map(|enrollment| &enrollment.data.open);
        unanswered.extend(open.map(|open| format!("{open:?} is open")));
        let in_review: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sends WHERE enrollment_id = $1 AND state = 'needs_review'",
        )
        .bind(id.uuid())
        .fetch_one(&mut self.owner)
        .await
        .expect("the database answers");
        let mine = self.sent.iter().filter(|(of, _, _)| *of == id);
        Sight {
            state: plan.as_ref().map_or(Shown::Failed, |plan| plan.state),
            outcome: enrollment.as_ref().and_then(Enrollment::outcome),
            plan,
            enrollment,
            sends: mine.map(|(_, _, sent)| sent.clone()).collect(),
            unanswered,
            parked: parked.and_then(|_| row.get("cause")),
            in_review: usize::try_from(in_review).expect("a count"),
        }
    }
}
