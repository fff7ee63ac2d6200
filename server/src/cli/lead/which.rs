//! Which leads a command is about, beside their tags.

use activities::leads::search::Query;
use activities::tag::Tag;
use chrono::{DateTime, Utc};
use machine::explain::Shown;

use crate::cli::enrollment;
use crate::times;

/// What leads have that are meant: all of it at once.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub(in crate::cli) struct Which {
    /// Those with an enrollment in this state, as in waiting, held or failed
    #[arg(long, value_parser = enrollment::state)]
    pub(in crate::cli) state: Option<Shown>,
    /// Those at this stage: new, contacted, replied, or what people say of them
    #[arg(long)]
    pub(in crate::cli) stage: Option<String>,
    /// Those whose source begins with this, as in import/
    #[arg(long)]
    pub(in crate::cli) source: Option<String>,
    /// Those with a mail address, or with false those without
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(in crate::cli) has_email: Option<bool>,
    /// Those whose attribute `country` is this
    #[arg(long)]
    pub(in crate::cli) country: Option<String>,
    /// Those whose attribute `tier` is this
    #[arg(long)]
    pub(in crate::cli) tier: Option<String>,
    /// Those whose attribute `score` is at least this
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(in crate::cli) score_min: Option<f64>,
    /// Those of whom an address, the name, the last name or the company begins with this
    #[arg(long)]
    pub(in crate::cli) text: Option<String>,
    /// Those who came to us then or later, as in 2026-03-02T09:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = times::read)]
    pub(in crate::cli) since: Option<DateTime<Utc>>,
}

impl Which {
    /// Returns what is looked for among the leads with `tag`.
    pub(in crate::cli) fn query(self, tag: Option<Tag>) -> Query {
        let some = |text: Option<String>| {
            text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Query {
            state: self.state,
            tag,
            country: some(self.country),
            tier: some(self.tier),
            score_min: self.score_min,
            text: some(self.text),
            since: self.since,
            source: some(self.source),
            stage: some(self.stage),
            has_email: self.has_email,
        }
    }
}
