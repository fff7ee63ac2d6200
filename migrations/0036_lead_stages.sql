-- Where a person stands with us, and where a person came from, as leads are looked for. What people say of
-- the stage is an attribute like any other; that a lead was written to, or answered, is known from what
-- happened and is looked up.
ALTER TABLE leads
    ADD COLUMN stage_key text COLLATE "C" GENERATED ALWAYS AS (
        left(lower(nullif(btrim(attributes ->> 'stage'), '')), 100)) STORED;

CREATE INDEX leads_stage_idx ON leads (workspace_id, stage_key, lead_id) WHERE stage_key IS NOT NULL;
CREATE INDEX leads_source_idx ON leads (workspace_id, source COLLATE "C");
