//! What a lead does, as a pure function: `apply(state, signal, context) -> (state', effects)`.
//!
//! This crate knows no clock, no randomness, no I/O and no async; everything it may look at comes
//! in through [`context::Context`], everything it wants goes out as an [`effect::Effect`].

pub mod calendar;
