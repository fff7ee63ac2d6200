//! What a lead does, as a pure function: `apply(state, signal, context) -> (state', effects)`.
//!
//! This crate knows no clock, no randomness, no I/O and no async; everything it may look at comes
//! in through [`context::Context`], everything it wants goes out as an [`effect::Effect`].

pub mod calendar;
pub mod condition;
pub mod context;
pub mod country;
pub mod delay;
pub mod document;
pub mod effect;
pub mod enrollment;
pub mod explain;
pub mod ids;
pub mod key;
pub mod keywords;
pub mod outcome;
pub mod schedule;
pub mod sequence;
pub mod signal;
pub mod state;
