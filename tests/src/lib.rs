//! The world the tests run in.

pub mod bench;
pub mod cluster;
pub mod world;
