-- The send ledger: one row is one intended message to one address. Its primary key is the hash of
-- (enrollment, step, visit), so a second unique index is not needed. No other index and half-full
-- pages keep its updates inside the page (HOT); open sends are found through their enrollments.

CREATE TABLE sends (
    workspace_id  uuid NOT NULL,
    send_id       uuid NOT NULL,
    enrollment_id uuid NOT NULL,
    campaign_id   uuid NOT NULL,
    lead_id       uuid NOT NULL,
    kind          text NOT NULL,        -- step, or handover: a mail to a person of ours
    step_key      text NOT NULL,        -- of a handover: whom it is offered to
    visit         integer NOT NULL,
    attempt       integer NOT NULL,
    after_seq     integer NOT NULL,     -- the newest signal the machine had seen when it asked
    channel       text NOT NULL,
    variant       text,
    sender_id     uuid,
    state         text NOT NULL,
    detail        text,                 -- why it is deferred, refused or in review
    address       text,                 -- as gated; emptied by erase
    slot_at       timestamptz,          -- campaign time; a deferred send is asked for again then
    slot_day      date,                 -- the sender's day on which the slot is booked; NULL: only a time
    slot_campaign_day date,             -- the campaign's day on which it is booked
    fence         integer NOT NULL DEFAULT 0, -- raised by each gate, compared when the outcome is recorded
    runner_id     uuid,
    gate_at       timestamptz,          -- campaign time
    gate_day      date,                 -- the sender's day whose quota was used
    gate_campaign_day date,             -- the campaign's day whose quota was used
    lease_until   timestamptz,          -- wall time
    provider_id   text,
    message_id    text,
    CONSTRAINT sends_pkey PRIMARY KEY (workspace_id, send_id),
    CONSTRAINT sends_kind_check CHECK (kind IN ('step', 'handover')),
    CONSTRAINT sends_state_check CHECK (state IN (
        'planned', 'deferred', 'cancelled', 'dispatching', 'accepted', 'rejected', 'unknown',
        'needs_review')),
    CONSTRAINT sends_gated_check CHECK (
        state NOT IN ('dispatching', 'accepted', 'unknown', 'needs_review') OR gate_at IS NOT NULL)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE send_contents (
    workspace_id uuid NOT NULL,
    send_id      uuid NOT NULL,
    hash         bytea NOT NULL, -- SHA-256 over subject, text and html
    subject      text,
    text         text NOT NULL,
    html         text,
    CONSTRAINT send_contents_pkey PRIMARY KEY (workspace_id, send_id)
);

-- What the capture sender was given: nothing leaves the machine, everything can be read.
CREATE TABLE captured_messages (
    workspace_id uuid NOT NULL,
    capture_id   bigint GENERATED ALWAYS AS IDENTITY,
    send_id      uuid NOT NULL,
    attempt      integer NOT NULL,
    recipient    text NOT NULL,
    message      bytea NOT NULL,        -- RFC 5322
    at           timestamptz NOT NULL,  -- campaign time
    CONSTRAINT captured_messages_pkey PRIMARY KEY (workspace_id, capture_id)
);

-- Requests that a person answers: drafts to approve, calls to make.
CREATE TABLE tasks (
    workspace_id  uuid NOT NULL,
    send_id       uuid NOT NULL,
    attempt       integer NOT NULL,
    enrollment_id uuid NOT NULL,
    kind          text NOT NULL,
    step_key      text NOT NULL,
    opened_at     timestamptz NOT NULL,
    expires_at    timestamptz,
    closed_at     timestamptz,
    CONSTRAINT tasks_pkey PRIMARY KEY (workspace_id, send_id, attempt),
    CONSTRAINT tasks_enrollment_fkey FOREIGN KEY (workspace_id, enrollment_id)
        REFERENCES enrollments,
    CONSTRAINT tasks_kind_check CHECK (kind IN ('approval', 'call'))
);

CREATE TABLE handovers (
    workspace_id  uuid NOT NULL,
    enrollment_id uuid NOT NULL,
    visit         integer NOT NULL,
    lead_id       uuid NOT NULL,
    campaign_id   uuid NOT NULL,
    state         text NOT NULL,
    responder     text NOT NULL,
    answer_by     timestamptz,
    result        text,
    opened_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    CONSTRAINT handovers_pkey PRIMARY KEY (workspace_id, enrollment_id, visit),
    CONSTRAINT handovers_enrollment_fkey FOREIGN KEY (workspace_id, enrollment_id)
        REFERENCES enrollments,
    CONSTRAINT handovers_state_check
        CHECK (state IN ('offered', 'accepted', 'answered', 'closed', 'given_back'))
);

ALTER TABLE sends ENABLE ROW LEVEL SECURITY;
ALTER TABLE sends FORCE ROW LEVEL SECURITY;
CREATE POLICY sends_wall ON sends
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE send_contents ENABLE ROW LEVEL SECURITY;
ALTER TABLE send_contents FORCE ROW LEVEL SECURITY;
CREATE POLICY send_contents_wall ON send_contents
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE captured_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE captured_messages FORCE ROW LEVEL SECURITY;
CREATE POLICY captured_messages_wall ON captured_messages
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tasks FORCE ROW LEVEL SECURITY;
CREATE POLICY tasks_wall ON tasks
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE handovers ENABLE ROW LEVEL SECURITY;
ALTER TABLE handovers FORCE ROW LEVEL SECURITY;
CREATE POLICY handovers_wall ON handovers
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE
    ON sends, send_contents, captured_messages, tasks, handovers TO meridian_app;
