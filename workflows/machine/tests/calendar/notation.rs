//! How an author writes a calendar, and what is refused.

use std::collections::BTreeSet;

use machine::calendar::{Calendar, CalendarFault, LocalTime, Weekday};

use crate::{WithHolidays as _, office_hours, time, window};

fn parse(json: serde_json::Value) -> Result<Calendar, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

#[test]
fn a_calendar_reads_and_writes_as_an_author_would() {
    let written = serde_json::json!({
        "windows": [
            { "days": ["mon", "tue"], "from": "09:00", "to": "17:30" },
            { "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "22:00", "to": "24:00" },
        ],
        "holidays": ["2026-12-25"],
    });
    let mut shorter = written.clone();
    shorter["windows"][1].as_object_mut().unwrap().remove("days");

    let calendar = parse(shorter).unwrap();
    let read = Calendar {
        windows: vec![
            window(&[Weekday::Mon, Weekday::Tue], "09:00", "17:30"),
            window(&Weekday::ALL, "22:00", "24:00"),
        ],
        holidays: BTreeSet::new(),
    };
    assert_eq!(calendar, read.closed_on(&["2026-12-25"]));
    assert_eq!(serde_json::to_value(&calendar).unwrap(), written);
    assert_eq!(parse(serde_json::json!({})).unwrap(), Calendar::default());
}

#[test]
fn a_misspelt_field_or_day_is_refused() {
    let fault = parse(serde_json::json!({ "holiday": [] })).unwrap_err();
    assert!(fault.contains("`holiday`") && fault.contains("`holidays`"), "{fault}");
    let fault = parse(serde_json::json!({
        "windows": [{ "days": ["Monday"], "from": "09:00", "to": "17:00" }]
    }))
    .unwrap_err();
    assert!(fault.contains("`Monday`") && fault.contains("`mon`"), "{fault}");
}

#[test]
fn a_time_is_two_digits_colon_two_digits() {
    for text in ["00:00", "09:05", "17:30", "23:59", "24:00"] {
        assert_eq!(time(text).to_string(), text);
    }
    for text in [
        "", "9:00", "09:60", "24:01", "25:00", "09:00:00", "0900", "09.00", "９:00", " 9:00",
        "-1:00", "29:00",
    ] {
        let error = text.parse::<LocalTime>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{text:?} is not a time of day; write it as HH:MM, from 00:00 to 24:00")
        );
    }
}

#[test]
fn faults_name_the_field_and_the_fix() {
    let calendar = Calendar {
        windows: vec![
            window(&Weekday::ALL, "09:00", "17:00"),
            window(&[Weekday::Mon, Weekday::Fri, Weekday::Mon], "24:00", "02:00"),
            window(&[], "09:00", "12:00"),
        ],
        holidays: BTreeSet::new(),
    };
    let faults = calendar.validate().unwrap_err();
    assert_eq!(
        faults,
        [
            CalendarFault::RepeatedDay { window: 1, day: Weekday::Mon },
            CalendarFault::StartsAtEndOfDay { window: 1 },
            CalendarFault::NoDays { window: 2 },
        ]
    );
    let fields: Vec<String> = faults.iter().map(CalendarFault::field).collect();
    assert_eq!(fields, ["windows[1].days", "windows[1].from", "windows[2].days"]);
    for (fault, field) in faults.iter().zip(fields) {
        assert!(fault.to_string().starts_with(&field), "{fault}");
    }
    assert_eq!(office_hours().validate(), Ok(()));
    assert_eq!(Calendar::default().validate(), Ok(()));
}

#[test]
fn the_schema_describes_what_is_parsed() {
    let schema = serde_json::to_value(schemars::schema_for!(Calendar)).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Window"]["required"], serde_json::json!(["from", "to"]));
    assert_eq!(schema["$defs"]["Window"]["properties"]["days"]["minItems"], 1);
    assert_eq!(schema["$defs"]["LocalTime"]["pattern"], "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$");
}
