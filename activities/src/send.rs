//! One message on its way: PREPARE, GATE, CALL, RECORD, and SWEEP for those that were lost. Nothing
//! leaves except through the gate, and every call ends as a row: accepted, refused, unknown.

mod answer;
pub mod call;
pub mod colleagues;
pub mod content;
pub mod dossier;
pub mod gate;
pub mod passage;
pub mod prepare;
mod recontact;
pub mod record;
pub mod slots;
pub mod sweep;

pub use gate::{Gated, gate};
pub use prepare::{Prepared, prepare};
pub use record::{Recorded, record};
pub use sweep::sweep;
