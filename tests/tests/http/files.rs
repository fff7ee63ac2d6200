//! Leads in files: imported and exported.

use std::collections::BTreeMap;

use activities::api_keys::Role;
use axum::body::{Body, Bytes};
use axum::http::{Method, header};

use futures::stream;
use serde_json::{Value, json};

use crate::programs::{Answer, Api, Program};

async fn import(program: &Program<'_>, query: &str, file: impl Into<Body>) -> Answer {
    let request = program
        .request(Method::POST, &format!("/leads/import?{query}"))
        .header(header::CONTENT_TYPE, "text/csv; charset=utf-8")
        .body(file.into())
        .unwrap();
    program.send(request).await
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/x-ndjson");
    let text = std::str::from_utf8(&answer.bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_file_goes_in_with_its_columns_mapped_and_its_faults_told() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    // {"Kontakt":"email","Notiz":"-"}
    let query =
        "map=%7B%22Kontakt%22%3A%22email%22%2C%22Notiz%22%3A%22-%22%7D&tags=fair,VIP&source=crm";
    let file = "Kontakt;Vorname;Notiz;Zone\nada@example.com;Ada;x;Europe/Lisbon\nnobody;Bob;x;\n\
                carl@example.com;=1+1;x;Mars\ndora@example.com;=1+1;x;\n";
    let report = import(&operator, query, file).await.json(200);
    assert_eq!((&report["added"], &report["refused"]), (&json!(2), &json!(2)));
    let faults: Vec<String> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| format!("{} {}", fault["line"], fault["field"].as_str().unwrap()))
        .collect();
    assert_eq!(faults, ["3 Kontakt", "4 Vorname", "4 Zone", "5 Vorname"]);
    let found = operator.get("/leads?text=ada").await.json(200);
    let ada = &found["items"][0];
    assert_eq!(ada["attributes"], json!({ "vorname": "Ada" }));
    assert_eq!((&ada["tags"], &ada["source"]), (&json!(["fair", "vip"]), &json!("import/crm")));
}

#[tokio::test]
async fn what_becomes_of_known_leads_is_a_choice() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let file = "email,town,stars,zone\nada@example.com,Porto,,UTC\n";
    import(&operator, "", file).await.json(200);
    let again = "email,town,stars,zone,consent\nada@example.com,Faro,4,Europe/Lisbon,no\n";
    let attributes = async || {
        let found = operator.get("/leads?text=ada").await.json(200);
        let lead = &found["items"][0];
        json!([lead["attributes"], lead["zone"], lead["consent"]["email"]])
    };
    let skipped = import(&operator, "merge=skip", again).await.json(200);
    assert_eq!(skipped["unchanged"], 1);
    assert_eq!(attributes().await, json!([{ "town": "Porto" }, "UTC", "unknown"]));
    let filled = import(&operator, "merge=fill", again).await.json(200);
    assert_eq!(filled["changed"], 1);
    assert_eq!(attributes().await, json!([{ "town": "Porto", "stars": "4" }, "UTC", "refused"]));
    import(&operator, "merge=overwrite", again).await.json(200);
    assert_eq!(
        attributes().await,
        json!([{ "town": "Faro", "stars": "4" }, "Europe/Lisbon", "refused"])
    );
}

#[tokio::test]
async fn a_number_is_read_in_its_country_and_is_one_persons() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let faults = async |query: &str, file: &str| {
        let report = import(&operator, query, file.to_owned()).await.json(200);
        let faults = report["faults"].as_array().unwrap().iter();
        let fault = |it: &Value| format!("{} {}", it["line"], it["reason"].as_str().unwrap());
        faults.map(fault).collect::<Vec<String>>()
    };
    let numbers = async |name: &str| {
        let found = operator.get(&format!("/leads?text={name}")).await.json(200);
        found["items"][0]["phones"].clone()
    };
    let file = "email,Mobile\nada@example.com,912 345 678\nbob@example.com,+351 912-345-678\n\
                carl@example.com,ask him\n";
    let told = faults("country=PT", file).await;
    assert_eq!(told[0], "3 the same number is on line 2; nobody is texted twice");
    assert!(told[1].starts_with("4 not a telephone number"), "{told:?}");
    assert_eq!(numbers("ada").await, json!(["+351912345678"]));
    assert_eq!((numbers("bob").await, numbers("carl").await), (json!([]), json!([])));

    let told = faults("", "email,phone\nbob@example.com,+351912345678\n").await;
    assert_eq!(told, ["2 the number belongs to another lead"]);
    let other = "email,phone\nada@example.com,+351912345679\nbob@example.com,+12025550123\n";
    assert!(faults("merge=fill", other).await.is_empty());
    assert_eq!(numbers("ada").await, json!(["+351912345678"]), "what we know stays");
    assert_eq!(numbers("bob").await, json!(["+12025550123"]));
    assert!(faults("", other).await.is_empty());
    assert_eq!(numbers("ada").await, json!(["+351912345679"]));
    let (_, detail) = import(&operator, "country=Portugal", file).await.problem(422);
    assert!(detail.contains("country"), "{detail}");
}

#[tokio::test]
async fn every_row_is_told_of_as_it_goes_in() {
    const ROWS: usize = 2_500;
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    // It comes in pieces that end anywhere.
    let mut file = "email,n\n".to_owned();
    for n in 0..ROWS {
        let local = if n % 100 == 7 { "two words".to_owned() } else { format!("lead{n}") };
        file.push_str(&format!("{local}@example.com,{n}\n"));
    }
    let pieces: Vec<_> = file
        .as_bytes()
        .chunks(777)
        .map(|it| Ok::<_, std::io::Error>(Bytes::copy_from_slice(it)))
        .collect();
    let told = import(&operator, "results=all", Body::from_stream(stream::iter(pieces))).await;
    let mut told = lines(&told);
    let report = told.pop().unwrap();
    assert_eq!(report["report"]["added"], json!(ROWS - 25));
    assert_eq!(report["report"]["refused"], 25);
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for (index, line) in told.iter().enumerate() {
        let row = &line["row"];
        assert_eq!(row["line"], json!(index + 2));
        let is_added = row["outcome"] == "added";
        assert_eq!(is_added, row["lead"].is_string() && row.get("faults").is_none(), "{row}");
        *outcomes.entry(row["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(outcomes["refused"], 25);
    assert_eq!(told.len(), ROWS);

    let broken = import(&operator, "results=all", "email\nx@y.example\nz@y.example,\"open").await;
    let broken = lines(&broken);
    assert_eq!(broken[0]["row"]["outcome"], "added", "{broken:?}");
    assert_eq!(broken[1]["problem"]["type"], "urn:meridian:problem:malformed");
    let detail = broken[1]["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("opens on line 3"), "{detail}");
    let none = import(&operator, "results=all", "name\nAda\n").await;
    assert_eq!(lines(&none)[0]["problem"]["type"], "urn:meridian:problem:malformed");
}

#[tokio::test]
async fn wrong_files_and_wrong_words_are_named() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let file = "email\nada@example.com\n";
    for (query, field) in [
        ("map=x", "map"),
        ("map=%7B%22email%22%3A%22E%20Mail%22%7D", "map[email]"),
        ("map=%7B%22Mail%22%3A%22email%22%7D", "map"),
        ("tags=a%0Ab", "tags"),
        ("merge=never", "merge"),
        ("source=%00", "source"),
    ] {
        let (kind, detail) = import(&operator, query, file).await.problem(422);
        assert_eq!(kind, "invalid");
        assert!(detail.starts_with(&format!("{field}: ")), "{query}: {detail}");
    }
    assert_eq!(import(&operator, "x=y", file).await.problem(422).0, "invalid");
    assert_eq!(import(&operator, "", "").await.problem(400).0, "malformed");
    assert_eq!(import(&operator, "", "PK\u{3}\u{4}").await.problem(400).0, "malformed");
    let json = operator.post("/leads/import", &json!({})).await;
    assert_eq!(json.problem(415).0, "wrong-type");
    let viewer = api.program(Role::Viewer).await;
    assert_eq!(import(&viewer, "", file).await.problem(403).0, "forbidden");
    // Under a name it is done once.
    let request = || {
        operator
            .request(Method::POST, "/leads/import")
            .header(header::CONTENT_TYPE, "text/csv")
            .header("idempotency-key", "file")
            .body(Body::from(file))
            .unwrap()
    };
    let first = operator.send(request()).await.json(200);
    assert_eq!(operator.send(request()).await.json(200), first);
}

#[tokio::test]
async fn what_is_exported_calculates_nothing_and_can_be_imported_again() {
    let api = Api::new().await;
    let operator = api.program(Role::Operator).await;
    let formulas = ["=HYPERLINK(\"http://x\")", "+1", "-1", "@SUM(A1)", "plain, \"quoted\""];
    for (n, formula) in formulas.iter().enumerate() {
        let new = json!({
            "emails": [format!("lead{n}@example.com"), format!("other{n}@example.com")],
            "phones": if n == 0 { json!(["+351912345678"]) } else { json!([]) },
            "zone": "Europe/Lisbon",
            "attributes": { "note": formula, "rooms": 40 },
            "tags": ["a", "b"],
        });
        operator.post("/leads", &new).await.json(201);
    }
    let exported = operator.get("/leads/export").await;
    assert_eq!(exported.status, 200);
    assert_eq!(exported.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    let text = String::from_utf8(exported.bytes.clone()).unwrap();
    let mut rows = text.lines();
    assert_eq!(
        rows.next().unwrap(),
        "lead_id,email,other_emails,text_numbers,zone,consent,sms_consent,call_consent,tags,\
         lead_source,lead_since,note,rooms"
    );
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows.len(), formulas.len());
    for (row, cell) in rows.iter().zip([
        "\"'=HYPERLINK(\"\"http://x\"\")\",40",
        "'+1,40",
        "'-1,40",
        "'@SUM(A1),40",
        "\"plain, \"\"quoted\"\"\",40",
    ]) {
        assert!(row.ends_with(cell), "{row}");
    }
    assert!(
        rows[0].contains(",lead0@example.com,other0@example.com,'+351912345678,Europe/Lisbon,")
    );

    let again = import(&operator, "", exported.bytes).await.json(200);
    // A number comes back as text.
    assert_eq!(again["changed"], 5);
    let note = operator.get("/leads?text=lead0").await.json(200)["items"][0]["attributes"].clone();
    assert_eq!(note, json!({ "note": formulas[0], "rooms": "40" }));

    let one = operator.get("/leads/export?text=lead3").await;
    assert_eq!(String::from_utf8(one.bytes).unwrap().lines().count(), 2);
    let stranger = api.stranger(Role::Admin).await;
    let nothing = stranger.get("/leads/export").await;
    assert_eq!(String::from_utf8(nothing.bytes).unwrap().lines().count(), 1);
    assert_eq!(operator.get("/leads/export?state=x").await.problem(422).0, "invalid");
}
