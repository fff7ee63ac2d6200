//! Allotting room: which sends go now, and when the others may. Pure, so that a rehearsal allots
//! exactly as the gate does.
//!
//! Capacity is booked, not only checked: a send that finds no room gets a slot of its own, so the
//! lead can say when it will be written to, and ten thousand leads do not storm one sender every
//! morning.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use machine::calendar::{self, Calendar, Closure};
use machine::state::Why;
use uuid::Uuid;

use crate::store::quotas::{Count, Key, Scope};

/// How many days ahead a slot is looked for.
const DAYS_MAX: u64 = 400;

/// A booked slot lapses when it is this late and pacing gives no longer measure.
const LATE: TimeDelta = TimeDelta::minutes(10);

/// A sender's limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SenderLimits {
    /// Messages a day.
    pub per_day: Option<u32>,
    /// Time between two messages.
    pub spacing: TimeDelta,
    /// Whose midnight begins its day.
    pub zone: Tz,
    /// The first slot that pacing leaves free.
    pub next_free_at: Option<DateTime<Utc>>,
    /// Whether its provider does not answer.
    pub outage: Outage,
}

/// Whether the provider of a sender does not answer, in campaign time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outage {
    /// It does.
    None,
    /// Nothing leaves before this.
    Until(DateTime<Utc>),
    /// One message may try.
    OneMayTry {
        /// When the next one may.
        next: DateTime<Utc>,
    },
}

/// A campaign's limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CampaignLimits {
    /// Messages a day.
    pub per_day: Option<u32>,
    /// Whose midnight begins its day.
    pub zone: Tz,
}

/// A slot that was booked before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Booking {
    /// When.
    pub at: DateTime<Utc>,
    /// Why the send was deferred to it.
    pub because: Why,
    /// The sender's day it counts for.
    pub sender_day: NaiveDate,
    /// The campaign's day it counts for.
    pub campaign_day: NaiveDate,
}

/// A send that asks for room.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// From whom.
    pub sender: Uuid,
    /// For which campaign.
    pub campaign: Uuid,
    /// When it may leave.
    pub calendar: &'a Calendar,
    /// What of that the campaign's own windows and holidays say.
    pub windows: &'a Calendar,
    /// On whose wall clocks, each of which must be inside the window.
    pub zones: &'a [Tz],
    /// Its slot, if it has one.
    pub booked: Option<Booking>,
    /// How long before its window closes it must leave.
    pub margin: TimeDelta,
    /// Until when another campaign's message to the lead, or a colleague, stands against it.
    pub guarded: Option<(DateTime<Utc>, Why)>,
}

/// What a send is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It may leave now, counted on these days.
    Go {
        /// The sender's.
        sender_day: NaiveDate,
        /// The campaign's.
        campaign_day: NaiveDate,
    },
    /// It may not, and asks again then.
    Defer {
        /// When.
        until: DateTime<Utc>,
        /// What stands against now.
        because: Why,
        /// The days on which the slot is booked; `None` where only the time is known.
        days: Option<(NaiveDate, NaiveDate)>,
    },
}

/// The limits and counts of one allotment.
#[derive(Debug, Default)]
pub struct Book {
    /// Every sender that is asked for.
    pub senders: BTreeMap<Uuid, SenderLimits>,
    /// Every campaign that is asked for.
    pub campaigns: BTreeMap<Uuid, CampaignLimits>,
    /// What has left and what is promised.
    pub counts: BTreeMap<Key, Count>,
    /// The counts that changed.
    pub changed: BTreeMap<Key, Count>,
    /// The senders through which one message tries.
    pub trials: BTreeSet<Uuid>,
}

impl Book {
    /// Gives `candidate` room, now or later, and counts it.
    pub fn allot(&mut self, candidate: &Candidate<'_>, now: DateTime<Utc>) -> Verdict {
        let (Some(&sender), Some(&campaign)) =
            (self.senders.get(&candidate.sender), self.campaigns.get(&candidate.campaign))
        else {
            return Verdict::Defer {
                until: now + LATE,
                because: Why::SenderDisconnected,
                days: None,
            };
        };
        let kept = candidate.booked.filter(|booked| {
            let late = sender.spacing.max(LATE);
            booked.at <= now && now - booked.at < late
        });
        if let Some(booked) = candidate.booked {
            self.add(candidate, booked.sender_day, booked.campaign_day, Entry::Unbook);
        }
        if let Some((until, because)) = candidate.guarded.filter(|(until, _)| *until > now) {
            let until = open_at(candidate, until).unwrap_or(until);
            return Verdict::Defer { until, because, days: None };
        }
        if let Some((until, because)) = closed(candidate, now) {
            return Verdict::Defer { until, because, days: None };
        }
        match sender.outage {
            Outage::Until(until) if until > now => {
                return Verdict::Defer { until, because: Why::ProviderOutage, days: None };
            }
            Outage::Until(_) | Outage::None | Outage::OneMayTry { .. } => {}
        }
        let sender_day = day(now, sender.zone);
        let campaign_day = day(now, campaign.zone);
        if let Some(because) = self.full(candidate, sender_day, campaign_day) {
            return self.another_day(candidate, sender, campaign, now, because);
        }
        if sender.spacing > TimeDelta::zero() {
            let paced = kept.is_some_and(|booked| booked.because == Why::SenderPacing);
            let free = sender.next_free_at.unwrap_or(now).max(now);
            if !paced && free > now {
                return self.paced(candidate, sender, campaign, free, now);
            }
            if !paced {
                self.move_cursor(candidate.sender, now + sender.spacing);
            }
        }
        if let Outage::OneMayTry { next } = sender.outage {
            self.begin_trial(candidate.sender, next);
        }
        self.add(candidate, sender_day, campaign_day, Entry::Use);
        Verdict::Go { sender_day, campaign_day }
    }

    /// Books the first slot that pacing leaves free, if it lies inside window and day.
    fn paced(
        &mut self,
        candidate: &Candidate<'_>,
        sender: SenderLimits,
        campaign: CampaignLimits,
        free: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Verdict {
        let because = Why::SenderPacing;
        if let Some((until, _)) = closed(candidate, free) {
            // The slot stays free for leads whose window is open then.
            return Verdict::Defer { until, because, days: None };
        }
        let days = (day(free, sender.zone), day(free, campaign.zone));
        if let Some(because) = self.full(candidate, days.0, days.1) {
            return self.another_day(candidate, sender, campaign, now, because);
        }
        self.move_cursor(candidate.sender, free + sender.spacing);
        self.add(candidate, days.0, days.1, Entry::Book);
        Verdict::Defer { until: free, because, days: Some(days) }
    }

    /// Books a slot on the first later day with room, spread over the lead's window.
    fn another_day(
        &mut self,
        candidate: &Candidate<'_>,
        sender: SenderLimits,
        campaign: CampaignLimits,
        now: DateTime<Utc>,
        because: Why,
    ) -> Verdict {
        let today = day(now, sender.zone);
        for ahead in 1..=DAYS_MAX {
            let Some(date) = today.checked_add_days(Days::new(ahead)) else { break };
            let midnight = calendar::resolve_local(sender.zone, date.and_time(NaiveTime::MIN));
            let Some(first) = open_at(candidate, midnight.max(now)) else { break };
            if day(first, sender.zone) != date {
                continue;
            }
            let booked = self.count((Scope::Sender, candidate.sender, date)).booked;
            let at = spread(candidate, sender, first, booked);
            let campaign_day = day(at, campaign.zone);
            if self.full(candidate, date, campaign_day).is_none() {
                self.add(candidate, date, campaign_day, Entry::Book);
                return Verdict::Defer { until: at, because, days: Some((date, campaign_day)) };
            }
        }
        Verdict::Defer { until: now + TimeDelta::days(1), because, days: None }
    }

    /// Returns the limit that leaves no room on these days.
    fn full(
        &self,
        candidate: &Candidate<'_>,
        sender_day: NaiveDate,
        campaign_day: NaiveDate,
    ) -> Option<Why> {
        let taken = |count: Count| u32::try_from(count.used + count.booked).unwrap_or(0);
        let sender = self.senders.get(&candidate.sender)?;
        let campaign = self.campaigns.get(&candidate.campaign)?;
        let by_sender = self.count((Scope::Sender, candidate.sender, sender_day));
        if sender.per_day.is_some_and(|max| taken(by_sender) >= max) {
            return Some(Why::SenderDailyLimit);
        }
        let by_campaign = self.count((Scope::Campaign, candidate.campaign, campaign_day));
        if campaign.per_day.is_some_and(|max| taken(by_campaign) >= max) {
            return Some(Why::CampaignDailyLimit);
        }
        None
    }

    fn count(&self, key: Key) -> Count {
        self.counts.get(&key).copied().unwrap_or_default()
    }

    fn add(
        &mut self,
        candidate: &Candidate<'_>,
        sender_day: NaiveDate,
        campaign_day: NaiveDate,
        entry: Entry,
    ) {
        let sender = self.senders.get(&candidate.sender).and_then(|sender| sender.per_day);
        let campaign = self.campaigns.get(&candidate.campaign).and_then(|limits| limits.per_day);
        let keys = [
            ((Scope::Sender, candidate.sender, sender_day), sender),
            ((Scope::Campaign, candidate.campaign, campaign_day), campaign),
        ];
        for (key, max) in keys {
            // Without a limit there is nothing to count.
            let Some(max) = max else { continue };
            let count = self.counts.entry(key).or_default();
            count.max = i32::try_from(max).unwrap_or(i32::MAX);
            match entry {
                Entry::Use => count.used += 1,
                Entry::Book => count.booked += 1,
                Entry::Unbook => count.booked = (count.booked - 1).max(0),
            }
            self.changed.insert(key, *count);
        }
    }

    fn begin_trial(&mut self, sender: Uuid, next: DateTime<Utc>) {
        if let Some(limits) = self.senders.get_mut(&sender) {
            limits.outage = Outage::Until(next);
            self.trials.insert(sender);
        }
    }

    fn move_cursor(&mut self, sender: Uuid, to: DateTime<Utc>) {
        if let Some(limits) = self.senders.get_mut(&sender) {
            limits.next_free_at = Some(to);
        }
    }
}

#[derive(Clone, Copy)]
enum Entry {
    Use,
    Book,
    Unbook,
}

fn day(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// Returns when the window opens again, if `at` is outside it or too near its end.
fn closed(candidate: &Candidate<'_>, at: DateTime<Utc>) -> Option<(DateTime<Utc>, Why)> {
    if may_leave(candidate, at) {
        return None;
    }
    // Where nothing opens nothing leaves.
    let later = open_at(candidate, at).unwrap_or(at + TimeDelta::days(1));
    // What the campaign itself would let leave is kept by the hours for texts.
    if is_open(candidate, candidate.windows, at) {
        return Some((later, Why::QuietHours));
    }
    let opening = candidate.windows.next_common_opening(candidate.zones, at).ok();
    let because = match opening.and_then(|opening| opening.delayed_by) {
        Some(Closure::Holiday) => Why::Holiday,
        Some(Closure::Window) | None => Why::SendWindow,
    };
    Some((later, because))
}

/// Whether `at` is open for long enough, wherever the lead may be.
fn may_leave(candidate: &Candidate<'_>, at: DateTime<Utc>) -> bool {
    // What lies after midnight is another day's where texts are concerned, and may be open on the
    // morning after a holiday where the campaign is not.
    is_open(candidate, candidate.calendar, at) && is_open(candidate, candidate.windows, at)
}

fn is_open(candidate: &Candidate<'_>, calendar: &Calendar, at: DateTime<Utc>) -> bool {
    candidate.zones.iter().all(|zone| calendar.is_open_for(*zone, at, candidate.margin))
}

/// Returns the first instant from `at` on that is open for long enough.
fn open_at(candidate: &Candidate<'_>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut from = at;
    for _ in 0..64 {
        let opening = candidate.calendar.next_common_opening(candidate.zones, from).ok()?.at;
        if may_leave(candidate, opening) {
            return Some(opening);
        }
        from = candidate.calendar.first_closing(candidate.zones, opening)?;
    }
    None
}

/// Spreads the slots of a day over the window that opens at `first`.
fn spread(
    candidate: &Candidate<'_>,
    sender: SenderLimits,
    first: DateTime<Utc>,
    booked: i32,
) -> DateTime<Utc> {
    let closes = candidate.calendar.first_closing(candidate.zones, first);
    let length = closes.map_or(TimeDelta::days(1), |closes| closes - first).min(TimeDelta::days(1));
    let room = (length - candidate.margin).num_seconds().max(1);
    let step = match sender.per_day {
        _ if sender.spacing > TimeDelta::zero() => sender.spacing.num_seconds(),
        Some(per_day) => room / i64::from(per_day.max(1)),
        None => 0,
    };
    first + TimeDelta::seconds((i64::from(booked) * step) % room)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a send is told that asks at `now`, where mail leaves from nine to ten.
    fn told(now: &str, margin: TimeDelta) -> Verdict {
        let nine_to_ten = serde_json::json!({
            "windows": [{ "days": ["mon", "tue"], "from": "09:00", "to": "10:00" }],
        });
        let calendar: Calendar = serde_json::from_value(nine_to_ten).unwrap();
        let id = Uuid::nil();
        let sender = SenderLimits {
            per_day: None,
            spacing: TimeDelta::zero(),
            zone: Tz::UTC,
            next_free_at: None,
            outage: Outage::None,
        };
        let mut book = Book::default();
        book.senders.insert(id, sender);
        book.campaigns.insert(id, CampaignLimits { per_day: None, zone: Tz::UTC });
        let candidate = Candidate {
            sender: id,
            campaign: id,
            calendar: &calendar,
            windows: &calendar,
            zones: &[Tz::UTC],
            booked: None,
            margin,
            guarded: None,
        };
        book.allot(&candidate, now.parse().unwrap())
    }

    #[test]
    fn a_send_leaves_inside_its_window_and_not_at_its_very_end() {
        let margin = TimeDelta::seconds(30);
        assert!(matches!(told("2026-03-02T09:59:30Z", margin), Verdict::Go { .. }));
        let tomorrow = "2026-03-03T09:00:00Z".parse().unwrap();
        for late in ["2026-03-02T09:59:31Z", "2026-03-02T10:00:00Z"] {
            let deferred = Verdict::Defer { until: tomorrow, because: Why::SendWindow, days: None };
            assert_eq!(told(late, margin), deferred, "{late}");
        }
    }

    #[test]
    fn where_nothing_is_open_for_long_enough_nothing_leaves() {
        for now in ["2026-03-02T09:00:00Z", "2026-03-02T20:00:00Z"] {
            let verdict = told(now, TimeDelta::hours(2));
            assert!(matches!(verdict, Verdict::Defer { .. }), "{now}: {verdict:?}");
        }
    }
}
