//! The world the tests run in.

pub mod world;
