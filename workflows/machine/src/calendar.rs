//! When we may write: windows on the lead's own wall clock, holidays, and the two odd hours of a
//! clock change.
//!
//! One definition carries everything here: **an instant is open if the lead's clock, read at that
//! instant, shows a time inside a window of that local day, and the day is no holiday.** A reading
//! that a clock change skips opens nothing; one that it repeats opens twice. This module is handed
//! every instant it thinks about: it reads no clock, and it does not know whose zone it is given.

mod hours;
mod offsets;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::offset::LocalResult;
use chrono::{
    DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::{GapInfo, Tz};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hours::Hours;

/// How far ahead an opening or a closing is looked for.
///
/// Windows repeat weekly; only holidays can push an opening further, and no real list of them
/// closes a year.
const HORIZON: TimeDelta = TimeDelta::days(400);

/// How far ahead an instant is looked for that is open in several zones. Windows repeat weekly, and
/// clocks of one country drift apart for some weeks at most.
const COMMON_HORIZON: TimeDelta = TimeDelta::days(35);
/// The hours in which texts may be sent, on the recipient's own clock, whatever a campaign says
/// (47 CFR 64.1200(c)(1): not before eight in the morning, not after nine in the evening).
pub const TEXT_HOURS: (LocalTime, LocalTime) =
    (LocalTime { minute_of_day: 8 * 60 }, LocalTime { minute_of_day: 21 * 60 });

/// The last instant there is. Sums that would pass it stop here, so that no delay can panic.
const LAST: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// The days and hours in which a lead may be written to, on the lead's own wall clock.
///
/// An empty list of windows means always open. Holidays close whole local days either way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// When it is open; overlapping and touching windows merge. Empty: always.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Local days that stay closed from midnight to midnight.
    #[serde(default)]
    pub holidays: BTreeSet<NaiveDate>,
}

/// One stretch of hours, on each of its days: from `from` until just before `to`.
///
/// `09:00` to `17:00` admits 09:00:00 and refuses 17:00:00. If `to` is not after `from` the
/// window crosses midnight and belongs to the day it starts on: on Fridays from `22:00` to `02:00`
/// reaches into Saturday. A holiday on the Friday then closes all of it, a holiday on the Saturday
/// closes the part after midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days it starts on; all seven if left out.
    #[serde(default = "Weekday::every")]
    #[schemars(extend("minItems" = 1, "uniqueItems" = true))]
    pub days: Vec<Weekday>,
    /// The first minute inside.
    pub from: LocalTime,
    /// The first minute outside; `24:00` is the end of the day.
    pub to: LocalTime,
}

/// A day of the week, written `mon` to `sun`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A minute of a local day, written `09:00`. `24:00` is the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalTime {
    minute_of_day: u16,
}

/// The answer of [`Calendar::next_opening`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The first open instant at or after the one asked about.
    pub at: DateTime<Utc>,
    /// What moved it; `None` if it was not moved.
    pub delayed_by: Option<Closure>,
}

/// What keeps a calendar closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closure {
    /// No window was open, and the first one to open was let open.
    Window,
    /// A holiday closed the first moment the windows alone would have admitted.
    Holiday,
}

/// The calendar stays closed for the next 400 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the calendar has no opening within 400 days")]
pub struct NoOpening;

/// A text that is not a [`LocalTime`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time of day; write it as HH:MM, from 00:00 to 24:00")]
pub struct InvalidLocalTime(String);

/// One thing an author has to mend before a calendar can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarFault {
    /// The window starts on no day, so it never opens.
    #[error(
        "windows[{window}].days is empty; name at least one day, or leave it out for all seven"
    )]
    NoDays {
        /// Position in `windows`.
        window: usize,
    },
    /// A day stands twice in one window, where another was probably meant.
    #[error("windows[{window}].days names {day} twice; name each day once")]
    RepeatedDay {
        /// Position in `windows`.
        window: usize,
        /// The day that stands twice.
        day: Weekday,
    },
    /// The window would start when its day is over.
    #[error("windows[{window}].from is 24:00; write 00:00 and the day after")]
    StartsAtEndOfDay {
        /// Position in `windows`.
        window: usize,
    },
}

impl CalendarFault {
    /// The field to mend, as a path inside the calendar: `windows[1].from`.
    pub fn field(&self) -> String {
        match self {
            Self::NoDays { window } | Self::RepeatedDay { window, .. } => {
                format!("windows[{window}].days")
            }
            Self::StartsAtEndOfDay { window } => format!("windows[{window}].from"),
        }
    }
}

impl Calendar {
    /// Checks what types alone do not: every window starts on a day, and within it.
    ///
    /// # Errors
    ///
    /// All faults, in the order of the windows.
    pub fn validate(&self) -> Result<(), Vec<CalendarFault>> {
        let mut faults = Vec::new();
        for (window, hours) in self.windows.iter().enumerate() {
            if hours.days.is_empty() {
                faults.push(CalendarFault::NoDays { window });
            }
            for day in Weekday::ALL {
                if hours.days.iter().filter(|named| **named == day).count() > 1 {
                    faults.push(CalendarFault::RepeatedDay { window, day });
                }
            }
            if hours.from == LocalTime::END_OF_DAY {
                faults.push(CalendarFault::StartsAtEndOfDay { window });
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Returns the first open instant at or after `now`, and what moved it.
    ///
    /// The answer is exact: `now` itself if that is open, else the very second the calendar opens,
    /// also where a clock change opens it early, late or for a second time. It allocates nothing.
    ///
    /// # Errors
    ///
    /// [`NoOpening`] if nothing opens within 400 days.
    pub fn next_opening(&self, zone: Tz, now: DateTime<Utc>) -> Result<Opening, NoOpening> {
        let from = now.timestamp();
        let until = from + HORIZON.num_seconds();
        let by_windows =
            self.hours_without_holidays().first_open(zone, from, until).ok_or(NoOpening)?;
        let hours = self.hours();
        let (at, delayed_by) = if hours.is_open(zone, by_windows) {
            (by_windows, (by_windows > from).then_some(Closure::Window))
        } else {
            let opens = hours.first_open(zone, by_windows, until).ok_or(NoOpening)?;
            (opens, Some(Closure::Holiday))
        };
        let at = if at == from { now } else { DateTime::from_timestamp(at, 0).ok_or(NoOpening)? };
        Ok(Opening { at, delayed_by })
    }

    /// Returns the first instant at or after `now` that is open in every one of `zones`, and what
    /// moved it.
    ///
    /// # Errors
    ///
    /// [`NoOpening`] if there is none; with several zones, none within 35 days.
    pub fn next_common_opening(
        &self,
        zones: &[Tz],
        now: DateTime<Utc>,
    ) -> Result<Opening, NoOpening> {
        if let [zone] = zones {
            return self.next_opening(*zone, now);
        }
        let mut common = Opening { at: now, delayed_by: None };
        while common.at.signed_duration_since(now) <= COMMON_HORIZON {
            let from = common.at;
            for zone in zones {
                let opening = self.next_opening(*zone, common.at)?;
                if opening.at > common.at {
                    common = opening;
                }
            }
            if common.at == from {
                return Ok(common);
            }
        }
        Err(NoOpening)
    }

    /// Whether some hour is open in every one of `zones`.
    pub fn suits(&self, zones: &[Tz], now: DateTime<Utc>) -> bool {
        zones.len() == 1 || self.next_common_opening(zones, now).is_ok()
    }

    /// Returns when the first of `zones` closes that is open at `at`.
    pub fn first_closing(&self, zones: &[Tz], at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        zones.iter().filter_map(|zone| self.closes_at(*zone, at)).min()
    }

    /// Whether the calendar is open at `at`.
    pub fn is_open(&self, zone: Tz, at: DateTime<Utc>) -> bool {
        self.hours().is_open(zone, at.timestamp())
    }

    /// Returns the end of the open stretch that holds `at`: the first closed instant after it.
    ///
    /// Windows that touch or overlap are one stretch, over midnight too. `None` if the calendar is
    /// closed at `at`. One that does not close within 400 days answers `at` plus 400 days.
    pub fn closes_at(&self, zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = at.timestamp();
        let closed = self.hours().first_closed(zone, from, from + HORIZON.num_seconds());
        match closed {
            Some(closed) if closed == from => None,
            Some(closed) => Some(DateTime::from_timestamp(closed, 0).unwrap_or(LAST)),
            None => Some(at.checked_add_signed(HORIZON).unwrap_or(LAST)),
        }
    }

    /// Whether the calendar is open at `at` and stays so for at least `margin`.
    ///
    /// With half-open windows a margin that ends exactly at the closing fits. A margin below zero
    /// asks as much as none; one above 400 days asks for 400 days.
    pub fn is_open_for(&self, zone: Tz, at: DateTime<Utc>, margin: TimeDelta) -> bool {
        let margin = margin.clamp(TimeDelta::zero(), HORIZON);
        let from = at.timestamp();
        // One second more than asked, for the fractions of `at` and of the margin.
        let until = from + margin.num_seconds() + 1;
        match self.hours().first_closed(zone, from, until) {
            Some(closed) if closed == from => false,
            Some(closed) => {
                let closes = DateTime::from_timestamp(closed, 0).unwrap_or(LAST);
                closes.signed_duration_since(at) >= margin
            }
            None => true,
        }
    }

    /// Returns the calendar that is open where this one is and texts may be sent; `None` if that is
    /// never.
    ///
    /// What of a window lies after midnight becomes a window of the next day.
    pub fn within_text_hours(&self) -> Option<Self> {
        let (opens, closes) = TEXT_HOURS;
        let narrowed = |days: Vec<Weekday>, from: LocalTime, to: LocalTime| {
            let (from, to) = (from.max(opens), to.min(closes));
            (from < to).then_some(Window { days, from, to })
        };
        let always = self.windows.is_empty();
        let always = always.then(|| Window { days: Weekday::every(), from: opens, to: closes });
        let windows = self.windows.iter().flat_map(|window| {
            if !window.crosses_midnight() {
                return [narrowed(window.days.clone(), window.from, window.to), None];
            }
            let next = window.days.iter().map(|day| day.next()).collect();
            [
                narrowed(window.days.clone(), window.from, LocalTime::END_OF_DAY),
                narrowed(next, LocalTime::MIDNIGHT, window.to),
            ]
        });
        let windows: Vec<Window> = always.into_iter().chain(windows.flatten()).collect();
        (!windows.is_empty()).then(|| Self { windows, holidays: self.holidays.clone() })
    }

    fn hours(&self) -> Hours<'_> {
        Hours { windows: &self.windows, holidays: Some(&self.holidays) }
    }

    fn hours_without_holidays(&self) -> Hours<'_> {
        Hours { windows: &self.windows, holidays: None }
    }
}

impl Window {
    /// Whether its hours reach into the day after the one it starts on.
    pub fn crosses_midnight(&self) -> bool {
        self.to <= self.from
    }
}

impl Weekday {
    /// All seven, Monday first.
    pub const ALL: [Self; 7] =
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn every() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

impl From<chrono::Weekday> for Weekday {
    fn from(day: chrono::Weekday) -> Self {
        match day {
            chrono::Weekday::Mon => Self::Mon,
            chrono::Weekday::Tue => Self::Tue,
            chrono::Weekday::Wed => Self::Wed,
            chrono::Weekday::Thu => Self::Thu,
            chrono::Weekday::Fri => Self::Fri,
            chrono::Weekday::Sat => Self::Sat,
            chrono::Weekday::Sun => Self::Sun,
        }
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        })
    }
}

impl LocalTime {
    /// `00:00`, the start of a day.
    pub const MIDNIGHT: Self = Self { minute_of_day: 0 };
    /// `24:00`, the end of a day.
    pub const END_OF_DAY: Self = Self { minute_of_day: 24 * 60 };

    /// Minutes since `00:00`, 0 to 1440.
    pub fn minute_of_day(self) -> u16 {
        self.minute_of_day
    }

    fn second_of_day(self) -> i64 {
        i64::from(self.minute_of_day) * 60
    }

    /// What a clock shows at this time: `24:00` shows as the `00:00` of the next day.
    fn shown(self) -> NaiveTime {
        NaiveTime::from_num_seconds_from_midnight_opt(u32::from(self.minute_of_day) % 1440 * 60, 0)
            .expect("a minute of the day is below 24 hours")
    }
}

impl FromStr for LocalTime {
    type Err = InvalidLocalTime;

    fn from_str(text: &str) -> Result<Self, InvalidLocalTime> {
        let &[h1 @ b'0'..=b'2', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'5', m2 @ b'0'..=b'9'] =
            text.as_bytes()
        else {
            return Err(InvalidLocalTime(text.to_owned()));
        };
        let digit = |ascii: u8| u16::from(ascii - b'0');
        let hour = digit(h1) * 10 + digit(h2);
        let minute_of_day = hour * 60 + digit(m1) * 10 + digit(m2);
        if minute_of_day > Self::END_OF_DAY.minute_of_day {
            return Err(InvalidLocalTime(text.to_owned()));
        }
        Ok(Self { minute_of_day })
    }
}

impl TryFrom<String> for LocalTime {
    type Error = InvalidLocalTime;

    fn try_from(text: String) -> Result<Self, InvalidLocalTime> {
        text.parse()
    }
}

impl From<LocalTime> for String {
    fn from(time: LocalTime) -> Self {
        time.to_string()
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minute_of_day / 60, self.minute_of_day % 60)
    }
}

impl JsonSchema for LocalTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LocalTime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A minute of a local day, written 09:00. 24:00 is the end of the day.",
            "type": "string",
            "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
        })
    }
}

/// Returns the instant at which the clock of `zone` shows `local`.
///
/// A reading that a clock change skips moves forward by what was skipped: on 29 March 2026 London's
/// 01:30 is its 02:30. Of one that it repeats the first is taken.
pub fn resolve_local(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match showing(zone, local) {
        Showing::Once(at) | Showing::Moved(at) => at,
        Showing::Twice(first, _) => first,
    }
}

/// Returns the first instant at or after `after` at which the clock of `zone` shows `time`.
///
/// Where a clock change repeats the time, its second showing counts for an `after` between the two.
/// On a day whose clock skips the time, the instant [`resolve_local`] moves it to counts.
pub fn next_local_time(zone: Tz, time: LocalTime, after: DateTime<Utc>) -> DateTime<Utc> {
    let today = read_local(zone, after).date();
    // Yesterday's may have been moved, or be shown once more, after midnight; tomorrow's follows.
    let yesterday = today.pred_opt().unwrap_or(today);
    let mut next = LAST;
    for date in yesterday.iter_days().take(4) {
        let (first, second) = match showing(zone, date.and_time(time.shown())) {
            Showing::Once(at) | Showing::Moved(at) => (at, at),
            Showing::Twice(first, second) => (first, second),
        };
        for at in [first, second] {
            if at >= after && at < next {
                next = at;
            }
        }
    }
    next
}

/// Returns the instant `days` days after `from`, with the same wall time in `zone`.
///
/// The wall time is resolved as by [`resolve_local`]. No days is `from` itself, and a number of
/// days that leads beyond the last instant of the calendar ends there.
pub fn add_days(zone: Tz, from: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    if days == 0 {
        return from;
    }
    match read_local(zone, from).checked_add_days(Days::new(u64::from(days))) {
        Some(local) => resolve_local(zone, local),
        None => LAST,
    }
}

/// The instants at which a clock shows one reading.
enum Showing {
    Once(DateTime<Utc>),
    Twice(DateTime<Utc>, DateTime<Utc>),
    /// Never; this is as long after the change as the reading is after the change's start.
    Moved(DateTime<Utc>),
}

fn showing(zone: Tz, local: NaiveDateTime) -> Showing {
    let at = |offset: chrono_tz::TzOffset| match local.checked_sub_offset(offset.fix()) {
        Some(utc) => utc.and_utc(),
        None if offset.fix().local_minus_utc() > 0 => DateTime::<Utc>::MIN_UTC,
        None => LAST,
    };
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => Showing::Once(at(offset)),
        LocalResult::Ambiguous(first, second) => Showing::Twice(at(first), at(second)),
        LocalResult::None => {
            let (_, before) = GapInfo::new(&local, &zone)
                .and_then(|gap| gap.begin)
                .expect("a reading that is never shown lies after the start of a gap");
            Showing::Moved(at(before))
        }
    }
}

fn read_local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    let utc = at.naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    // Within a day of the ends of the calendar the reading may not exist.
    utc.checked_add_offset(offset).unwrap_or(utc)
}
