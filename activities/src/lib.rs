//! Everything that touches the world: the turn, the send, the store and the channels.

pub mod error;
pub mod ids;
pub mod store;
