-- What an operator is told at every look at the metrics: how many messages a person must look at, and how
-- late those who watch are told what changed. Neither look may read a table that grows with every message.

-- Messages that came to need a person's look. The ledger says which of them still do; it has no index by
-- state, because that would cost every message.
CREATE TABLE reviews (
    workspace_id uuid NOT NULL,
    send_id      uuid NOT NULL,
    CONSTRAINT reviews_pkey PRIMARY KEY (workspace_id, send_id)
);

-- The wall of the ledger holds for its owner too.
ALTER TABLE sends NO FORCE ROW LEVEL SECURITY;
INSERT INTO reviews (workspace_id, send_id)
SELECT workspace_id, send_id FROM sends WHERE state = 'needs_review';
ALTER TABLE sends FORCE ROW LEVEL SECURITY;

ALTER TABLE reviews ENABLE ROW LEVEL SECURITY;
ALTER TABLE reviews FORCE ROW LEVEL SECURITY;
CREATE POLICY reviews_wall ON reviews
    USING (workspace_id IS NOT DISTINCT FROM (
        SELECT nullif(current_setting('app.workspace_id', true), '')::uuid));
CREATE POLICY reviews_finder ON reviews FOR SELECT TO meridian_finder USING (true);
CREATE POLICY sends_finder ON sends FOR SELECT TO meridian_finder USING (true);
CREATE POLICY changes_finder ON changes FOR SELECT TO meridian_finder USING (true);

GRANT SELECT, INSERT, DELETE ON reviews TO meridian_app;
GRANT SELECT ON reviews TO meridian_finder;
GRANT SELECT (workspace_id, send_id, state) ON sends TO meridian_finder;
GRANT SELECT (workspace_id, xid, at) ON changes TO meridian_finder;

-- How many messages of all workspaces need a person's look.
CREATE FUNCTION sends_to_review() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
        SELECT count(*)
        FROM reviews r
        JOIN sends s ON s.workspace_id = r.workspace_id AND s.send_id = r.send_id
        WHERE s.state = 'needs_review'
    $$;

-- When the oldest change was noted that no stream may tell yet, because a transaction below it runs.
CREATE FUNCTION oldest_untold_change(horizon bigint) RETURNS timestamptz
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    SET enable_seqscan = off
    AS $$
        SELECT min(u.at)
        FROM workspaces w
        CROSS JOIN LATERAL (
            SELECT min(c.at) AS at FROM changes c
            WHERE c.workspace_id = w.workspace_id AND c.xid >= horizon) AS u
    $$;

GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION sends_to_review() OWNER TO meridian_finder;
ALTER FUNCTION oldest_untold_change(bigint) OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;

REVOKE EXECUTE ON FUNCTION sends_to_review(), oldest_untold_change(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sends_to_review(), oldest_untold_change(bigint) TO meridian_app;
