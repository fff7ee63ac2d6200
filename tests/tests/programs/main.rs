//! Other people's programs against the real one: the example that is shipped, `curl` as the demonstration
//! prints it, and a tester that knows nothing but the served OpenAPI document.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod contract;
mod demonstration;
mod example;
