-- Leads are found by what people know of them, and erased when they ask for it.

-- Under row security an index is used for equality and ranges of plain columns only, so what leads are
-- looked for by stands in columns that follow the attributes by themselves, in lower case and cut to
-- what an index can hold. The collation orders by bytes: a prefix is a range.
ALTER TABLE leads
    ADD COLUMN country_key text COLLATE "C" GENERATED ALWAYS AS (
        left(lower(attributes ->> 'country'), 100)) STORED,
    ADD COLUMN tier_key text COLLATE "C" GENERATED ALWAYS AS (
        left(lower(attributes ->> 'tier'), 100)) STORED,
    ADD COLUMN name_key text COLLATE "C" GENERATED ALWAYS AS (
        left(lower(coalesce(
            nullif(btrim(coalesce(attributes ->> 'first_name', '') || ' '
                || coalesce(attributes ->> 'last_name', '')), ''),
            attributes ->> 'name')), 100)) STORED,
    ADD COLUMN last_name_key text COLLATE "C" GENERATED ALWAYS AS (
        left(lower(attributes ->> 'last_name'), 100)) STORED,
    ADD COLUMN company_key text COLLATE "C" GENERATED ALWAYS AS (
        left(lower(coalesce(attributes ->> 'company', attributes ->> 'hotel')), 100)) STORED,
    ADD COLUMN score double precision GENERATED ALWAYS AS (
        CASE WHEN attributes ->> 'score' ~ '^-?[0-9]{1,9}([.][0-9]{1,9})?$'
            THEN (attributes ->> 'score')::double precision END) STORED,
    ADD COLUMN erase_again_at timestamptz; -- wall time; what was under way when it was erased has ended by then

CREATE INDEX leads_country_idx ON leads (workspace_id, country_key, lead_id)
    WHERE country_key IS NOT NULL;
CREATE INDEX leads_tier_idx ON leads (workspace_id, tier_key, lead_id) WHERE tier_key IS NOT NULL;
CREATE INDEX leads_name_idx ON leads (workspace_id, name_key) WHERE name_key IS NOT NULL;
CREATE INDEX leads_last_name_idx ON leads (workspace_id, last_name_key)
    WHERE last_name_key IS NOT NULL;
CREATE INDEX leads_company_idx ON leads (workspace_id, company_key) WHERE company_key IS NOT NULL;
CREATE INDEX leads_score_idx ON leads (workspace_id, score) WHERE score IS NOT NULL;
CREATE INDEX leads_created_idx ON leads (workspace_id, created_at);
CREATE INDEX leads_erase_again_idx ON leads (workspace_id, erase_again_at)
    WHERE erase_again_at IS NOT NULL;
CREATE INDEX addresses_prefix_idx ON addresses (workspace_id, address COLLATE "C");

-- What is kept of an erased person is the promise never to write to it.
ALTER TABLE suppressions
    DROP CONSTRAINT suppressions_reason_check,
    ADD CONSTRAINT suppressions_reason_check CHECK (reason IN (
        'opted_out', 'complained', 'hard_bounce', 'by_person', 'imported', 'erased'));

-- Whom an event is about, also where nobody was enrolled and no message of ours is named.
ALTER TABLE inbound_events ADD COLUMN lead_id uuid;
CREATE INDEX inbound_events_lead_idx ON inbound_events (workspace_id, lead_id)
    WHERE lead_id IS NOT NULL;

CREATE INDEX captured_messages_send_idx ON captured_messages (workspace_id, send_id);
