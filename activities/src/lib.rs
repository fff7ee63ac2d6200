//! Everything that touches the world: the turn, the send, the store and the channels.
