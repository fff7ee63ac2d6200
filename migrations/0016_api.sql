-- Programs that drive us: their keys, and what they were answered under an Idempotency-Key.
CREATE TABLE api_keys (
    workspace_id uuid NOT NULL,
    key_id       uuid NOT NULL,
    name         text NOT NULL,
    role         text NOT NULL,
    secret_hash  bytea NOT NULL,       -- SHA-256 of the key
    created_at   timestamptz NOT NULL, -- wall time, like those below
    last_used_at timestamptz,          -- to the minute
    revoked_at   timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (workspace_id, key_id),
    CONSTRAINT api_keys_secret_key UNIQUE (workspace_id, secret_hash),
    CONSTRAINT api_keys_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT api_keys_role_check CHECK (role IN ('viewer', 'operator', 'admin'))
);

-- One row is one request under one key; it is there before the request is worked on.
CREATE TABLE idempotent_answers (
    workspace_id    uuid NOT NULL,
    key_id          uuid NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint     bytea NOT NULL,       -- SHA-256 over method, path, query and body
    begun_at        timestamptz NOT NULL, -- wall time
    status          smallint,             -- NULL: it is being worked on
    headers         jsonb,
    body            bytea,                -- sealed
    CONSTRAINT idempotent_answers_pkey PRIMARY KEY (workspace_id, key_id, idempotency_key),
    CONSTRAINT idempotent_answers_key_fkey FOREIGN KEY (workspace_id, key_id) REFERENCES api_keys,
    CONSTRAINT idempotent_answers_done_check
        CHECK ((status IS NULL) = (body IS NULL) AND (status IS NULL) = (headers IS NULL))
);
CREATE INDEX idempotent_answers_begun_idx ON idempotent_answers (workspace_id, begun_at);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY api_keys_wall ON api_keys
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE idempotent_answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotent_answers FORCE ROW LEVEL SECURITY;
CREATE POLICY idempotent_answers_wall ON idempotent_answers
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE ON api_keys TO meridian_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotent_answers TO meridian_app;
