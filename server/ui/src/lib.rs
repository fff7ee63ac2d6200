//! View models in, markup out; no SQL and no HTTP.

pub mod handover;
pub mod letter;
pub mod opt_out;
