//! When we may write: windows on the lead's own wall clock, holidays, and the two odd hours of a
//! clock change.
