-- What changed, for those who watch: one row is what one transaction did, with kinds, ids and words of
-- ours, never an address or a text. Rows are read in the order of (xid, change_id) and only where every
-- transaction up to xid is over, so that none is passed by that commits late. No reference to the workspace: every
-- transaction would lock its one row.
CREATE TABLE changes (
    workspace_id uuid NOT NULL,
    xid          bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint), -- of the transaction
    change_id    bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(), -- wall time
    news         text NOT NULL, -- JSON
    is_cut       boolean NOT NULL DEFAULT false, -- what stood before it is no longer kept
    CONSTRAINT changes_pkey PRIMARY KEY (workspace_id, xid, change_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

ALTER TABLE changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE changes FORCE ROW LEVEL SECURITY;
CREATE POLICY changes_wall ON changes
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, DELETE ON changes TO meridian_app;
GRANT UPDATE (is_cut) ON changes TO meridian_app;
