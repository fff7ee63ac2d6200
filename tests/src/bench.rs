//! Benchmark L: a campaign of three messages for N leads, driven by the Postgres engine, against
//! limits that plain SQL sets on the same server in the same minutes; and the same leads driven by
//! Temporal. Each run has a database and a process of its own; what counts is the ratio inside a pair.

pub mod bare;
pub mod engine;
pub mod fill;
pub mod host;
pub mod limit;
pub mod meter;
pub mod replies;
pub mod report;
pub mod run;
pub mod script;
pub mod server;
pub mod sleep;
pub mod suite;
pub mod temporal;
pub mod webhooks;
