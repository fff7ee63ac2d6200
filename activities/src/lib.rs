//! Everything that touches the world: the turn, the send, the store and the channels.

mod base32;
pub mod endpoint_key;
pub mod inbound;
pub mod key_ring;
pub mod mailgun;
pub mod seal;
pub mod suppression_key;
pub mod token;
