-- One lead's run through one campaign, what it was told, and what happened. A lead is in a campaign
-- at most once.

CREATE TABLE enrollments (
    workspace_id    uuid NOT NULL,
    enrollment_id   uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    lead_id         uuid NOT NULL,
    version         integer NOT NULL,
    engine          text NOT NULL,    -- postgres or temporal
    snapshot        bytea NOT NULL,   -- the serialised machine, JSON
    turn            integer NOT NULL DEFAULT 0, -- the number of its newest journal row
    signal_seq      integer NOT NULL DEFAULT 0, -- the newest signal
    applied_seq     integer NOT NULL DEFAULT 0, -- the newest signal the machine has seen
    verb_seq        integer NOT NULL DEFAULT 0, -- the newest verb of the campaign it has seen
    failures        smallint NOT NULL DEFAULT 0, -- turns that failed in a row
    email_sender_id uuid,             -- chosen at the first send on the channel, then kept
    sms_sender_id   uuid,
    state           text NOT NULL,
    why             text,
    until           timestamptz,
    next_step       text,
    next_at         timestamptz,
    changed_at      timestamptz NOT NULL, -- campaign time of the newest journal row
    wake_at         timestamptz,      -- campaign time; NULL: only a signal can wake it, and it wakes an ended one too
    parked_at       timestamptz,      -- failed five times: out of the due index until someone acts
    ended_at        timestamptz,
    CONSTRAINT enrollments_pkey PRIMARY KEY (workspace_id, enrollment_id),
    CONSTRAINT enrollments_once_key UNIQUE (workspace_id, campaign_id, lead_id),
    CONSTRAINT enrollments_lead_fkey FOREIGN KEY (workspace_id, lead_id) REFERENCES leads,
    CONSTRAINT enrollments_campaign_fkey FOREIGN KEY (workspace_id, campaign_id)
        REFERENCES campaigns
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The Postgres engine's only poll: due enrollments, oldest first. The relay has an index of its own.
CREATE INDEX enrollments_due_idx ON enrollments (workspace_id, wake_at, enrollment_id)
    WHERE wake_at IS NOT NULL AND parked_at IS NULL AND engine = 'postgres';

-- Facts on their way to the machine.
CREATE TABLE signals (
    workspace_id  uuid NOT NULL,
    enrollment_id uuid NOT NULL,
    seq           integer NOT NULL,
    kind          text,                 -- NULL: stored, but not yet interpreted
    signal        jsonb,                -- as the machine reads it
    holds         boolean NOT NULL,     -- the gate refuses until a turn has seen it
    source_key    text NOT NULL,        -- what makes a repeat a repeat
    event_id      uuid,                 -- the inbound event it came with
    refs          jsonb,                -- what ingest knew: which send it answers, whose it is
    at            timestamptz NOT NULL, -- campaign time
    CONSTRAINT signals_pkey PRIMARY KEY (workspace_id, enrollment_id, seq),
    CONSTRAINT signals_source_key UNIQUE (workspace_id, enrollment_id, source_key),
    CONSTRAINT signals_enrollment_fkey FOREIGN KEY (workspace_id, enrollment_id)
        REFERENCES enrollments,
    CONSTRAINT signals_interpreted_check CHECK ((kind IS NULL) = (signal IS NULL))
);
CREATE INDEX signals_uninterpreted_idx ON signals (workspace_id, enrollment_id, seq)
    WHERE kind IS NULL;

-- Append-only: one row per application of the machine. No reference to the enrollment: the check
-- would cost a look-up for each row, and `verify` looks for orphans instead.
CREATE TABLE journal (
    workspace_id  uuid NOT NULL,
    enrollment_id uuid NOT NULL,
    turn          integer NOT NULL,
    at            timestamptz NOT NULL, -- campaign time
    cause         text NOT NULL,        -- the kind of the signal
    signal        text NOT NULL,        -- the signal, JSON
    from_state    text NOT NULL,
    to_state      text NOT NULL,
    effects       text,                 -- what was asked for and withdrawn, JSON; NULL: nothing
    next_step     text,
    next_at       timestamptz,
    why           text,                 -- the constraint that binds
    facts         text,                 -- what was read about the lead, JSON; emptied by erase
    rules         smallint NOT NULL,
    snapshot      bytea,                -- where a replay may begin: when the rules rose, or a version moved
    CONSTRAINT journal_pkey PRIMARY KEY (workspace_id, enrollment_id, turn)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.2);

-- Counters are sums of what each batch adds: no row that every lead wants to update.
CREATE TABLE counter_deltas (
    workspace_id uuid NOT NULL,
    delta_id     bigint GENERATED ALWAYS AS IDENTITY,
    campaign_id  uuid NOT NULL,
    step_key     text,
    variant      text,
    measure      text NOT NULL,
    n            bigint NOT NULL,
    CONSTRAINT counter_deltas_pkey PRIMARY KEY (workspace_id, campaign_id, delta_id)
);

ALTER TABLE enrollments ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrollments FORCE ROW LEVEL SECURITY;
CREATE POLICY enrollments_wall ON enrollments
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
CREATE POLICY enrollments_finder ON enrollments FOR SELECT TO meridian_finder USING (true);
ALTER TABLE signals ENABLE ROW LEVEL SECURITY;
ALTER TABLE signals FORCE ROW LEVEL SECURITY;
CREATE POLICY signals_wall ON signals
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
CREATE POLICY signals_finder ON signals FOR SELECT TO meridian_finder USING (true);
ALTER TABLE journal ENABLE ROW LEVEL SECURITY;
ALTER TABLE journal FORCE ROW LEVEL SECURITY;
CREATE POLICY journal_wall ON journal
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE counter_deltas ENABLE ROW LEVEL SECURITY;
ALTER TABLE counter_deltas FORCE ROW LEVEL SECURITY;
CREATE POLICY counter_deltas_wall ON counter_deltas
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON enrollments, signals, counter_deltas TO meridian_app;
GRANT SELECT, INSERT ON journal TO meridian_app;
GRANT UPDATE (facts) ON journal TO meridian_app;
GRANT SELECT (workspace_id, enrollment_id, engine, wake_at, parked_at) ON enrollments TO meridian_finder;
GRANT SELECT (workspace_id, enrollment_id, seq, kind) ON signals TO meridian_finder;
