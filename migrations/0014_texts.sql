-- Which ask of its send an event is about: a report about an earlier one says nothing about the newest.
ALTER TABLE inbound_events ADD COLUMN attempt integer; -- NULL: the event does not say
