-- Agents: people of ours who take leads over, in turn. Whoever was offered one longest ago and can take
-- one now is asked next; who works when, and how many leads each may have, is looked at by the gate
-- under locks on these rows, so that two runners never give anybody too many.
CREATE TABLE agents (
    workspace_id uuid NOT NULL,
    agent_id     uuid NOT NULL,
    name         text NOT NULL,
    email        text NOT NULL,
    zone         text NOT NULL,               -- an IANA name; the hours are read on its clock
    hours        jsonb NOT NULL,              -- windows as in campaign files; none: always
    open_max     integer NOT NULL,            -- leads the agent may have at once
    active       boolean NOT NULL DEFAULT true,
    turn_no      bigint NOT NULL DEFAULT 0,   -- the number of the newest offer; who has the lowest is next
    offered_at   timestamptz,                 -- campaign time of that offer
    version      integer NOT NULL DEFAULT 1,  -- raised by every change a person makes
    created_at   timestamptz NOT NULL,        -- wall time
    CONSTRAINT agents_pkey PRIMARY KEY (workspace_id, agent_id),
    CONSTRAINT agents_name_key UNIQUE (workspace_id, name),
    CONSTRAINT agents_workspace_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces,
    CONSTRAINT agents_open_max_check CHECK (open_max > 0)
);

CREATE TABLE agent_absences (
    workspace_id uuid NOT NULL,
    absence_id   uuid NOT NULL,
    agent_id     uuid NOT NULL,
    from_at      timestamptz NOT NULL, -- campaign time
    until_at     timestamptz,          -- campaign time; NULL: until somebody says that it is over
    CONSTRAINT agent_absences_pkey PRIMARY KEY (workspace_id, absence_id),
    CONSTRAINT agent_absences_agent_fkey FOREIGN KEY (workspace_id, agent_id) REFERENCES agents,
    CONSTRAINT agent_absences_order_check CHECK (until_at > from_at)
);
CREATE INDEX agent_absences_agent_idx ON agent_absences (workspace_id, agent_id);

-- To whom each mail of a handover went. One mail is for one agent, for ever: the link in it works for
-- nobody else. There is no foreign key to enrollments, because the gate, which writes these rows, must
-- not lock them.
CREATE TABLE handover_offers (
    workspace_id  uuid NOT NULL,
    send_id       uuid NOT NULL,
    enrollment_id uuid NOT NULL,
    visit         integer NOT NULL,     -- which handover of the enrollment
    agent_id      uuid NOT NULL,
    offered_at    timestamptz NOT NULL, -- campaign time
    accepted_at   timestamptz,          -- campaign time; by the link
    CONSTRAINT handover_offers_pkey PRIMARY KEY (workspace_id, send_id),
    CONSTRAINT handover_offers_agent_fkey FOREIGN KEY (workspace_id, agent_id) REFERENCES agents
);
CREATE INDEX handover_offers_enrollment_idx ON handover_offers (workspace_id, enrollment_id);
CREATE INDEX handover_offers_agent_idx ON handover_offers (workspace_id, agent_id);

-- The agent who has the lead, or is asked, and the mail by which; NULL where agents do not come in.
ALTER TABLE handovers
    ADD COLUMN agent_id uuid,
    ADD COLUMN offer_id uuid,
    ADD CONSTRAINT handovers_offer_check CHECK ((agent_id IS NULL) = (offer_id IS NULL));
CREATE INDEX handovers_agent_idx ON handovers (workspace_id, agent_id) WHERE agent_id IS NOT NULL;

ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
ALTER TABLE agents FORCE ROW LEVEL SECURITY;
CREATE POLICY agents_wall ON agents
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE agent_absences ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_absences FORCE ROW LEVEL SECURITY;
CREATE POLICY agent_absences_wall ON agent_absences
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE handover_offers ENABLE ROW LEVEL SECURITY;
ALTER TABLE handover_offers FORCE ROW LEVEL SECURITY;
CREATE POLICY handover_offers_wall ON handover_offers
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON agents, agent_absences, handover_offers TO meridian_app;
