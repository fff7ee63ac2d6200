//! What the full limit writes, statement by statement, many leads at once.

use std::collections::BTreeMap;

use activities::store::clock::Clocks;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::Shared;
use crate::bench::script::Turn;

/// A statement with its values.
type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Messages pass the gate.
pub(super) fn pass<'q>(
    shared: &Shared,
    n: usize,
    leads: &[usize],
    clocks: Clocks,
) -> Statement<'q> {
    let job = &shared.job;
    let all = || leads.iter().map(|lead| &shared.leads[*lead]);
    sqlx::query(
        "UPDATE sends AS s SET state = 'dispatching', fence = s.fence + 1, runner_id = $2, \
             gate_at = $3, lease_until = $4, address = u.address, message_id = u.message_id, \
             gate_day = $5, gate_campaign_day = $5 \
         FROM unnest($1::uuid[], $6::uuid[], $7::text[], $8::text[]) \
              AS u (workspace_id, send_id, address, message_id) \
         WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id",
    )
    .bind(vec![job.campaign.workspace.uuid(); leads.len()])
    .bind(job.campaign.campaign.uuid())
    .bind(clocks.campaign)
    .bind(clocks.wall + TimeDelta::minutes(15))
    .bind(clocks.campaign.date_naive())
    .bind(all().map(|lead| lead.sends[n]).collect::<Vec<_>>())
    .bind(all().map(|lead| lead.address.as_str()).collect::<Vec<_>>())
    .bind(all().map(|lead| lead.message_ids[n].as_str()).collect::<Vec<_>>())
}

/// Their contents are kept.
pub(super) fn keep<'q>(shared: &Shared, n: usize, leads: &[usize]) -> Statement<'q> {
    let all = || leads.iter().map(|lead| &shared.course(*lead).messages[n]);
    sqlx::query(
        "INSERT INTO send_contents (workspace_id, send_id, hash, subject, text, html) \
         SELECT $1, u.* FROM unnest($2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[]) AS u",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(leads.iter().map(|lead| shared.leads[*lead].sends[n]).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.hash.as_slice()).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.subject.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.text.as_str()).collect::<Vec<_>>())
    .bind(all().map(|it| it.content.html.as_deref()).collect::<Vec<_>>())
}

/// They count against the quotas of the day.
pub(super) fn use_quotas<'q>(shared: &Shared, leads: &[usize], today: NaiveDate) -> Statement<'q> {
    let job = &shared.job;
    let mut used = BTreeMap::<(&str, Uuid), i32>::new();
    for lead in leads {
        *used.entry(("sender_day", shared.leads[*lead].sender)).or_default() += 1;
        *used.entry(("campaign_day", job.campaign.campaign.uuid())).or_default() += 1;
    }
    sqlx::query(
        "INSERT INTO quotas (workspace_id, scope, scope_id, day, used, max) \
         SELECT $1, u.scope, u.id, $2, u.n, 1000000 \
         FROM unnest($3::text[], $4::uuid[], $5::int[]) AS u (scope, id, n) \
         ON CONFLICT (workspace_id, scope, scope_id, day) DO UPDATE \
         SET used = quotas.used + excluded.used",
    )
    .bind(job.campaign.workspace.uuid())
    .bind(today)
    .bind(used.keys().map(|(scope, _)| *scope).collect::<Vec<_>>())
    .bind(used.keys().map(|(_, id)| *id).collect::<Vec<_>>())
    .bind(used.values().copied().collect::<Vec<_>>())
}

/// Messages were accepted.
pub(super) fn accept<'q>(shared: &Shared, n: usize, leads: &[usize]) -> Statement<'q> {
    let all = || leads.iter().map(|lead| &shared.course(*lead).messages[n].accepted);
    sqlx::query(
        "UPDATE sends AS s SET state = 'accepted', detail = u.detail, provider_id = u.provider_id \
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) \
              AS u (workspace_id, send_id, detail, provider_id) \
         WHERE s.workspace_id = u.workspace_id AND s.send_id = u.send_id",
    )
    .bind(vec![shared.job.campaign.workspace.uuid(); leads.len()])
    .bind(leads.iter().map(|lead| shared.leads[*lead].sends[n]).collect::<Vec<_>>())
    .bind(all().map(|it| it.detail.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|it| it.provider_id.as_deref()).collect::<Vec<_>>())
}

/// Enrollments are as their turn leaves them.
pub(super) fn advance<'q>(
    shared: &Shared,
    turns: &[(usize, usize)],
    now: DateTime<Utc>,
) -> Statement<'q> {
    let all = || {
        turns.iter().map(|(lead, n)| {
            let turn: &Turn = &shared.course(*lead).turns[*n];
            (&shared.leads[*lead], turn, *n)
        })
    };
    let moved = |turn: &Turn, at: Option<DateTime<Utc>>| {
        at.map(|at| now + (at - turn.enrollment.changed_at))
    };
    sqlx::query(
        "UPDATE enrollments AS e \
         SET snapshot = u.snapshot, turn = u.turn, applied_seq = u.applied_seq, \
             verb_seq = u.verb_seq, failures = 0, email_sender_id = u.sender, state = u.state, \
             why = u.why, until = u.until, next_step = u.next_step, next_at = u.next_at, \
             changed_at = $2, wake_at = u.wake_at, ended_at = u.ended_at \
         FROM unnest($1::uuid[], $3::uuid[], $4::bytea[], $5::int[], $6::int[], $7::int[], \
                     $8::uuid[], $9::text[], $10::text[], $11::timestamptz[], $12::text[], \
                     $13::timestamptz[], $14::timestamptz[], $15::timestamptz[]) \
              AS u (workspace_id, enrollment_id, snapshot, turn, applied_seq, verb_seq, sender, \
                    state, why, until, next_step, next_at, wake_at, ended_at) \
         WHERE e.workspace_id = u.workspace_id AND e.enrollment_id = u.enrollment_id",
    )
    .bind(vec![shared.job.campaign.workspace.uuid(); turns.len()])
    .bind(now)
    .bind(all().map(|(lead, _, _)| lead.enrollment).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, n)| lead.snapshots[n].as_slice()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.turn).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.applied_seq).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.verb_seq).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.sender).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.state.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.why.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.until)).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.enrollment.next_step.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.next_at)).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.wake_at)).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| moved(it, it.enrollment.ended_at)).collect::<Vec<_>>())
}

/// The journal of the turns.
pub(super) fn journal<'q>(
    shared: &Shared,
    turns: &[(usize, usize)],
    now: DateTime<Utc>,
) -> Statement<'q> {
    let all = || {
        turns.iter().flat_map(|(lead, n)| {
            let (row, turn) = (&shared.leads[*lead], &shared.course(*lead).turns[*n]);
            turn.journal.iter().zip(&row.journal[*n]).map(move |(it, texts)| (row, it, texts))
        })
    };
    sqlx::query(
        "INSERT INTO journal (workspace_id, enrollment_id, turn, at, cause, signal, from_state, \
             to_state, effects, next_step, next_at, why, facts, rules, snapshot) \
         SELECT $1, u.id, u.turn, $2, u.cause, u.signal, u.from_state, u.to_state, u.effects, \
                u.next_step, CASE WHEN u.has_next THEN $2 END, u.why, u.facts, $12, NULL \
         FROM unnest($3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[], \
                     $9::text[], $10::text[], $11::bool[], $13::text[], $14::text[]) \
              AS u (id, turn, cause, signal, from_state, to_state, effects, next_step, has_next, \
                    why, facts)",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(now)
    .bind(all().map(|(lead, _, _)| lead.enrollment).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.turn).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.cause.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, _, texts)| texts.0.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.from_state.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.to_state.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, _, texts)| texts.1.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.next_step.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.next_at.is_some()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.rules).next().unwrap_or_default())
    .bind(all().map(|(_, it, _)| it.why.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.facts.as_deref()).collect::<Vec<_>>())
}

/// Plans the message that turn `n` asks for, where it asks for one: it is the lead's `n`th.
pub(super) fn plan<'q>(shared: &Shared, turns: &[(usize, usize)]) -> Statement<'q> {
    let all = || {
        turns.iter().filter_map(|(lead, n)| {
            let message = shared.course(*lead).messages.get(*n)?;
            Some((&shared.leads[*lead], message, *n))
        })
    };
    sqlx::query(
        "INSERT INTO sends (workspace_id, send_id, enrollment_id, campaign_id, lead_id, kind, \
             step_key, visit, attempt, after_seq, channel, variant, sender_id, state) \
         SELECT $1, u.send_id, u.enrollment_id, $2, u.lead_id, u.kind, u.step_key, u.visit, \
                u.attempt, u.after_seq, u.channel, u.variant, u.sender_id, 'planned' \
         FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::int[], \
                     $9::int[], $10::int[], $11::text[], $12::text[], $13::uuid[]) \
              AS u (send_id, enrollment_id, lead_id, kind, step_key, visit, attempt, after_seq, \
                    channel, variant, sender_id)",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(shared.job.campaign.campaign.uuid())
    .bind(all().map(|(lead, _, n)| lead.sends[n]).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.enrollment).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.lead).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.kind.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.step_key.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.visit).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.attempt).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.after_seq).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.channel.as_str()).collect::<Vec<_>>())
    .bind(all().map(|(_, it, _)| it.planned.variant.as_deref()).collect::<Vec<_>>())
    .bind(all().map(|(lead, _, _)| lead.sender).collect::<Vec<_>>())
}

/// Adds what the batch changes of the counters.
pub(super) fn count<'q>(shared: &Shared, turns: &[(usize, usize)]) -> Statement<'q> {
    let mut deltas = BTreeMap::<&str, i64>::new();
    for (lead, n) in turns {
        let turns = &shared.course(*lead).turns;
        let before = turns[*n].journal[0].from_state.as_str();
        *deltas.entry(before).or_default() -= 1;
        *deltas.entry(turns[*n].enrollment.state.as_str()).or_default() += 1;
    }
    sqlx::query(
        "INSERT INTO counter_deltas (workspace_id, campaign_id, measure, n) \
         SELECT $1, $2, 'state/' || u.state, u.n FROM unnest($3::text[], $4::bigint[]) AS u (state, n)",
    )
    .bind(shared.job.campaign.workspace.uuid())
    .bind(shared.job.campaign.campaign.uuid())
    .bind(deltas.keys().copied().collect::<Vec<_>>())
    .bind(deltas.values().copied().collect::<Vec<_>>())
}
