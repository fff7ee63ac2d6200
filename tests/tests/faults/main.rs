//! The real program among faults: killed, stopped, frozen, hung up on, cut off from its database's
//! answers. In one process, so that one test works while another waits; what takes the database away
//! from everybody is apart, in `outage.rs`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod commit_points;
mod freeze;
mod hang_ups;
mod kill;
mod lost_answers;
mod poison;
mod stop;
