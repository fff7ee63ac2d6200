//! Everything that touches the world: the turn, the send, the store and the channels.

pub mod address;
pub mod campaign_settings;
pub mod content;
pub mod error;
pub mod header_text;
pub mod ids;
pub mod mail;
pub mod outcome;
pub mod store;
pub mod turn;
pub mod versions;
