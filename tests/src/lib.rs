//! The world the tests run in.

pub mod bench;
pub mod cluster;
pub mod emulators;
pub mod end_to_end;
pub mod janitor;
pub mod personal;
pub mod world;
