-- What the world tells us, stored once before it is acknowledged; and what went wrong.

CREATE TABLE webhook_endpoints (
    workspace_id uuid NOT NULL,
    endpoint_id  uuid NOT NULL,
    provider     text NOT NULL,
    secret_hash  bytea NOT NULL, -- SHA-256 of the secret in the path
    signing_key  bytea NOT NULL, -- sealed
    created_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (workspace_id, endpoint_id),
    CONSTRAINT webhook_endpoints_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces
);

CREATE TABLE inbound_events (
    workspace_id uuid NOT NULL,
    event_id     uuid NOT NULL,
    provider     text NOT NULL,
    event_key    text NOT NULL,         -- the provider's own id of the event
    token        text,                  -- a provider's single-use token
    kind         text NOT NULL,
    payload      bytea NOT NULL,        -- sealed
    received_at  timestamptz NOT NULL,  -- wall time
    at           timestamptz NOT NULL,  -- campaign time
    attempts     smallint NOT NULL DEFAULT 0,
    processed_at timestamptz,
    dead_at      timestamptz,
    CONSTRAINT inbound_events_pkey PRIMARY KEY (workspace_id, event_id),
    CONSTRAINT inbound_events_once_key UNIQUE (workspace_id, provider, event_key),
    CONSTRAINT inbound_events_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces
);
CREATE UNIQUE INDEX inbound_events_token_key ON inbound_events (workspace_id, provider, token)
    WHERE token IS NOT NULL;

-- Work that was given up, until a person retries or dismisses it.
CREATE TABLE dead_letters (
    workspace_id   uuid NOT NULL,
    dead_letter_id uuid NOT NULL,
    kind           text NOT NULL,
    enrollment_id  uuid,
    event_id       uuid,
    cause          text NOT NULL,
    at             timestamptz NOT NULL,
    resolved_at    timestamptz,
    resolution     text,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (workspace_id, dead_letter_id),
    CONSTRAINT dead_letters_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT dead_letters_kind_check CHECK (kind IN ('enrollment', 'event', 'unmatched')),
    CONSTRAINT dead_letters_resolved_check CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);

CREATE TABLE audit (
    workspace_id uuid NOT NULL,
    audit_id     bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL, -- wall time
    actor        text NOT NULL,
    act          text NOT NULL,
    subject      text NOT NULL,
    details      jsonb,
    CONSTRAINT audit_pkey PRIMARY KEY (workspace_id, audit_id),
    CONSTRAINT audit_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces
);

ALTER TABLE webhook_endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_endpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY webhook_endpoints_wall ON webhook_endpoints
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE inbound_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbound_events FORCE ROW LEVEL SECURITY;
CREATE POLICY inbound_events_wall ON inbound_events
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letters FORCE ROW LEVEL SECURITY;
CREATE POLICY dead_letters_wall ON dead_letters
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_wall ON audit
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_endpoints, inbound_events, dead_letters TO meridian_app;
GRANT SELECT, INSERT ON audit TO meridian_app;
