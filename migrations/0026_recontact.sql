-- When a lead was last reached in each campaign, so that another campaign can leave it alone for a while.
-- In the row that every turn writes anyway: the ledger has no index by lead, and gets none.
ALTER TABLE enrollments ADD COLUMN contacted_at timestamptz; -- campaign time; NULL: nothing went to the lead yet

-- The owner's own look at every workspace, for what was sent before.
ALTER TABLE enrollments NO FORCE ROW LEVEL SECURITY;
ALTER TABLE sends NO FORCE ROW LEVEL SECURITY;
UPDATE enrollments AS e
SET contacted_at = s.at
FROM (
    SELECT workspace_id, enrollment_id, max(gate_at) AS at
    FROM sends
    WHERE kind = 'step' AND state = 'accepted'
    GROUP BY workspace_id, enrollment_id) AS s
WHERE e.workspace_id = s.workspace_id AND e.enrollment_id = s.enrollment_id;
ALTER TABLE sends FORCE ROW LEVEL SECURITY;
ALTER TABLE enrollments FORCE ROW LEVEL SECURITY;
