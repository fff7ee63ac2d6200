-- What is sent, by whom and under which limits.

CREATE TABLE senders (
    workspace_id   uuid NOT NULL,
    sender_id      uuid NOT NULL,
    name           text NOT NULL,
    channel        text NOT NULL,
    url            text NOT NULL,    -- without the password
    secret         bytea,            -- the sealed password
    from_address   text NOT NULL,
    from_name      text,
    postal_address text,             -- stands in the footer
    zone           text NOT NULL DEFAULT 'UTC', -- its local date is the day of its quota
    per_day        integer,          -- NULL: no limit
    spacing_s      integer NOT NULL DEFAULT 0,
    weight         integer NOT NULL DEFAULT 1,
    status         text NOT NULL DEFAULT 'active',
    status_reason  text,
    next_free_at   timestamptz,      -- campaign time; the first slot that pacing leaves free
    created_at     timestamptz NOT NULL,
    CONSTRAINT senders_pkey PRIMARY KEY (workspace_id, sender_id),
    CONSTRAINT senders_name_key UNIQUE (workspace_id, name),
    CONSTRAINT senders_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT senders_channel_check CHECK (channel IN ('email', 'sms')),
    CONSTRAINT senders_status_check CHECK (status IN ('active', 'paused')),
    CONSTRAINT senders_limits_check CHECK (per_day > 0 AND spacing_s >= 0 AND weight >= 0)
);

-- Immutable: a lead runs the version it started on until a recorded move.
CREATE TABLE sequence_versions (
    workspace_id uuid NOT NULL,
    sequence_id  uuid NOT NULL,
    version      integer NOT NULL,
    document     jsonb NOT NULL, -- the campaign file as data
    hash         bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT sequence_versions_pkey PRIMARY KEY (workspace_id, sequence_id, version),
    CONSTRAINT sequence_versions_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces
);

CREATE TABLE campaigns (
    workspace_id  uuid NOT NULL,
    campaign_id   uuid NOT NULL,
    name          text NOT NULL,
    engine        text NOT NULL DEFAULT 'postgres',
    status        text NOT NULL DEFAULT 'draft',
    sequence_id   uuid NOT NULL,
    version       integer NOT NULL,           -- the version that new enrollments get
    settings      jsonb NOT NULL,             -- what the gate and the mails read: senders, caps, handover addresses
    verb_seq      integer NOT NULL DEFAULT 0, -- the newest verb
    verbs_told    integer NOT NULL DEFAULT 0, -- every enrollment was told verbs up to this one
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    CONSTRAINT campaigns_pkey PRIMARY KEY (workspace_id, campaign_id),
    CONSTRAINT campaigns_name_key UNIQUE (workspace_id, name),
    CONSTRAINT campaigns_version_fkey FOREIGN KEY (workspace_id, sequence_id, version)
        REFERENCES sequence_versions,
    CONSTRAINT campaigns_engine_check CHECK (engine IN ('postgres', 'temporal')),
    CONSTRAINT campaigns_status_check
        CHECK (status IN ('draft', 'active', 'paused', 'stopped', 'finished'))
);

CREATE TABLE campaign_verbs (
    workspace_id uuid NOT NULL,
    campaign_id  uuid NOT NULL,
    seq          integer NOT NULL,
    verb         text NOT NULL,
    rule         text,                 -- of a resume
    at           timestamptz NOT NULL, -- campaign time
    CONSTRAINT campaign_verbs_pkey PRIMARY KEY (workspace_id, campaign_id, seq),
    CONSTRAINT campaign_verbs_campaign_fkey FOREIGN KEY (workspace_id, campaign_id)
        REFERENCES campaigns,
    CONSTRAINT campaign_verbs_verb_check
        CHECK (verb IN ('pause', 'resume', 'stop') AND (verb = 'resume') = (rule IS NOT NULL)),
    CONSTRAINT campaign_verbs_rule_check CHECK (rule IN ('keep', 'shift', 'restart'))
);

CREATE TABLE quotas (
    workspace_id uuid NOT NULL,
    scope        text NOT NULL,
    scope_id     uuid NOT NULL,              -- a sender or a campaign
    day          date NOT NULL,              -- on the scope's own calendar
    booked       integer NOT NULL DEFAULT 0, -- slots promised to leads that sleep until then
    used         integer NOT NULL DEFAULT 0, -- sends past the gate
    max          integer NOT NULL,
    CONSTRAINT quotas_pkey PRIMARY KEY (workspace_id, scope, scope_id, day),
    CONSTRAINT quotas_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT quotas_scope_check CHECK (scope IN ('sender_day', 'campaign_day')),
    CONSTRAINT quotas_count_check CHECK (booked >= 0 AND used >= 0)
);

ALTER TABLE senders ENABLE ROW LEVEL SECURITY;
ALTER TABLE senders FORCE ROW LEVEL SECURITY;
CREATE POLICY senders_wall ON senders
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE sequence_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sequence_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY sequence_versions_wall ON sequence_versions
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE campaigns ENABLE ROW LEVEL SECURITY;
ALTER TABLE campaigns FORCE ROW LEVEL SECURITY;
CREATE POLICY campaigns_wall ON campaigns
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
CREATE POLICY campaigns_finder ON campaigns FOR SELECT TO meridian_finder USING (true);
ALTER TABLE campaign_verbs ENABLE ROW LEVEL SECURITY;
ALTER TABLE campaign_verbs FORCE ROW LEVEL SECURITY;
CREATE POLICY campaign_verbs_wall ON campaign_verbs
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE quotas ENABLE ROW LEVEL SECURITY;
ALTER TABLE quotas FORCE ROW LEVEL SECURITY;
CREATE POLICY quotas_wall ON quotas
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON senders, campaigns, quotas TO meridian_app;
GRANT SELECT, INSERT ON sequence_versions, campaign_verbs TO meridian_app;
GRANT SELECT (workspace_id, campaign_id, verb_seq, verbs_told) ON campaigns TO meridian_finder;
