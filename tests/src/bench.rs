//! Benchmark L: a campaign of three messages for N leads, driven by the Postgres engine.

pub mod fill;
