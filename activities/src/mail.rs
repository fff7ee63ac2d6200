//! Outbound mail: what a message looks like on the wire, and how it is handed to a mail server.
//! Nothing here decides whether a message may go; that is the gate's.

pub mod account;
pub mod message;
pub mod message_id;
pub mod reach;
pub mod smtp;
