//! View models in, markup out; no SQL and no HTTP.

pub mod opt_out;
