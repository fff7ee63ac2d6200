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

-- These walls read the setting once for each statement, not once for each row. They are no equalities,
-- because a wall is not to be a way in: every query names its workspace itself, and where the planner
-- takes a workspace for a small one, an equality would tempt it to read all of its rows to find the few
-- that a batch names by their keys.
DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY[
        'workspaces', 'leads', 'addresses', 'lead_tags', 'suppressions', 'senders',
        'sequence_versions', 'campaigns', 'campaign_verbs', 'quotas', 'enrollments', 'signals',
        'journal', 'counter_deltas', 'sends', 'send_contents', 'captured_messages', 'tasks',
        'handovers', 'webhook_endpoints', 'inbound_events', 'dead_letters', 'audit']
    LOOP
        EXECUTE format(
            'ALTER POLICY %I ON %I USING (workspace_id IS NOT DISTINCT FROM (
                 SELECT nullif(current_setting(''app.workspace_id'', true), '''')::uuid))',
            walled || '_wall', walled);
    END LOOP;
END
$$;

-- A person's first address is read for every message. With the address in the index, in order, there is
-- no other way that could look as good while the planner knows nothing of the table yet.
DROP INDEX addresses_lead_idx;
CREATE INDEX addresses_lead_idx ON addresses (workspace_id, lead_id, channel, address);
