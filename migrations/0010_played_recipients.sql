-- Recipients that a script plays answer the messages the capture sender keeps, each at its time.
ALTER TABLE captured_messages ADD COLUMN play_at timestamptz; -- campaign time; NULL: nobody answers, or has answered
CREATE INDEX captured_messages_play_idx ON captured_messages (workspace_id, play_at)
    WHERE play_at IS NOT NULL;

CREATE POLICY captured_messages_finder ON captured_messages FOR SELECT TO meridian_finder USING (true);
GRANT SELECT (workspace_id, play_at) ON captured_messages TO meridian_finder;

-- Every workspace in which recipients are played, with the time of the next answer.
CREATE FUNCTION playing_workspaces() RETURNS TABLE (workspace_id uuid, play_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
        SELECT w.workspace_id, (
            SELECT c.play_at FROM captured_messages c
            WHERE c.workspace_id = w.workspace_id AND c.play_at IS NOT NULL
            ORDER BY c.play_at LIMIT 1)
        FROM workspaces w
    $$;
GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION playing_workspaces() OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;
REVOKE EXECUTE ON FUNCTION playing_workspaces() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION playing_workspaces() TO meridian_app;
