-- Companies that a campaign leaves alone for now: one of their people answered, or is with a person of
-- ours. A row stands as long as that enrollment has an answer that nobody has read, or a handover that is
-- open. Only campaigns whose `reply.scope` is `company` have any.
CREATE TABLE company_holds (
    workspace_id  uuid NOT NULL,
    campaign_id   uuid NOT NULL,
    company       text NOT NULL,    -- the domain of its mail addresses, lower-case
    enrollment_id uuid NOT NULL,    -- on whose account
    CONSTRAINT company_holds_pkey PRIMARY KEY (workspace_id, campaign_id, company, enrollment_id),
    CONSTRAINT company_holds_enrollment_fkey FOREIGN KEY (workspace_id, enrollment_id)
        REFERENCES enrollments
);
CREATE INDEX company_holds_enrollment_idx ON company_holds (workspace_id, enrollment_id);

-- Whose messages the gate put off for such a row: told when the last one goes. There is no foreign key to
-- enrollments, because the gate, which writes these rows, must not lock them.
CREATE TABLE company_waits (
    workspace_id  uuid NOT NULL,
    campaign_id   uuid NOT NULL,
    company       text NOT NULL,
    enrollment_id uuid NOT NULL,
    CONSTRAINT company_waits_pkey PRIMARY KEY (workspace_id, campaign_id, company, enrollment_id)
);

ALTER TABLE company_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE company_holds FORCE ROW LEVEL SECURITY;
CREATE POLICY company_holds_wall ON company_holds
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);
ALTER TABLE company_waits ENABLE ROW LEVEL SECURITY;
ALTER TABLE company_waits FORCE ROW LEVEL SECURITY;
CREATE POLICY company_waits_wall ON company_waits
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT, UPDATE, DELETE ON company_holds, company_waits TO meridian_app;
