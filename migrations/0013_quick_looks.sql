-- Every bell makes a runner look who has work. A function in SQL is planned anew by each statement
-- that calls it, which took three times as long as the look itself. This one is planned once, and so
-- must not depend on how full the tables were at that time.
CREATE OR REPLACE FUNCTION due_workspaces() RETURNS TABLE (workspace_id uuid, wake_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    AS $$
    #variable_conflict use_column
    BEGIN
        RETURN QUERY SELECT w.workspace_id, (
            SELECT e.wake_at FROM enrollments e
            WHERE e.workspace_id = w.workspace_id
              AND e.wake_at IS NOT NULL AND e.parked_at IS NULL AND e.engine = 'postgres'
            ORDER BY e.wake_at LIMIT 1)
        FROM workspaces w;
    END
    $$;
