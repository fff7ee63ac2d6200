//! Senders at the terminal.

use secrecy::ExposeSecret as _;

use crate::desk::Desk;

#[tokio::test]
async fn a_password_is_sealed_and_kept_while_the_account_stays_the_same() {
    let mut desk = Desk::new().await;
    let add = "sender add ada smtp://ada@mail.example.com --from ada@example.com";
    let error = desk.types(add).await.error();
    assert!(error.contains("set MERIDIAN_SENDER_PASSWORD"), "{error}");
    desk.types("sender add ada smtp://ada:s3cret@mail.example.com --from ada@example.com")
        .await
        .well();
    assert_eq!(
        desk.count("SELECT count(*) FROM senders WHERE url = 'smtp://ada@mail.example.com'").await,
        1
    );
    assert_eq!(
        desk.count("SELECT position('s3cret'::bytea IN secret)::int8 FROM senders").await,
        0
    );
    // The limits change, the password stays.
    desk.types(&format!("{add} --per-day 40 --spacing 90s")).await.well();
    let keys = activities::key_ring::KeyRing::load(&desk.place.path().join("key")).unwrap();
    let sender = activities::senders::list(&desk.store, desk.workspace).await.unwrap().remove(0);
    let password = sender.password(desk.workspace, &keys).unwrap().unwrap();
    assert_eq!(password.expose_secret(), "s3cret");
    assert_eq!((sender.per_day, sender.spacing_s), (Some(40), 90));
    // Another account needs another password.
    let other = "sender add ada smtp://eve@mail.example.com --from ada@example.com";
    assert!(desk.types(other).await.end.is_err());
    desk.set("MERIDIAN_SENDER_PASSWORD", "other");
    desk.types(other).await.well();
}

#[tokio::test]
async fn senders_are_paused_with_a_reason_and_resumed() {
    let desk = Desk::new().await;
    desk.types("sender add ada capture: --from ada@example.com").await.well();
    desk.types("sender pause ada --reason \"on holiday\"").await.well();
    let list = desk.types("sender list").await.well();
    assert!(list.contains("paused (on holiday)"), "{list}");
    desk.types("sender resume ada").await.well();
    let list = desk.types("sender list --json").await.json();
    assert_eq!(list["senders"][0]["status"], "active");
    let error = desk.types("sender pause eve").await.error();
    assert_eq!(error, "there is no sender `eve`: run `meridian sender list`");
}

#[tokio::test]
async fn leads_that_lacked_a_sender_are_told_when_one_is_mended() {
    let mut desk = Desk::new().await;
    desk.types("sender add ada capture: --from ada@example.com").await.well();
    let leads = desk.file("leads.csv", "email\nann@example.com\n");
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file(
        "spring.yaml",
        "name: spring\nzone: UTC\nsenders: [ada]\nsteps:\n  \
         - { key: intro, email: { subject: Hello, body: Good day } }\n",
    );
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start spring").await.well();
    sqlx::query("UPDATE enrollments SET state = 'held', why = 'sender_disconnected'")
        .execute(&mut desk.owner)
        .await
        .unwrap();
    let told = desk.types("sender resume ada").await.well();
    assert!(told.contains("1 lead that was held for want of a sender goes on"), "{told}");
    assert_eq!(
        desk.count("SELECT count(*) FROM signals WHERE kind = 'attribute_changed'").await,
        1
    );
    // Held because a text prints the name of a sender that had none.
    let lacking = r#"{"state":{"state":"held","missing":{"fields":["sender.name"]}}}"#;
    for (fields, woken) in
        [(lacking.replace("sender.name", "city"), "is changed\n"), (lacking.to_owned(), "1 lead")]
    {
        sqlx::query(
            "UPDATE enrollments SET why = 'missing_variable', snapshot = convert_to($1, 'UTF8')",
        )
        .bind(fields)
        .execute(&mut desk.owner)
        .await
        .unwrap();
        let add = "sender add ada capture: --from ada@example.com --from-name Ada";
        let told = desk.types(add).await.well();
        assert!(told.contains(woken), "{told}");
    }
}

#[tokio::test]
async fn a_sender_that_is_changed_keeps_what_is_not_said_again() {
    let desk = Desk::new().await;
    let add = "sender add ada capture: --from ada@example.com";
    desk.types(&format!(
        "{add} --per-day 40 --spacing 90s --zone Europe/Lisbon --weight 3 --postal-address \"1 St\""
    ))
    .await
    .well();
    let told = desk.types(&format!("{add} --from-name Ada")).await.well();
    assert_eq!(told.trim(), "sender `ada` is changed");
    let listed = async || desk.types("sender list --json").await.json()["senders"][0].clone();
    let ada = listed().await;
    assert_eq!(ada["per_day"], 40);
    assert_eq!(ada["spacing_s"], 90);
    assert_eq!(ada["zone"], "Europe/Lisbon");
    assert_eq!(ada["weight"], 3);
    desk.types(&format!("{add} --per-day none")).await.well();
    assert_eq!(listed().await["per_day"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_script_must_be_there_and_make_sense() {
    let desk = Desk::new().await;
    let error = desk.types("sender add x capture:nowhere.yaml --from x@example.com").await.error();
    assert!(error.contains("cannot read") && error.contains("nowhere.yaml"), "{error}");
    let script = desk.file("script.yaml", "rules:\n  - { name: a, on: b, share: 3, do: reply }\n");
    let error =
        desk.types(&format!("sender add x capture:{script} --from x@example.com")).await.error();
    assert!(error.contains("share that is not between 0 and 1"), "{error}");
}

#[tokio::test]
async fn url_and_address_have_to_belong_together() {
    let desk = Desk::new().await;
    let sid = "AC0123456789abcdef0123456789abcdef";
    let twilio = format!("sender add texts twilio://{sid}:token@api.twilio.com --from");
    let error = desk.types(&format!("{twilio} ada@example.com")).await.error();
    assert!(error.contains("sends texts"), "{error}");
    let mailgun = "sender add sales mailgun://mg.example.com:key@api.eu.mailgun.net --from";
    let error = desk.types(&format!("{mailgun} +15550100")).await.error();
    assert!(error.contains("sends mails"), "{error}");
    desk.types(&format!("{twilio} +15550100")).await.well();
    desk.types(&format!("{mailgun} ada@example.com")).await.well();
    let list = desk.types("sender list --json").await.json();
    let senders = list["senders"].as_array().unwrap();
    let told: Vec<_> = senders
        .iter()
        .map(|it| ["name", "channel", "url", "breaker"].map(|name| it[name].as_str().unwrap()))
        .collect();
    let twilio = format!("twilio://{sid}@api.twilio.com");
    let expected = [
        ["sales", "email", "mailgun://mg.example.com@api.eu.mailgun.net", "closed"],
        ["texts", "sms", &twilio, "closed"],
    ];
    assert_eq!(told, expected);
}
