//! Everything that touches the world: the turn, the send, the store and the channels.

pub mod campaign_settings;
pub mod error;
pub mod ids;
pub mod store;
pub mod turn;
pub mod versions;
