-- What a campaign is to do to many leads takes long: its audience enters, now or at a time, and its leads
-- move to another version of their sequence. The wish is in its row until the last lead is through, so
-- that any runner can go on where another stopped.
ALTER TABLE campaigns
    ADD COLUMN start_at  timestamptz, -- campaign time of the start; NULL again once the audience is in
    ADD COLUMN moving_to integer,     -- the version its leads are moved to; NULL again once they are
    ADD CONSTRAINT campaigns_moving_fkey FOREIGN KEY (workspace_id, sequence_id, moving_to)
        REFERENCES sequence_versions;
CREATE INDEX campaigns_start_idx ON campaigns (workspace_id, start_at) WHERE start_at IS NOT NULL;
CREATE INDEX campaigns_moving_idx ON campaigns (workspace_id, campaign_id)
    WHERE moving_to IS NOT NULL;

-- The few leads of a campaign that somebody looks for by state. The states that nearly every lead is in or
-- passes through are left out: they are found without it, and turns would pay for it.
CREATE INDEX enrollments_state_idx ON enrollments (workspace_id, campaign_id, state, lead_id)
    WHERE state IN (
        'retrying', 'needs_approval', 'call_due', 'with_person', 'held', 'paused', 'replied', 'met',
        'bounced', 'opted_out', 'stopped', 'failed');

-- Campaigns whose audience is to enter, at its time.
CREATE FUNCTION planned_starts()
    RETURNS TABLE (workspace_id uuid, campaign_id uuid, start_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$
        SELECT c.workspace_id, c.campaign_id, c.start_at FROM campaigns c
        WHERE c.start_at IS NOT NULL AND c.status IN ('draft', 'active', 'finished')
        ORDER BY c.start_at
    $$;

-- Campaigns whose leads are being moved to another version.
CREATE FUNCTION moving_campaigns() RETURNS TABLE (workspace_id uuid, campaign_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
    AS $$ SELECT c.workspace_id, c.campaign_id FROM campaigns c WHERE c.moving_to IS NOT NULL $$;

GRANT CREATE ON SCHEMA public TO meridian_finder;
ALTER FUNCTION planned_starts() OWNER TO meridian_finder;
ALTER FUNCTION moving_campaigns() OWNER TO meridian_finder;
REVOKE CREATE ON SCHEMA public FROM meridian_finder;
GRANT SELECT (status, start_at, moving_to) ON campaigns TO meridian_finder;

REVOKE EXECUTE ON FUNCTION planned_starts(), moving_campaigns() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION planned_starts(), moving_campaigns() TO meridian_app;
