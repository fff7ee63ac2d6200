-- The id of the oldest master key that this database was first used with. Who opted out is known by
-- hashes under that key alone: with another, everybody would be written to again.
CREATE TABLE oldest_key (
    only_row boolean NOT NULL DEFAULT true,
    key_id   bytea NOT NULL,
    CONSTRAINT oldest_key_pkey PRIMARY KEY (only_row),
    CONSTRAINT oldest_key_only_row_check CHECK (only_row),
    CONSTRAINT oldest_key_key_id_check CHECK (octet_length(key_id) = 4)
);

GRANT SELECT, INSERT ON oldest_key TO meridian_app;
