-- The ground everything stands on: the two clocks' one row, the runners, the workspaces, and the
-- roles' rights. The roles themselves belong to the database cluster and are made by `migrate`
-- before this file runs: meridian_app works inside a workspace, meridian_finder finds work.

CREATE TABLE clock (
    only_row        boolean NOT NULL DEFAULT true,
    real_anchor     timestamptz NOT NULL,
    campaign_anchor timestamptz NOT NULL,      -- campaign time at real_anchor
    factor          double precision NOT NULL, -- campaign seconds in a real second
    CONSTRAINT clock_pkey PRIMARY KEY (only_row),
    CONSTRAINT clock_one_row_check CHECK (only_row),
    CONSTRAINT clock_factor_check CHECK (factor > 0)
);
INSERT INTO clock (real_anchor, campaign_anchor, factor) VALUES (now(), now(), 1);

CREATE TABLE runners (
    runner_id  uuid NOT NULL,
    started_at timestamptz NOT NULL, -- wall time
    beat_at    timestamptz NOT NULL, -- wall time; silent for 15 s: its leases may be swept
    CONSTRAINT runners_pkey PRIMARY KEY (runner_id)
);

CREATE TABLE workspaces (
    workspace_id uuid NOT NULL,
    name         text NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT workspaces_pkey PRIMARY KEY (workspace_id),
    CONSTRAINT workspaces_name_key UNIQUE (name)
);
ALTER TABLE workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE workspaces FORCE ROW LEVEL SECURITY;
CREATE POLICY workspaces_wall ON workspaces
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
CREATE POLICY workspaces_finder ON workspaces FOR SELECT TO meridian_finder USING (true);

GRANT USAGE ON SCHEMA public TO meridian_app, meridian_finder;
GRANT SELECT, UPDATE ON clock TO meridian_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON runners TO meridian_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON workspaces TO meridian_app;
GRANT SELECT ON workspaces TO meridian_finder;
