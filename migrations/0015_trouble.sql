-- A provider that does not answer closes its own senders for a while, and nothing else; and calls whose
-- outcome nobody knows are looked up where a provider can be asked.

ALTER TABLE senders
    ADD COLUMN trouble_count integer NOT NULL DEFAULT 0, -- calls in a row that the provider did not answer
    ADD COLUMN trouble       text,                       -- what was seen last
    ADD COLUMN trouble_until timestamptz,                -- wall time; nothing leaves before, then one call tries
    ADD CONSTRAINT senders_trouble_check CHECK (trouble_count >= 0);

ALTER TABLE sends
    ADD COLUMN looks     smallint NOT NULL DEFAULT 0, -- how often its provider was asked for it
    ADD COLUMN settle_at timestamptz;                 -- wall time; of an unknown send: when it is asked for next

-- Every sender with what keeps it from sending, across the walls, for the metrics of the installation.
CREATE POLICY senders_finder ON senders FOR SELECT TO meridian_finder USING (true);
GRANT SELECT (sender_id, channel, status, trouble_count, trouble_until) ON senders TO meridian_finder;

CREATE FUNCTION sender_states()
    RETURNS TABLE (sender_id uuid, channel text, status text, trouble_count integer, trouble_until timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
        SELECT s.sender_id, s.channel, s.status, s.trouble_count, s.trouble_until FROM senders s
        ORDER BY s.sender_id LIMIT 1000
    $$;

GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION sender_states() OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;

REVOKE EXECUTE ON FUNCTION sender_states() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sender_states() TO meridian_app;
