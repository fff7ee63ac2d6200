//! What must happen to leads, told once and run on every backend. Each scenario has a world of its
//! own; one that leaves a request unanswered, or a ledger that breaks a rule, fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod absences;
mod agents;
mod answers;
mod bounces;
mod branches;
mod campaigns;
mod caps;
mod clock_changes;
mod colleagues;
mod countries;
mod handovers;
mod holds;
mod opt_outs;
mod orders;
mod parked;
mod pauses;
mod provider;
mod random;
mod replies;
mod sequences;
