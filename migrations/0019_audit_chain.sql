-- Acts on record, sealed one after the other: each hash covers the act and the hash before it, so
-- that an act that is changed or taken out later shows.
CREATE TABLE audit_seals (
    workspace_id uuid NOT NULL,
    audit_id     bigint NOT NULL,
    hash         bytea NOT NULL, -- SHA-256 over the hash before and the act
    CONSTRAINT audit_seals_pkey PRIMARY KEY (workspace_id, audit_id),
    CONSTRAINT audit_seals_act_fkey FOREIGN KEY (workspace_id, audit_id) REFERENCES audit
);

ALTER TABLE audit_seals ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_seals FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_seals_wall ON audit_seals
    USING (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid);

GRANT SELECT, INSERT ON audit_seals TO meridian_app;
