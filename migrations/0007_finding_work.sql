-- Finding work needs a look across the walls. These functions run as a role that cannot log in, may
-- read a few columns of a few tables and nothing else. A function owned by the tables' owner would
-- see nothing: row security is forced for the owner too.

CREATE FUNCTION find_workspace(wanted text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$ SELECT workspace_id FROM workspaces WHERE name = wanted $$;

-- Every workspace with the earliest time at which one of its leads is due, or NULL.
CREATE FUNCTION due_workspaces() RETURNS TABLE (workspace_id uuid, wake_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
        SELECT w.workspace_id, (
            SELECT e.wake_at FROM enrollments e
            WHERE e.workspace_id = w.workspace_id
              AND e.wake_at IS NOT NULL AND e.parked_at IS NULL AND e.engine = 'postgres'
            ORDER BY e.wake_at LIMIT 1)
        FROM workspaces w
    $$;

-- Workspaces whose stored mail nobody has read yet.
CREATE FUNCTION uninterpreted_workspaces() RETURNS TABLE (workspace_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
        SELECT w.workspace_id FROM workspaces w
        WHERE EXISTS (
            SELECT 1 FROM signals s WHERE s.workspace_id = w.workspace_id AND s.kind IS NULL)
    $$;

-- Campaigns some of whose leads have not been told the newest verb.
CREATE FUNCTION untold_campaigns() RETURNS TABLE (workspace_id uuid, campaign_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$ SELECT c.workspace_id, c.campaign_id FROM campaigns c WHERE c.verbs_told < c.verb_seq $$;

-- An owner must be allowed to create in the schema at the moment it becomes one.
GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION find_workspace(text) OWNER TO meridian_finder;
ALTER FUNCTION due_workspaces() OWNER TO meridian_finder;
ALTER FUNCTION uninterpreted_workspaces() OWNER TO meridian_finder;
ALTER FUNCTION untold_campaigns() OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;

REVOKE EXECUTE ON FUNCTION find_workspace(text), due_workspaces(), uninterpreted_workspaces(),
    untold_campaigns() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_workspace(text), due_workspaces(), uninterpreted_workspaces(),
    untold_campaigns() TO meridian_app;
