//! No secret is told to anybody: not in the log at its most talkative, not in what commands print about it
//! later, not in a row of the database, whether a call fails or not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::AUTHORIZATION;
use sqlx::{AssertSqlSafe, Row as _};
use tests::end_to_end::installation::{Installation, SIGNING_KEY};
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::provider::{self, Provider};
use tests::end_to_end::{PATIENCE, until};

const PASSWORD: &str = "canary-of-the-mailbox-81";
const GUESS: &str = "canary-of-a-client-that-guesses-27";

const CAMPAIGN: &str = "
name: spring
senders: [open, locked]
zone: UTC
steps:
  - { key: intro, email: { subject: A quay, body: The marmalade is ready. } }
";

/// Every row of every table, as text; bytes are hexadecimal there.
async fn rows(installation: &Installation) -> String {
    let mut owner = installation.database.owner().await;
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let tables = sqlx::query(tables).fetch_all(&mut owner).await.unwrap();
    let mut told = String::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" AS t"));
        for row in sqlx::query(rows).fetch_all(&mut owner).await.unwrap() {
            told.push_str(&row.get::<String, _>(0));
            told.push('\n');
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_in_what_commands_print_or_in_a_row() {
    let mail_server = MailServer::start(Delays::default()).await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&[("MERIDIAN_LOG", "trace")]);
    installation.ready(&mut serving).await;
    #[cfg(target_os = "linux")]
    {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", serving.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    }
    // One mailbox takes mail, the other wants nothing of our password.
    let open = mail_server.url();
    let locked = open.replace("127.0.0.1", &format!("ada:{PASSWORD}@127.0.0.1"));
    for (name, url) in [("open", &open), ("locked", &locked)] {
        let from = format!("{name}@sender.example");
        installation.run(&["sender", "add", name, url, "--from", &from]).await;
    }
    let leads: String = (0..8).map(|n| format!("lead{n}@wharf.example\n")).collect();
    installation
        .run(&["lead", "import", &installation.write("leads.csv", &format!("email\n{leads}"))])
        .await;
    installation.run(&["campaign", "apply", &installation.write("spring.yaml", CAMPAIGN)]).await;
    let endpoint = installation.json(&["webhook", "add", "mailgun"]).await;
    let key = installation.json(&["key", "create", "--role", "viewer"]).await;
    let key = key["secret"].as_str().unwrap();
    installation.run(&["campaign", "start", "spring"]).await;
    until(PATIENCE, async || {
        let senders = installation.json(&["sender", "list"]).await;
        let senders = senders["senders"].as_array().unwrap();
        let failed = senders.iter().any(|sender| {
            sender["name"] == "locked"
                && (sender["status"] == "paused" || !sender["trouble"].is_null())
        });
        let sent = !mail_server.accepted().is_empty();
        if sent && failed { Ok(()) } else { Err(format!("{sent} {senders:?}")) }
    })
    .await;

    let url = format!("{}/api/v1/leads", installation.url());
    for (bearer, is_known) in [(key, true), (GUESS, false)] {
        let asked = provider::client().get(&url).header(AUTHORIZATION, format!("Bearer {bearer}"));
        assert_eq!(asked.send().await.unwrap().status().is_success(), is_known);
    }
    let mail = mail_server.accepted().remove(0);
    let provider = Provider::new(endpoint["url"].as_str().unwrap(), 1);
    let answer = provider.answer(&mail, "Send the marmalade, please.", &[]);
    assert!(provider::post(&answer).await.unwrap().is_success());
    let unsigned = provider::Post { body: answer.body.replace(&answer.name, GUESS), ..answer };
    assert!(provider::post(&unsigned).await.unwrap().is_client_error());

    let mut told = vec![("a row", rows(&installation).await)];
    for (what, command) in [
        ("sender list", &["sender", "list", "--json"][..]),
        ("key list", &["key", "list", "--json"]),
        ("webhook list", &["webhook", "list", "--json"]),
        ("audit list", &["audit", "list", "--json"]),
        ("dead-letter list", &["dead-letter", "list", "--json"]),
        ("doctor", &["doctor"]),
    ] {
        let (_, printed, remarks) = installation.try_run(command).await;
        told.push((what, printed + &remarks));
    }
    assert!(serving.terminate().await.success());
    let log = installation.log();
    assert!(log.contains("\"DEBUG\""), "the log tells everything");
    told.push(("the log", log));

    let master = std::fs::read(installation.place().join("key")).unwrap();
    let master = master.last_chunk::<32>().unwrap();
    let login = format!("\0ada\0{PASSWORD}").into_bytes();
    let mut secrets = vec![("the master key", master.to_vec()), ("the login", login)];
    for (what, secret) in [
        ("the password", PASSWORD),
        ("the signing key", SIGNING_KEY),
        ("the key", key),
        ("a wrong key", GUESS),
    ] {
        secrets.push((what, secret.as_bytes().to_vec()));
    }
    for (whose, secret) in &secrets {
        let plain = String::from_utf8(secret.clone()).ok();
        let hidden = [Some(hex::encode(secret)), Some(STANDARD.encode(secret)), plain];
        for (place, text) in &told {
            let found = hidden.iter().flatten().any(|secret| text.contains(secret.as_str()));
            assert!(!found, "{whose} is in {place}");
        }
    }
}
