//! Random calendars, zones and instants of eleven years.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use machine::calendar::{self, Calendar, Closure, LocalTime, Opening, Weekday, Window};
use proptest::prelude::*;

use crate::{at, is_open_by_definition, time};

/// Ten thousand of each, or as many as `PROPTEST_CASES` asks for.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 10_000, ..default },
    }
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop_oneof![
        3 => prop::sample::select(&TZ_VARIANTS[..]),
        1 => prop::sample::select(&[
            Tz::Europe__London,
            Tz::America__New_York,
            Tz::Australia__Lord_Howe,
            Tz::Antarctica__Troll,
            Tz::Africa__Casablanca,
            Tz::America__Nuuk,
            Tz::Asia__Gaza,
        ][..]),
    ]
}

fn any_instant() -> impl Strategy<Value = DateTime<Utc>> {
    let from = at("2024-01-01T00:00:00Z").timestamp();
    let to = at("2035-01-01T00:00:00Z").timestamp();
    (from..to, prop_oneof![Just(0), 0..1_000_000_000_u32])
        .prop_map(|(second, nanos)| DateTime::from_timestamp(second, nanos).unwrap())
}

fn any_time() -> impl Strategy<Value = LocalTime> {
    let written = |minute: u16| time(&format!("{:02}:{:02}", minute / 60, minute % 60));
    // Clocks are moved at night: half of the edges lie there.
    prop_oneof![0..1440_u16, 0..240_u16].prop_map(written)
}

fn any_window() -> impl Strategy<Value = Window> {
    let to = prop_oneof![9 => any_time(), 1 => Just(LocalTime::END_OF_DAY)];
    (prop::sample::subsequence(&Weekday::ALL[..], 1..=7), any_time(), to)
        .prop_map(|(days, from, to)| Window { days, from, to })
}

/// A calendar with its holidays around `now`, where they matter.
fn any_calendar(now: DateTime<Utc>) -> impl Strategy<Value = Calendar> {
    let today = now.date_naive();
    let holidays = prop::collection::btree_set(
        (0..12_u64).prop_map(move |days| today + Days::new(days) - Days::new(2)),
        0..6,
    );
    (prop::collection::vec(any_window(), 0..4), holidays)
        .prop_map(|(windows, holidays)| Calendar { windows, holidays })
}

fn any_case() -> impl Strategy<Value = (Calendar, Tz, DateTime<Utc>)> {
    any_instant().prop_flat_map(|now| (any_calendar(now), any_zone(), Just(now)))
}

/// A thousand instants in `from..to`, and the last one before `to`.
fn probes(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let step = ((to - from) / 1_000).max(TimeDelta::minutes(1));
    let spread = (0..1_000).map(move |n| from + step * n).take_while(move |probe| *probe < to);
    spread.chain([to - TimeDelta::nanoseconds(1)]).filter(move |probe| from <= *probe)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_opening_is_the_first_open_instant((calendar, zone, now) in any_case()) {
        let Opening { at, delayed_by } = calendar.next_opening(zone, now).unwrap();
        prop_assert!(at >= now);
        prop_assert!(is_open_by_definition(&calendar, zone, at));
        for probe in probes(now, at) {
            prop_assert!(!is_open_by_definition(&calendar, zone, probe), "open at {probe}");
        }
        let again = calendar.next_opening(zone, at);
        prop_assert_eq!(again, Ok(Opening { at, delayed_by: None }));

        let windows_alone = Calendar { holidays: BTreeSet::new(), ..calendar };
        let by_windows = windows_alone.next_opening(zone, now).unwrap().at;
        let expected = if at == now {
            None
        } else if at == by_windows {
            Some(Closure::Window)
        } else {
            Some(Closure::Holiday)
        };
        prop_assert_eq!(delayed_by, expected);
    }

    #[test]
    fn a_common_opening_is_the_first_instant_that_is_open_everywhere(
        (calendar, zone, now) in any_case(),
        others in prop::collection::vec(any_zone(), 1..6),
    ) {
        let zones: Vec<Tz> = others.into_iter().chain([zone]).collect();
        let is_common = |at| zones.iter().all(|zone| is_open_by_definition(&calendar, *zone, at));
        let opening = calendar.next_common_opening(&zones, now);
        let until = opening.map_or(now + TimeDelta::days(35), |opening| opening.at);
        prop_assert!(until >= now);
        for probe in probes(now, until) {
            prop_assert!(!is_common(probe), "open at {probe}");
        }
        if let Ok(opening) = opening {
            prop_assert!(is_common(opening.at));
        }
        prop_assert_eq!(calendar.suits(&zones, now), opening.is_ok());
    }

    #[test]
    fn a_later_question_has_no_earlier_opening(
        (calendar, zone, now) in any_case(),
        seconds in 0..1_000_000_i64,
    ) {
        let later = now + TimeDelta::seconds(seconds);
        let first = calendar.next_opening(zone, now).unwrap().at;
        let second = calendar.next_opening(zone, later).unwrap().at;
        prop_assert!(first <= second);
        if later <= first {
            prop_assert_eq!(first, second);
        }
    }

    #[test]
    fn a_closing_is_the_first_closed_instant(
        (calendar, zone, now) in any_case(),
        margin in 0..100_000_i64,
    ) {
        let at = calendar.next_opening(zone, now).unwrap().at;
        let closes = calendar.closes_at(zone, at).unwrap();
        prop_assert!(closes > at);
        for probe in probes(at, closes) {
            prop_assert!(is_open_by_definition(&calendar, zone, probe), "closed at {probe}");
        }
        let endless = closes == at + TimeDelta::days(400);
        prop_assert!(endless || !is_open_by_definition(&calendar, zone, closes));

        let margin = TimeDelta::seconds(margin);
        prop_assert_eq!(calendar.is_open_for(zone, at, margin), closes - at >= margin);
        prop_assert!(calendar.is_open_for(zone, at, closes - at));
        let longer = closes - at + TimeDelta::nanoseconds(1);
        prop_assert!(endless || !calendar.is_open_for(zone, at, longer));
    }

    #[test]
    fn a_local_time_comes_within_a_day_and_is_shown(
        zone in any_zone(),
        after in any_instant(),
        time in any_time(),
    ) {
        let next = calendar::next_local_time(zone, time, after);
        prop_assert!(next >= after);
        // No change of these years moves a clock by more than two hours.
        prop_assert!(next - after <= TimeDelta::hours(26));
        prop_assert_eq!(calendar::next_local_time(zone, time, next), next);
        let shows = |at: DateTime<Utc>| {
            let local = at.with_timezone(&zone).naive_local();
            (local.hour() * 60 + local.minute()) % 1440 == u32::from(time.minute_of_day()) % 1440
        };
        let first = after + TimeDelta::nanoseconds(
            (1_000_000_000 - i64::from(after.nanosecond())) % 1_000_000_000,
        );
        for probe in probes(first, next) {
            prop_assert!(
                !(shows(probe) && probe.with_timezone(&zone).second() == 0),
                "shown at {probe}"
            );
        }
        // What the clock does not show it skipped, on that day or just before its midnight.
        let date = next.with_timezone(&zone).date_naive();
        let moved = [date.pred_opt().unwrap(), date].into_iter().any(|date| {
            let minute = i64::from(time.minute_of_day());
            let local = date.and_time(NaiveTime::MIN) + TimeDelta::minutes(minute);
            zone.from_local_datetime(&local).earliest().is_none()
                && calendar::resolve_local(zone, local) == next
        });
        prop_assert!(shows(next) || moved);
    }

    #[test]
    fn a_day_later_shows_the_same_time_unless_it_is_skipped(
        zone in any_zone(),
        from in any_instant(),
        days in 0..400_u32,
    ) {
        let later = calendar::add_days(zone, from, days);
        let local = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
        let wanted = local(from) + Days::new(u64::from(days));
        if days == 0 {
            prop_assert_eq!(later, from);
        } else {
            prop_assert_eq!(later, calendar::resolve_local(zone, wanted));
        }
        prop_assert!(later >= from);
        match zone.from_local_datetime(&wanted).earliest() {
            Some(_) => prop_assert_eq!(local(later), wanted),
            None => prop_assert!(local(later) > wanted),
        }
    }

    /// Texts may leave where the calendar is open by day, and nowhere else. Where a window runs over
    /// midnight into the morning after a holiday, that morning is open: it is a day of its own.
    #[test]
    fn texts_leave_by_day_only((calendar, zone, now) in any_case()) {
        let texts = calendar.within_text_hours();
        let by_day = |at: DateTime<Utc>| {
            let hour = at.with_timezone(&zone).hour();
            (8..21).contains(&hour)
        };
        for at in probes(now, now + TimeDelta::days(3)) {
            let is_open = texts.as_ref().is_some_and(|texts| texts.is_open(zone, at));
            prop_assert!(!is_open || by_day(at), "{at}");
            if calendar.holidays.is_empty() {
                prop_assert_eq!(is_open, calendar.is_open(zone, at) && by_day(at), "{}", at);
            }
        }
    }
}
