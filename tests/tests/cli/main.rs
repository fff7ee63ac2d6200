//! The command line on a real Postgres: what a person types, what is printed, what is stored.

mod campaigns;
mod desk;
mod enrolling;
mod examples;
mod leads;
mod rehearsing;
mod senders;
mod serving;
