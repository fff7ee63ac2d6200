//! Everything that touches the world: the turn, the send, the store and the channels.

pub mod address;
mod base32;
pub mod campaign_settings;
pub mod campaign_verb;
pub mod campaigns;
pub mod capture;
pub mod content;
pub mod endpoint_key;
pub mod error;
pub mod header_text;
pub mod ids;
pub mod inbound;
pub mod key_ring;
pub mod mail;
pub mod mailgun;
pub mod mailroom;
pub mod outcome;
pub mod seal;
pub mod send;
pub mod senders;
pub mod store;
pub mod suppression_key;
pub mod token;
pub mod turn;
pub mod versions;
