//! The capture sender: nothing leaves the machine, every message can be read, and a script may play
//! the recipients.

pub mod player;
pub mod script;
