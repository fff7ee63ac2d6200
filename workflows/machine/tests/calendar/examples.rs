//! The cases people trip over, by name.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use machine::calendar::{self, Calendar, Closure, NoOpening, Opening, Weekday};

use crate::{WithHolidays as _, at, daily, office_hours, time, window};

fn zone(name: &str) -> Tz {
    name.parse().unwrap()
}

fn wall(text: &str) -> NaiveDateTime {
    text.parse().unwrap()
}

fn opening(calendar: &Calendar, name: &str, now: &str) -> (String, Option<Closure>) {
    let zone = zone(name);
    let Opening { at, delayed_by } = calendar.next_opening(zone, self::at(now)).unwrap();
    (at.with_timezone(&zone).to_rfc3339(), delayed_by)
}

fn closing(calendar: &Calendar, name: &str, from: &str) -> Option<String> {
    let zone = zone(name);
    Some(calendar.closes_at(zone, at(from))?.with_timezone(&zone).to_rfc3339())
}

fn resolved(name: &str, local: &str) -> String {
    let zone = zone(name);
    calendar::resolve_local(zone, wall(local)).with_timezone(&zone).to_rfc3339()
}

mod openings {
    use super::*;

    #[test]
    fn an_open_moment_is_its_own_opening_to_the_nanosecond() {
        let now = at("2026-11-24T10:30:00.123456789Z");
        let opening = office_hours().next_opening(Tz::UTC, now).unwrap();
        assert_eq!(opening, Opening { at: now, delayed_by: None });
    }

    #[test]
    fn windows_are_half_open() {
        let open = |now| opening(&office_hours(), "Europe/Berlin", now).1.is_none();
        assert!(!open("2026-11-24T08:59:59.999999999+01:00"));
        assert!(open("2026-11-24T09:00:00+01:00"));
        assert!(open("2026-11-24T16:59:59.999999999+01:00"));
        assert!(!open("2026-11-24T17:00:00+01:00"));
    }

    #[test]
    fn a_friday_evening_waits_for_monday() {
        let (at, by) = opening(&office_hours(), "America/New_York", "2026-11-20T17:00:00-05:00");
        assert_eq!(at, "2026-11-23T09:00:00-05:00");
        assert_eq!(by, Some(Closure::Window));
    }

    #[test]
    fn several_windows_a_day_and_different_days_each_count() {
        let calendar = Calendar {
            windows: vec![
                window(&[Weekday::Tue], "14:00", "16:00"),
                window(&[Weekday::Tue, Weekday::Thu], "09:00", "11:30"),
            ],
            holidays: BTreeSet::new(),
        };
        let next = |now| opening(&calendar, "UTC", now).0;
        assert_eq!(next("2026-11-24T00:00:00Z"), "2026-11-24T09:00:00+00:00");
        assert_eq!(next("2026-11-24T11:30:00Z"), "2026-11-24T14:00:00+00:00");
        assert_eq!(next("2026-11-24T16:00:00Z"), "2026-11-26T09:00:00+00:00");
        assert_eq!(next("2026-11-26T11:30:00Z"), "2026-12-01T09:00:00+00:00");
    }

    #[test]
    fn the_end_of_the_day_can_be_named() {
        let calendar = daily("20:00", "24:00");
        let next = |now| opening(&calendar, "UTC", now).0;
        assert_eq!(next("2026-11-24T23:59:59Z"), "2026-11-24T23:59:59+00:00");
        assert_eq!(next("2026-11-25T00:00:00Z"), "2026-11-25T20:00:00+00:00");
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        let calendar = Calendar {
            windows: vec![window(&[Weekday::Fri], "22:00", "02:00")],
            holidays: BTreeSet::new(),
        };
        let next = |now| opening(&calendar, "UTC", now).0;
        assert_eq!(next("2026-11-20T01:00:00Z"), "2026-11-20T22:00:00+00:00");
        assert_eq!(next("2026-11-21T01:59:59Z"), "2026-11-21T01:59:59+00:00");
        assert_eq!(next("2026-11-21T02:00:00Z"), "2026-11-27T22:00:00+00:00");
    }

    #[test]
    fn a_window_that_ends_when_it_starts_lasts_a_day() {
        let calendar = Calendar {
            windows: vec![window(&[Weekday::Fri], "22:00", "22:00")],
            holidays: BTreeSet::new(),
        };
        let friday = "2026-11-20T22:00:00Z";
        assert_eq!(opening(&calendar, "UTC", friday).1, None);
        assert_eq!(closing(&calendar, "UTC", friday).as_deref(), Some("2026-11-21T22:00:00+00:00"));
    }

    #[test]
    fn no_windows_mean_always_open_but_for_holidays() {
        let calendar = Calendar::default().closed_on(&["2026-12-25", "2026-12-26"]);
        let next = |now| opening(&calendar, "Europe/Berlin", now);
        assert_eq!(next("2026-12-24T23:59:59+01:00").1, None);
        let delayed = ("2026-12-27T00:00:00+01:00".to_owned(), Some(Closure::Holiday));
        assert_eq!(next("2026-12-25T00:00:00+01:00"), delayed);
        assert_eq!(next("2026-12-26T18:00:00+01:00"), delayed);
    }

    #[test]
    fn a_holiday_is_named_where_it_closed_what_the_windows_would_have_admitted() {
        let calendar = office_hours().closed_on(&["2026-12-25"]);
        let next = |now| opening(&calendar, "UTC", now);
        let monday = "2026-12-28T09:00:00+00:00".to_owned();
        // In the middle of Christmas, before its office hours, and from the evening before.
        for now in ["2026-12-25T10:00:00Z", "2026-12-25T03:00:00Z", "2026-12-24T17:00:00Z"] {
            assert_eq!(next(now), (monday.clone(), Some(Closure::Holiday)), "from {now}");
        }
        // After its office hours the holiday changes nothing any more.
        assert_eq!(next("2026-12-25T17:00:00Z"), (monday, Some(Closure::Window)));
    }

    #[test]
    fn a_holiday_on_the_starting_day_closes_the_hours_after_midnight_too() {
        let calendar = daily("22:00", "02:00").closed_on(&["2026-12-24"]);
        let (at, by) = opening(&calendar, "UTC", "2026-12-25T00:30:00Z");
        assert_eq!(at, "2026-12-25T22:00:00+00:00");
        assert_eq!(by, Some(Closure::Holiday));
        assert_eq!(opening(&calendar, "UTC", "2026-12-24T01:00:00Z").1, Some(Closure::Holiday));
    }

    #[test]
    fn a_holiday_on_the_second_day_closes_only_the_hours_after_midnight() {
        let calendar = daily("22:00", "02:00").closed_on(&["2026-12-25"]);
        assert_eq!(opening(&calendar, "UTC", "2026-12-24T23:59:59Z").1, None);
        assert_eq!(
            closing(&calendar, "UTC", "2026-12-24T22:00:00Z").as_deref(),
            Some("2026-12-25T00:00:00+00:00")
        );
        let (at, _) = opening(&calendar, "UTC", "2026-12-25T00:00:00Z");
        assert_eq!(at, "2026-12-26T22:00:00+00:00");
    }

    #[test]
    fn a_holiday_is_a_day_of_the_lead_not_of_the_universal_clock() {
        let calendar = daily("00:00", "24:00").closed_on(&["2026-12-25"]);
        let (at, _) = opening(&calendar, "Pacific/Auckland", "2026-12-24T12:00:00Z");
        assert_eq!(at, "2026-12-26T00:00:00+13:00");
        let (at, _) = opening(&calendar, "Pacific/Honolulu", "2026-12-26T05:00:00Z");
        assert_eq!(at, "2026-12-26T00:00:00-10:00");
    }

    #[test]
    fn a_calendar_that_never_opens_says_so() {
        let never =
            Calendar { windows: vec![window(&[], "09:00", "17:00")], holidays: BTreeSet::new() };
        let now = at("2026-11-24T10:00:00Z");
        assert_eq!(never.next_opening(zone("Europe/London"), now), Err(NoOpening));
    }

    #[test]
    fn the_search_ends_after_400_days() {
        let now = at("2026-01-01T10:00:00Z");
        let closed_for = |days: usize| {
            let first = now.date_naive();
            Calendar { windows: vec![], holidays: first.iter_days().take(days).collect() }
        };
        let opening = closed_for(400).next_opening(Tz::UTC, now).unwrap();
        assert_eq!(opening.at, at("2027-02-05T00:00:00Z"));
        assert_eq!(opening.delayed_by, Some(Closure::Holiday));
        assert_eq!(closed_for(401).next_opening(Tz::UTC, now), Err(NoOpening));
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        let calendars = [office_hours(), Calendar::default(), daily("22:00", "02:00")];
        for calendar in calendars {
            for zone in [Tz::UTC, zone("Pacific/Kiritimati"), zone("Pacific/Niue")] {
                for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                    let _ = calendar.next_opening(zone, now);
                    let _ = calendar.closes_at(zone, now);
                    let _ = calendar.is_open_for(zone, now, TimeDelta::MAX);
                    let _ = calendar.is_open_for(zone, now, TimeDelta::MIN);
                    let _ = calendar::add_days(zone, now, u32::MAX);
                    let _ = calendar::next_local_time(zone, time("09:00"), now);
                    let _ = calendar::resolve_local(zone, now.naive_utc());
                }
            }
        }
    }
}

mod clock_changes {
    use super::*;

    #[test]
    fn a_window_that_starts_in_a_gap_opens_when_the_gap_ends() {
        let (at, _) =
            opening(&daily("02:30", "17:00"), "America/New_York", "2026-03-08T00:00:00-05:00");
        assert_eq!(at, "2026-03-08T03:00:00-04:00");
    }

    #[test]
    fn a_window_inside_a_gap_does_not_open_that_day() {
        let (at, _) =
            opening(&daily("01:15", "01:45"), "Europe/London", "2026-03-28T12:00:00+00:00");
        assert_eq!(at, "2026-03-30T01:15:00+01:00");
    }

    #[test]
    fn a_window_inside_a_fold_opens_twice() {
        let calendar = daily("01:15", "01:45");
        let next = |now| opening(&calendar, "Europe/London", now).0;
        assert_eq!(next("2026-10-25T00:00:00+01:00"), "2026-10-25T01:15:00+01:00");
        assert_eq!(next("2026-10-25T01:45:00+01:00"), "2026-10-25T01:15:00+00:00");
        assert_eq!(next("2026-10-25T01:45:00+00:00"), "2026-10-26T01:15:00+00:00");
    }

    #[test]
    fn a_window_over_a_fold_lasts_the_hour_longer() {
        let opens = "2026-10-25T00:30:00+01:00";
        let closes = closing(&daily("00:30", "03:00"), "Europe/London", opens);
        assert_eq!(closes.as_deref(), Some("2026-10-25T03:00:00+00:00"));
    }

    #[test]
    fn a_clock_set_back_over_the_start_of_a_window_closes_it_again() {
        let calendar = daily("01:30", "04:00");
        assert_eq!(
            closing(&calendar, "Europe/London", "2026-10-25T01:30:00+01:00").as_deref(),
            Some("2026-10-25T01:00:00+00:00")
        );
        let (at, _) = opening(&calendar, "Europe/London", "2026-10-25T01:00:00+00:00");
        assert_eq!(at, "2026-10-25T01:30:00+00:00");
    }

    #[test]
    fn a_clock_set_forward_over_the_end_of_a_window_closes_it_early() {
        let closes =
            closing(&daily("00:30", "01:30"), "Europe/London", "2026-03-29T00:30:00+00:00");
        assert_eq!(closes.as_deref(), Some("2026-03-29T02:00:00+01:00"));
    }

    #[test]
    fn lord_howe_moves_by_half_an_hour() {
        let (at, _) =
            opening(&daily("02:15", "05:00"), "Australia/Lord_Howe", "2026-10-04T01:00:00+10:30");
        assert_eq!(at, "2026-10-04T02:30:00+11:00");
        let closes =
            closing(&daily("01:00", "02:00"), "Australia/Lord_Howe", "2026-04-05T01:00:00+11:00");
        assert_eq!(closes.as_deref(), Some("2026-04-05T02:00:00+10:30"));
    }

    #[test]
    fn troll_moves_by_two_hours() {
        let (at, _) =
            opening(&daily("01:30", "02:30"), "Antarctica/Troll", "2026-03-29T00:00:00+00:00");
        assert_eq!(at, "2026-03-30T01:30:00+02:00");
        let closes =
            closing(&daily("00:00", "03:00"), "Antarctica/Troll", "2026-10-25T00:00:00+02:00");
        assert_eq!(closes.as_deref(), Some("2026-10-25T03:00:00+00:00"));
    }

    #[test]
    fn casablanca_leaves_and_rejoins_its_offset_around_ramadan() {
        let calendar = daily("02:30", "04:00");
        let next = |now| opening(&calendar, "Africa/Casablanca", now).0;
        // 15 February 2026, 03:00 becomes 02:00; 22 March 2026, 02:00 becomes 03:00.
        assert_eq!(next("2026-02-15T02:00:00+01:00"), "2026-02-15T02:30:00+01:00");
        assert_eq!(next("2026-02-15T02:00:00+00:00"), "2026-02-15T02:30:00+00:00");
        assert_eq!(next("2026-03-22T01:59:59+00:00"), "2026-03-22T03:00:00+01:00");
    }

    #[test]
    fn apia_has_no_30_december_2011() {
        let calendar = Calendar {
            windows: vec![window(&[Weekday::Fri], "09:00", "17:00")],
            holidays: BTreeSet::new(),
        };
        let (at, _) = opening(&calendar, "Pacific/Apia", "2011-12-29T20:00:00-10:00");
        assert_eq!(at, "2012-01-06T09:00:00+14:00");
    }
}

mod closings {
    use super::*;

    #[test]
    fn a_closed_moment_has_no_closing() {
        assert_eq!(closing(&office_hours(), "UTC", "2026-11-24T17:00:00Z"), None);
        assert_eq!(closing(&office_hours(), "UTC", "2026-11-22T10:00:00Z"), None);
    }

    #[test]
    fn touching_and_overlapping_windows_close_once() {
        let calendar = Calendar {
            windows: vec![
                window(&Weekday::ALL, "12:00", "15:00"),
                window(&Weekday::ALL, "09:00", "12:00"),
                window(&Weekday::ALL, "14:00", "18:00"),
            ],
            holidays: BTreeSet::new(),
        };
        let closes = closing(&calendar, "UTC", "2026-11-24T09:30:00Z");
        assert_eq!(closes.as_deref(), Some("2026-11-24T18:00:00+00:00"));
    }

    #[test]
    fn windows_that_touch_at_midnight_close_once() {
        let calendar = Calendar {
            windows: vec![
                window(&[Weekday::Fri], "20:00", "24:00"),
                window(&[Weekday::Sat], "00:00", "04:00"),
            ],
            holidays: BTreeSet::new(),
        };
        let closes = closing(&calendar, "UTC", "2026-11-20T20:00:00Z");
        assert_eq!(closes.as_deref(), Some("2026-11-21T04:00:00+00:00"));
    }

    #[test]
    fn what_never_closes_closes_beyond_the_horizon() {
        for calendar in [Calendar::default(), daily("00:00", "24:00"), daily("09:00", "09:00")] {
            let now = at("2026-11-24T10:00:00.5Z");
            let closes = calendar.closes_at(zone("Europe/London"), now);
            assert_eq!(closes, Some(now + TimeDelta::days(400)));
            assert!(calendar.is_open_for(zone("Europe/London"), now, TimeDelta::MAX));
        }
    }

    #[test]
    fn a_holiday_ends_an_endless_stretch() {
        let calendar = Calendar::default().closed_on(&["2026-12-25"]);
        let closes = closing(&calendar, "Asia/Tokyo", "2026-11-24T10:00:00Z");
        assert_eq!(closes.as_deref(), Some("2026-12-25T00:00:00+09:00"));
    }

    #[test]
    fn a_margin_that_ends_at_the_closing_fits() {
        let open_for = |now: &str, margin| office_hours().is_open_for(Tz::UTC, at(now), margin);
        let margin = TimeDelta::seconds(30);
        assert!(open_for("2026-11-24T16:59:30Z", margin));
        assert!(!open_for("2026-11-24T16:59:30.000000001Z", margin));
        assert!(open_for("2026-11-24T16:59:59.5Z", TimeDelta::milliseconds(500)));
        assert!(!open_for("2026-11-24T16:59:59.5Z", TimeDelta::milliseconds(501)));
        assert!(open_for("2026-11-24T16:59:59.5Z", TimeDelta::zero()));
        assert!(open_for("2026-11-24T16:59:59.5Z", TimeDelta::seconds(-30)));
        assert!(!open_for("2026-11-24T17:00:00Z", TimeDelta::zero()));
        assert!(!open_for("2026-11-24T08:59:59Z", TimeDelta::zero()));
    }
}

mod wall_times {
    use super::*;

    #[test]
    fn a_skipped_reading_moves_forward_by_the_gap() {
        assert_eq!(resolved("Europe/London", "2026-03-29T01:30:00"), "2026-03-29T02:30:00+01:00");
        assert_eq!(
            resolved("America/New_York", "2026-03-08T02:30:00"),
            "2026-03-08T03:30:00-04:00"
        );
        assert_eq!(
            resolved("Australia/Lord_Howe", "2026-10-04T02:15:00"),
            "2026-10-04T02:45:00+11:00"
        );
        assert_eq!(
            resolved("Antarctica/Troll", "2026-03-29T02:30:00"),
            "2026-03-29T04:30:00+02:00"
        );
        assert_eq!(resolved("Pacific/Apia", "2011-12-30T10:00:00"), "2011-12-31T10:00:00+14:00");
    }

    #[test]
    fn a_gap_is_half_open() {
        assert_eq!(resolved("Europe/London", "2026-03-29T00:59:59"), "2026-03-29T00:59:59+00:00");
        assert_eq!(resolved("Europe/London", "2026-03-29T01:00:00"), "2026-03-29T02:00:00+01:00");
        assert_eq!(resolved("Europe/London", "2026-03-29T02:00:00"), "2026-03-29T02:00:00+01:00");
    }

    #[test]
    fn a_repeated_reading_is_the_first() {
        assert_eq!(resolved("Europe/London", "2026-10-25T01:30:00"), "2026-10-25T01:30:00+01:00");
        assert_eq!(
            resolved("Australia/Lord_Howe", "2026-04-05T01:45:00"),
            "2026-04-05T01:45:00+11:00"
        );
        assert_eq!(
            resolved("Africa/Casablanca", "2026-02-15T02:30:00"),
            "2026-02-15T02:30:00+01:00"
        );
    }

    fn next_time(name: &str, text: &str, after: &str) -> String {
        let zone = zone(name);
        calendar::next_local_time(zone, time(text), at(after)).with_timezone(&zone).to_rfc3339()
    }

    #[test]
    fn a_local_time_is_today_or_tomorrow() {
        let next = |after| next_time("Europe/Berlin", "09:00", after);
        assert_eq!(next("2026-11-24T08:59:59+01:00"), "2026-11-24T09:00:00+01:00");
        assert_eq!(next("2026-11-24T09:00:00+01:00"), "2026-11-24T09:00:00+01:00");
        assert_eq!(next("2026-11-24T09:00:00.1+01:00"), "2026-11-25T09:00:00+01:00");
        let midnight = "2026-11-25T00:00:00+01:00";
        assert_eq!(next_time("Europe/Berlin", "24:00", "2026-11-24T09:00:00+01:00"), midnight);
        assert_eq!(next_time("Europe/Berlin", "24:00", midnight), midnight);
    }

    #[test]
    fn a_skipped_local_time_is_moved_within_its_day() {
        let next = |after| next_time("America/New_York", "02:30", after);
        assert_eq!(next("2026-03-08T00:00:00-05:00"), "2026-03-08T03:30:00-04:00");
        assert_eq!(next("2026-03-08T03:30:00-04:00"), "2026-03-08T03:30:00-04:00");
        assert_eq!(next("2026-03-08T03:30:01-04:00"), "2026-03-09T02:30:00-04:00");
    }

    #[test]
    fn a_time_skipped_before_midnight_is_found_after_it() {
        // Nuuk, 28 March 2026: 23:00 becomes 00:00.
        let next = |after| next_time("America/Nuuk", "23:30", after);
        assert_eq!(next("2026-03-28T22:00:00-02:00"), "2026-03-29T00:30:00-01:00");
        assert_eq!(next("2026-03-29T00:10:00-01:00"), "2026-03-29T00:30:00-01:00");
        assert_eq!(next("2026-03-29T00:31:00-01:00"), "2026-03-29T23:30:00-01:00");
    }

    #[test]
    fn a_repeated_local_time_is_shown_again() {
        let next = |after| next_time("Europe/London", "01:30", after);
        assert_eq!(next("2026-10-25T00:00:00+01:00"), "2026-10-25T01:30:00+01:00");
        assert_eq!(next("2026-10-25T01:31:00+01:00"), "2026-10-25T01:30:00+00:00");
        assert_eq!(next("2026-10-25T01:31:00+00:00"), "2026-10-26T01:30:00+00:00");
    }

    fn days_later(name: &str, from: &str, days: u32) -> String {
        let zone = zone(name);
        calendar::add_days(zone, at(from), days).with_timezone(&zone).to_rfc3339()
    }

    #[test]
    fn days_keep_the_wall_clock_across_a_change() {
        assert_eq!(
            days_later("Europe/London", "2026-03-28T14:05:06.5+00:00", 1),
            "2026-03-29T14:05:06.500+01:00"
        );
        assert_eq!(
            days_later("Europe/London", "2026-10-24T14:00:00+01:00", 3),
            "2026-10-27T14:00:00+00:00"
        );
        assert_eq!(
            days_later("Europe/London", "2026-03-28T01:30:00+00:00", 1),
            "2026-03-29T02:30:00+01:00"
        );
        assert_eq!(
            days_later("Europe/London", "2026-10-24T01:30:00+01:00", 1),
            "2026-10-25T01:30:00+01:00"
        );
        assert_eq!(
            days_later("Pacific/Apia", "2011-12-29T10:00:00-10:00", 2),
            "2011-12-31T10:00:00+14:00"
        );
    }

    #[test]
    fn no_days_are_no_delay_even_in_the_second_hour_of_a_fold() {
        assert_eq!(
            days_later("Europe/London", "2026-10-25T01:30:00+00:00", 0),
            "2026-10-25T01:30:00+00:00"
        );
    }

    #[test]
    fn a_day_lived_twice_does_not_lead_back() {
        // When Alaska was sold it lived one day again.
        let sitka = zone("America/Sitka");
        let change = at("1867-10-19T00:31:13Z");
        for hours in -72..72 {
            let from = change + TimeDelta::hours(hours);
            assert!(calendar::add_days(sitka, from, 1) >= from, "from {from}");
        }
    }
}
