-- Leads that wait because no agent can be asked, the longest first: they are told when one can. Offers
-- that are out, and those that went to an address, have no entry for long.
CREATE INDEX handovers_unasked_idx ON handovers (workspace_id, opened_at, enrollment_id)
    WHERE state = 'offered' AND agent_id IS NULL;
