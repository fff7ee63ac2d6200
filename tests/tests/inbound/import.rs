//! CSV import.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use activities::import::{self, ImportError, Options, Totals, Unreadable};
use serde_json::json;

use super::town::{Town, campaign};

const ADA: &str = "ada@example.com";

#[tokio::test]
async fn each_flaw_is_told_with_its_line_and_the_others_go_in() {
    let mut town = Town::new(&[]).await;
    let report = town
        .import(
            "E-Mail,First name,Time zone,Tags,Consent,Room Count,2nd\n\
             ada@example.com,Ada,Europe/Lisbon,hotel; VIP,yes,40,x\n\
             not an address,Bob,,,,,\n\
             \n\
             ,Carl,,,,,\n\
             ADA@example.com,Ada again,,,,,\n\
             dora@example.com,=cmd(),,,,,\n\
             erik@example.com,\"Erik\nthe Red\",Atlantis,,,,\n\
             f@example.com; g@example.com,,,,,,\n\
             hans@example.com,Hans,,,perhaps,,\n\
             ida@example.com,Ida,,,no,1,,too much\n",
        )
        .await;
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "line 3, E-Mail: the address has no @",
            "line 5, E-Mail: there is no address",
            "line 6, E-Mail: the same address is on line 2",
            "line 7, First name: it reads as a formula; it was kept as text",
            "line 8, First name: it holds a line break or another control character",
            "line 8, Time zone: `Atlantis` is not a time zone such as Europe/Lisbon",
            "line 10, E-Mail: there are several addresses; give each a row of its own",
            "line 11, Consent: `perhaps` is not one of granted, refused, unknown, yes, no",
            "line 12, the row: it has more cells than there are columns; put quotation marks round \
             text that holds a delimiter",
        ]
    );
    assert_eq!(report.totals, Totals { added: 2, changed: 0, unchanged: 0, refused: 7 });
    assert_eq!(report.ignored_columns, ["2nd"]);
    let stored = town
        .one(
            "SELECT jsonb_build_array(l.zone, l.email_consent, l.attributes, l.version, t.tags)::text
             FROM leads l JOIN addresses a USING (workspace_id, lead_id),
             LATERAL (SELECT array_agg(tag ORDER BY tag) AS tags FROM lead_tags
                      WHERE lead_id = l.lead_id) t
             WHERE a.address = $1",
            &[ADA],
        )
        .await;
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        stored,
        json!([
            "Europe/Lisbon", "granted", { "first_name": "Ada", "room_count": "40" }, 1,
            ["hotel", "vip"],
        ])
    );
}

#[tokio::test]
async fn an_import_may_be_repeated_and_new_values_win() {
    let mut town = Town::new(&[]).await;
    town.import(
        "email,name,town,zone\nada@example.com,Ada,Porto,Europe/Lisbon\nbob@example.com,,,\n",
    )
    .await;
    let again = town
        .import(
            "email,name,town,zone\nAda@example.com,Ada,Porto,Europe/Lisbon\nbob@example.com,,,\n",
        )
        .await;
    assert_eq!(again.totals, Totals { unchanged: 2, ..Totals::default() });
    let changed =
        town.import("email,name,town,tags\nada@example.com,,Faro,\nbob@example.com,,,new\n");
    assert_eq!(changed.await.totals, Totals { changed: 2, ..Totals::default() });
    let sql = "SELECT (l.attributes || jsonb_build_object('v', l.version))::text
        FROM leads l JOIN addresses a USING (workspace_id, lead_id) WHERE a.address = $1";
    let ada: serde_json::Value = serde_json::from_str(&town.one(sql, &[ADA]).await).unwrap();
    assert_eq!(ada, json!({ "name": "Ada", "town": "Faro", "v": 2 }));
}

#[tokio::test]
async fn campaigns_hear_of_what_changed_and_of_nothing_else() {
    let mut town = Town::written_to(&[ADA, "bob@example.com"]).await;
    town.import("email,name\nada@example.com,Ada\nbob@example.com,\n").await;
    town.import("email,name\nada@example.com,Ada\n").await;
    assert_eq!(town.signals("spring", ADA).await, [json!({ "kind": "attribute_changed" })]);
    assert!(town.signals("spring", "bob@example.com").await.is_empty());
    town.work().await;
    assert_eq!(town.state("spring", ADA).await, "waiting");
}

#[tokio::test]
async fn consent_that_is_withdrawn_stops_what_is_planned() {
    let mut town = Town::new(&[ADA]).await;
    town.start(campaign("spring")).await;
    let asks = town.turn().await;
    let ready = town.prepare(asks).await;
    town.import("email,consent\nada@example.com,no\n").await;
    let gated = town.gate(ready).await;
    assert!(gated.dispatched.is_empty());
    town.work().await;
    assert_eq!(town.count("sends WHERE state = 'accepted'").await, 0);
}

#[tokio::test]
async fn two_imports_of_one_file_make_each_lead_once() {
    let mut file = "email,n\n".to_owned();
    for number in 0..2_500 {
        file.push_str(&format!("lead{number}@example.com,{number}\n"));
    }
    let mut town = Town::new(&[]).await;
    let (room, workspace) = (town.room.clone(), town.workspace);
    let options = Options::default();
    let import = || {
        let file = Cursor::new(file.clone().into_bytes());
        import::leads(&room.store, &room.suppressions, workspace, file, &options, |_| {})
    };
    let (one, two) = futures::join!(import(), import());
    let (one, two) = (one.unwrap().totals, two.unwrap().totals);
    assert_eq!(one.added + two.added, 2_500);
    assert_eq!(one.unchanged + two.unchanged, 2_500);
    assert_eq!(town.count("leads").await, 2_500);
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_with_what_to_do() {
    let town = Town::new(&[]).await;
    let (room, workspace) = (town.room.clone(), town.workspace);
    let options = Options::default();
    let import = |bytes: &'static [u8]| {
        let file = Cursor::new(bytes);
        import::leads(&room.store, &room.suppressions, workspace, file, &options, |_| {})
    };
    let spreadsheet = import(b"PK\x03\x04 and more").await;
    assert!(matches!(
        spreadsheet,
        Err(ImportError::Unreadable { why: Unreadable::Spreadsheet, .. })
    ));
    let headless = import(b"name,town\nAda,Porto\n").await;
    assert!(matches!(
        headless,
        Err(ImportError::Unreadable { why: Unreadable::NoAddresses { .. }, .. })
    ));
}

#[tokio::test]
async fn a_row_without_an_address_is_known_by_its_number() {
    let mut town = Town::new(&[]).await;
    let file =
        "Mobile,Name\n+351 912 345 678,Ada\n+351 912 345 679,Bob\n,Carl\n+351912345678,Dora\n";
    let report = town.import(file).await;
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    let expected = [
        "line 4, Mobile: there is no telephone number",
        "line 5, Mobile: the same number is on line 2",
    ];
    assert_eq!(faults, expected);
    assert_eq!(report.totals, Totals { added: 2, refused: 2, ..Totals::default() });
    let again = town.import(file).await;
    assert_eq!(again.totals, Totals { unchanged: 2, refused: 2, ..Totals::default() });
    // Two rows about one person: one by the address, one by the number.
    town.import("email,phone\nada@example.com,+351 912 345 670\n").await;
    let both = "email,phone,rooms,town\n\
        ada@example.com,,40,\n,+351912345670,,Porto\n,+351912345679,,Faro\n,,,Lisbon\n";
    let report = town.import(both).await;
    assert_eq!(report.totals, Totals { changed: 3, refused: 1, ..Totals::default() });
    assert_eq!(
        report.faults[0].to_string(),
        "line 5, email: there is neither an address nor a telephone number that can be dialled"
    );
    let sql = "SELECT (l.attributes || jsonb_build_object('v', l.version))::text
        FROM leads l JOIN addresses a USING (workspace_id, lead_id) WHERE a.address = $1";
    let ada: serde_json::Value = serde_json::from_str(&town.one(sql, &[ADA]).await).unwrap();
    assert_eq!(ada, json!({ "phone": "+351912345670", "rooms": "40", "town": "Porto", "v": 2 }));
    assert_eq!(town.count("leads").await, 3);
    assert_eq!(town.count("addresses WHERE channel = 'email'").await, 1);
}

#[tokio::test]
async fn a_quotation_mark_that_is_never_closed_is_an_error_and_the_rows_before_it_go_in() {
    let mut town = Town::new(&[]).await;
    let (room, workspace) = (town.room.clone(), town.workspace);
    let options = Options::default();
    let file = Cursor::new(
        "email,town\nann@example.com,Porto\nbob@example.com,\"Rome\neve@example.com,Oslo\n",
    );
    let report =
        import::leads(&room.store, &room.suppressions, workspace, file, &options, |_| {}).await;
    let Err(ImportError::Unreadable { why, before }) = report else { panic!("{report:?}") };
    assert!(matches!(why, Unreadable::QuoteNotClosed { line: 3 }), "{why}");
    assert_eq!(before.totals, Totals { added: 1, ..Totals::default() });
    assert_eq!(town.count("leads").await, 1);
    assert_eq!(town.count("audit WHERE details @> '{\"added\": 1}'").await, 1);
}

#[tokio::test]
async fn a_quotation_mark_that_swallows_rows_is_told_with_their_lines() {
    let mut town = Town::new(&[]).await;
    let report = town
        .import(
            "email,first_name,note\n\
             ann@example.com,Ann,\"One line,\nand @another\"\n\
             bob@example.com,\"Bob,x\n\
             cy@example.com,Cy,y\n\
             \"dot@example.com\",Dot,z\n\
             eve@example.com,Eve,\n",
        )
        .await;
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    let control = "line 2, note: it holds a line break or another control character";
    let swallowed = "line 4, first_name: its quotation mark closes on line 6 only, so lines 5 to 6 \
                     were taken for a part of it; close it where the value ends";
    assert_eq!(faults, [control, swallowed]);
    assert_eq!(report.totals, Totals { added: 1, refused: 2, ..Totals::default() });
}

#[tokio::test]
async fn a_large_file_is_read_no_faster_than_it_is_stored() {
    const ROWS: u64 = 20_000;
    let town = Town::new(&[]).await;
    let row = |number: u64| format!("lead{number:06}@example.com,{}\n", "x".repeat(980));
    let row_length = u64::try_from(row(0).len()).unwrap();
    let read = Arc::new(AtomicU64::new(0));
    let mut file = Generated {
        header: "email,note\n".to_owned().into_bytes(),
        row: Box::new(move |number| row(number).into_bytes()),
        row_length,
        rows: ROWS,
        at: 0,
        read: Arc::clone(&read),
    };
    let length = file.seek(SeekFrom::End(0)).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let options = Options::default();
    let mut ahead = 0;
    let (store, key) = (&town.room.store, &town.room.suppressions);
    let report = import::leads(store, key, town.workspace, file, &options, |progress| {
        let stored = progress.totals.added * row_length;
        ahead = ahead.max(read.load(Ordering::Relaxed).saturating_sub(stored));
        assert_eq!(progress.bytes, length);
    });
    let report = report.await.unwrap();
    assert_eq!(report.totals, Totals { added: ROWS, ..Totals::default() });
    // The batch that is stored, the one that waits and the one that is read; some buffers.
    assert!(ahead < 4 * 1_000 * row_length, "{ahead} bytes ahead");
}

/// A file that is made while it is read. It counts what the second reading took.
struct Generated {
    header: Vec<u8>,
    row: Box<dyn Fn(u64) -> Vec<u8> + Send>,
    row_length: u64,
    rows: u64,
    at: u64,
    read: Arc<AtomicU64>,
}

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let header = u64::try_from(self.header.len()).unwrap();
        let (bytes, skip) = if self.at < header {
            (self.header.clone(), self.at)
        } else {
            let number = (self.at - header) / self.row_length;
            if number >= self.rows {
                return Ok(0);
            }
            ((self.row)(number), (self.at - header) % self.row_length)
        };
        let rest = &bytes[usize::try_from(skip).unwrap()..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.at += u64::try_from(length).unwrap();
        self.read.fetch_add(u64::try_from(length).unwrap(), Ordering::Relaxed);
        Ok(length)
    }
}

impl Seek for Generated {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let length = u64::try_from(self.header.len()).unwrap() + self.rows * self.row_length;
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => length,
            SeekFrom::Current(_) => self.at,
        };
        self.read.store(0, Ordering::Relaxed);
        Ok(self.at)
    }
}
