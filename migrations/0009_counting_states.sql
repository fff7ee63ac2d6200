-- How many leads of each campaign are in each state, across the walls, for the metrics of the whole
-- installation. Sums of counters, no look at any lead.

CREATE POLICY counter_deltas_finder ON counter_deltas FOR SELECT TO meridian_finder USING (true);
GRANT SELECT (campaign_id, measure, n) ON counter_deltas TO meridian_finder;

CREATE FUNCTION campaign_states() RETURNS TABLE (campaign_id uuid, state text, n bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
        SELECT d.campaign_id, substr(d.measure, 7), sum(d.n)::bigint
        FROM counter_deltas d
        WHERE d.measure LIKE 'state/%'
        GROUP BY d.campaign_id, d.measure
    $$;

GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION campaign_states() OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;

REVOKE EXECUTE ON FUNCTION campaign_states() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION campaign_states() TO meridian_app;
