//! Twilio: sending a text, and what Twilio posts to us about texts sent and texts that came in. Every
//! request is made once; whoever acts on a post has verified its signature, which covers the whole of
//! it, and stored it under a key of its own, because posts come twice and in any order.

pub mod account;
pub mod client;
pub mod post;
pub mod signature;
