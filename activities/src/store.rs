//! The SQL. Functions take a connection and leave the transaction to the caller; nothing outside
//! this module and the Postgres runner speaks SQL.
//!
//! Statements about a batch name each row by its whole key:
//!
//! ```sql
//! FROM unnest($1::uuid[], $2::uuid[]) AS u (workspace_id, send_id)
//! JOIN sends s ON s.workspace_id = u.workspace_id AND s.send_id = u.send_id
//! ```
//!
//! In [`Store::begin_batch`] the planner has then one way: through the key, batch first. With
//! `s.workspace_id = $1` instead it has a second one, through all rows of the workspace, and takes it
//! where it believes the workspace to be small, as it does of tables it has no statistics about. A
//! further table is looked up in `LATERAL (.. LIMIT 1)`, or it could be joined by its workspace alone.

pub mod agents;
pub mod answers;
pub mod api_keys;
pub mod audience;
pub mod audit;
pub mod bell;
pub mod campaign_verbs;
pub mod campaigns;
pub mod captures;
pub mod changes;
pub mod clock;
pub mod company_holds;
pub mod contacts;
pub mod conversations;
pub mod dead_letters;
pub mod dossiers;
pub mod endpoint_views;
pub mod engines;
pub mod enrollment_views;
pub mod enrollments;
pub mod erasures;
pub mod gates;
pub mod handover_links;
pub mod handover_views;
pub mod health;
pub mod idempotent_answers;
pub mod inbound_events;
pub mod journal;
pub mod lead_search;
pub mod lead_views;
pub mod leads;
pub mod locks;
pub mod matches;
pub mod measures;
pub mod oldest_key;
pub mod pool;
pub mod prepares;
pub mod quotas;
pub mod received_mails;
pub mod records;
pub mod replays;
pub mod reviews;
pub mod schema;
pub mod send_views;
pub mod senders;
pub mod sends;
pub mod sequence_versions;
pub mod signals;
pub mod suppression_views;
pub mod suppressions;
pub mod turns;
pub mod verifies;
pub mod waiting_leads;
pub mod webhook_endpoints;
pub mod work;
pub mod workspaces;

pub use pool::{Store, Tx};
