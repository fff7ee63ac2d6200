-- Whom handovers are offered to where a campaign names nobody. The campaigns that use it hold a copy, which
-- changes with it, because the gate reads a campaign's settings and nothing else.
ALTER TABLE workspaces
    ADD COLUMN handover_address text,
    ADD COLUMN version integer NOT NULL DEFAULT 1; -- rises with every change

-- Whom a workspace hands over to is nobody else's business: what works across the walls reads the columns
-- that it read before.
REVOKE SELECT ON workspaces FROM meridian_finder;
GRANT SELECT (workspace_id, name, created_at) ON workspaces TO meridian_finder;
