//! What a person of ours has to know before writing: which of the lead's addresses nobody writes to.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::store::suppression_views::SuppressionView;
use crate::store::suppressions::Reason;

/// Tells them one by one.
pub(super) fn tell(
    text: &mut String,
    promises: &[SuppressionView],
    local: impl Fn(DateTime<Utc>) -> String,
) {
    for promise in promises {
        let whom = promise.value.as_deref().unwrap_or("them");
        let whom = if is_domain(promise) { format!("anybody at {whom}") } else { whom.to_owned() };
        let why = Reason::of(&promise.reason).map_or("it is suppressed", in_words);
        let since = local(promise.suppressed_at);
        let _ = writeln!(text, "Do not write to {whom}: {why} ({since}).");
    }
}

/// Whether one of them is about mail.
pub(super) fn are_about_mail(promises: &[SuppressionView]) -> bool {
    let is_mailbox = |it: &SuppressionView| it.value.as_deref().is_some_and(|it| it.contains('@'));
    promises.iter().any(|promise| is_domain(promise) || is_mailbox(promise))
}

fn is_domain(promise: &SuppressionView) -> bool {
    promise.scope == "domain"
}

fn in_words(reason: Reason) -> &'static str {
    match reason {
        Reason::OptedOut => "they opted out",
        Reason::Complained => "they reported a mail as unwanted",
        Reason::HardBounce => "a message came back, the address does not work",
        Reason::ByPerson => "one of us put it on the list of suppressions",
        Reason::Imported => "it came with a list of suppressions",
        Reason::Erased => "its owner was erased",
    }
}
