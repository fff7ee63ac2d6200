-- People we may write to, how to reach them, and the promises never to.

CREATE TABLE leads (
    workspace_id  uuid NOT NULL,
    lead_id       uuid NOT NULL,
    version       integer NOT NULL DEFAULT 1,      -- rises with every change; a send is made for one version
    zone          text,                            -- IANA name; NULL: the campaign's
    email_consent text NOT NULL DEFAULT 'unknown',
    sms_consent   text NOT NULL DEFAULT 'unknown',
    call_consent  text NOT NULL DEFAULT 'unknown',
    attributes    jsonb NOT NULL DEFAULT '{}',
    source        text NOT NULL,                   -- how the lead came to us
    created_at    timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    erased_at     timestamptz,
    CONSTRAINT leads_pkey PRIMARY KEY (workspace_id, lead_id),
    CONSTRAINT leads_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT leads_consent_check CHECK (
        email_consent IN ('unknown', 'granted', 'refused')
        AND sms_consent IN ('unknown', 'granted', 'refused')
        AND call_consent IN ('unknown', 'granted', 'refused'))
);

CREATE TABLE addresses (
    workspace_id uuid NOT NULL,
    channel      text NOT NULL,
    address      text NOT NULL, -- normalised
    lead_id      uuid NOT NULL,
    CONSTRAINT addresses_pkey PRIMARY KEY (workspace_id, channel, address),
    CONSTRAINT addresses_lead_fkey FOREIGN KEY (workspace_id, lead_id) REFERENCES leads,
    CONSTRAINT addresses_channel_check CHECK (channel IN ('email', 'sms'))
);
CREATE INDEX addresses_lead_idx ON addresses (workspace_id, lead_id, channel);

-- A table of its own: search works by equality and prefix, because other operators ignore indexes
-- under row security.
CREATE TABLE lead_tags (
    workspace_id uuid NOT NULL,
    tag          text NOT NULL,
    lead_id      uuid NOT NULL,
    CONSTRAINT lead_tags_pkey PRIMARY KEY (workspace_id, tag, lead_id),
    CONSTRAINT lead_tags_lead_fkey FOREIGN KEY (workspace_id, lead_id) REFERENCES leads
);
CREATE INDEX lead_tags_lead_idx ON lead_tags (workspace_id, lead_id);

-- The key is a keyed hash, so the promise outlives the address it is about.
CREATE TABLE suppressions (
    workspace_id   uuid NOT NULL,
    suppression_id uuid NOT NULL,
    scope          text NOT NULL,
    value_hash     bytea NOT NULL,
    value          text,          -- emptied by erase
    reason         text NOT NULL,
    suppressed_at  timestamptz NOT NULL,
    lifted_at      timestamptz,
    CONSTRAINT suppressions_pkey PRIMARY KEY (workspace_id, suppression_id),
    CONSTRAINT suppressions_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT suppressions_scope_check CHECK (scope IN ('address', 'domain')),
    CONSTRAINT suppressions_reason_check
        CHECK (reason IN ('opted_out', 'complained', 'hard_bounce', 'by_person', 'imported'))
);
CREATE UNIQUE INDEX suppressions_in_force_key
    ON suppressions (workspace_id, scope, value_hash) WHERE lifted_at IS NULL;

ALTER TABLE leads ENABLE ROW LEVEL SECURITY;
ALTER TABLE leads FORCE ROW LEVEL SECURITY;
CREATE POLICY leads_wall ON leads
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE addresses FORCE ROW LEVEL SECURITY;
CREATE POLICY addresses_wall ON addresses
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE lead_tags ENABLE ROW LEVEL SECURITY;
ALTER TABLE lead_tags FORCE ROW LEVEL SECURITY;
CREATE POLICY lead_tags_wall ON lead_tags
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE suppressions ENABLE ROW LEVEL SECURITY;
ALTER TABLE suppressions FORCE ROW LEVEL SECURITY;
CREATE POLICY suppressions_wall ON suppressions
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON leads, addresses, lead_tags, suppressions TO meridian_app;
