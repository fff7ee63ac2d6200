-- Leads that Temporal drives. Their rows are the outbox of its workflows: a relay pokes every workflow
-- whose lead has not heard a signal, is overdue, or was never turned. Each way in has an index of its
-- own, which holds nothing of the leads of the other engine.
CREATE INDEX enrollments_overdue_idx ON enrollments (workspace_id, wake_at, enrollment_id)
    WHERE wake_at IS NOT NULL AND parked_at IS NULL AND engine = 'temporal';
CREATE INDEX enrollments_unheard_idx ON enrollments (workspace_id, enrollment_id)
    WHERE signal_seq > applied_seq AND parked_at IS NULL AND engine = 'temporal';
CREATE INDEX enrollments_unstarted_idx ON enrollments (workspace_id, enrollment_id)
    WHERE turn = 0 AND parked_at IS NULL AND engine = 'temporal';

GRANT SELECT (turn, signal_seq, applied_seq) ON enrollments TO meridian_finder;

-- Every workspace that has such leads, with the earliest time at which one of them is due, and whether
-- one of them has something to hear, or has not begun. Planned once, as `due_workspaces` is.
CREATE FUNCTION relayed_workspaces()
    RETURNS TABLE (workspace_id uuid, wake_at timestamptz, unheard boolean, unstarted boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    AS $$
    #variable_conflict use_column
    BEGIN
        RETURN QUERY SELECT found.* FROM (
            SELECT w.workspace_id, (
                SELECT e.wake_at FROM enrollments e
                WHERE e.workspace_id = w.workspace_id
                  AND e.wake_at IS NOT NULL AND e.parked_at IS NULL AND e.engine = 'temporal'
                ORDER BY e.wake_at LIMIT 1) AS wake_at,
              EXISTS (
                SELECT 1 FROM enrollments e
                WHERE e.workspace_id = w.workspace_id
                  AND e.signal_seq > e.applied_seq
                  AND e.parked_at IS NULL AND e.engine = 'temporal') AS unheard,
              EXISTS (
                SELECT 1 FROM enrollments e
                WHERE e.workspace_id = w.workspace_id
                  AND e.turn = 0 AND e.parked_at IS NULL AND e.engine = 'temporal') AS unstarted
            FROM workspaces w) AS found
        WHERE found.wake_at IS NOT NULL OR found.unheard OR found.unstarted;
    END
    $$;

GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION relayed_workspaces() OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;
REVOKE EXECUTE ON FUNCTION relayed_workspaces() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION relayed_workspaces() TO meridian_app;

-- The engine that new campaigns get: what the processes on this database were last told.
CREATE TABLE usual_engine (
    only_row boolean NOT NULL DEFAULT true,
    engine   text NOT NULL,
    CONSTRAINT usual_engine_pkey PRIMARY KEY (only_row),
    CONSTRAINT usual_engine_only_row_check CHECK (only_row),
    CONSTRAINT usual_engine_engine_check CHECK (engine IN ('postgres', 'temporal'))
);

GRANT SELECT, INSERT, UPDATE ON usual_engine TO meridian_app;
