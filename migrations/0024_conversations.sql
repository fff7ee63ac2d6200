-- Who wrote to us, the newest first. Event ids are made in the order of time; what a machine sent
-- (out of office, delivery reports) begins no conversation.
ALTER TABLE inbound_events ADD COLUMN is_automatic boolean NOT NULL DEFAULT false;
CREATE INDEX inbound_events_written_idx ON inbound_events (workspace_id, event_id)
    WHERE lead_id IS NOT NULL AND NOT is_automatic
      AND kind IN ('mail', 'text', 'text_stop', 'text_start', 'text_help');

-- Which of them a person of ours still owes an answer.
CREATE INDEX handovers_lead_idx ON handovers (workspace_id, lead_id);
