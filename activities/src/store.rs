//! The SQL. Functions take a connection and leave the transaction to the caller; nothing outside
//! this module and the Postgres runner speaks SQL.

pub mod clock;
pub mod pool;

pub use pool::{Store, Tx};
