//! Drives turns and effects from due rows in Postgres.
