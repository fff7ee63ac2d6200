-- Which send an event is about. An event that names a send proves that the provider took it, also
-- one that no lead has to hear of; the sweep asks here before it calls a person.
ALTER TABLE inbound_events ADD COLUMN send_id uuid;
CREATE INDEX inbound_events_send_idx ON inbound_events (workspace_id, send_id)
    WHERE send_id IS NOT NULL;
