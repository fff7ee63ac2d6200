//! An agent of the world's team, in the words of a scenario.

use chrono_tz::Tz;
use machine::calendar::{Weekday, Window};

/// Somebody who takes leads over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The name; offers go to an address made of it.
    pub name: String,
    /// How many leads they may have at once.
    pub open_max: u32,
    /// The working hours; none: always.
    pub hours: Vec<Window>,
    /// On whose clock.
    pub zone: Tz,
}

/// Describes an agent in Lisbon who works at any hour and may have ten leads.
pub fn agent(name: &str) -> Agent {
    Agent { name: name.to_owned(), open_max: 10, hours: Vec::new(), zone: Tz::Europe__Lisbon }
}

impl Agent {
    /// May have no more leads than this.
    #[must_use]
    pub fn at_most(mut self, leads: u32) -> Self {
        self.open_max = leads;
        self
    }

    /// Works on these days between these times, too.
    #[must_use]
    pub fn works(mut self, days: &[Weekday], from: &str, to: &str) -> Self {
        let time = |text: &str| text.parse().expect("a time of day");
        self.hours.push(Window { days: days.to_vec(), from: time(from), to: time(to) });
        self
    }
}

/// What the addresses of agents end with.
pub(super) const DOMAIN: &str = "@agents.example";

/// Returns where offers to the agent of this name go.
pub(super) fn address(name: &str) -> String {
    format!("{name}{DOMAIN}")
}
