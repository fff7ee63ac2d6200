//! What an operator watches: the metrics, the dashboard that shows them, and the logs. Every metric moves
//! with what it counts, every panel names metrics and labels that are served, and no line of a log
//! names an address or quotes a message.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use sqlx::Connection as _;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::nothing;
use tests::end_to_end::provider::{self, Provider};
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

const LEADS: &str =
    "email,name\nada@wharf.example,Ada\nben@wharf.example,Ben\ncleo@wharf.example,\n";

const CAMPAIGN: &str = r#"
name: spring
senders: [one]
zone: UTC
reply: { rule: stop }
steps:
  - key: intro
    email: { subject: "A quay for {{ name }}", body: "Hello {{ name }}, the marmalade is ready." }
"#;

/// What is configured, and does not move.
const CONSTANT: &str = "meridian_connections_max";

/// What moves where Temporal drives leads.
const POKES: &str = "meridian_pokes_total";

/// What the names begin with that Temporal's SDK counts under.
const OF_TEMPORAL: &str = "temporal_";

/// The metrics at one moment: each line without its value, and the value.
struct Scrape {
    text: String,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    async fn of(installation: &Installation) -> Self {
        let url = format!("{}/metrics", installation.url());
        let answer = provider::client().get(url).send().await.unwrap();
        assert!(answer.status().is_success());
        let text = answer.text().await.unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| line.rsplit_once(' ').unwrap());
        let series = series.map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
        Self { series: series.collect(), text }
    }

    /// The sum of the series that begin so.
    fn sum(&self, start: &str) -> f64 {
        let fit = self.series.iter().filter(|(name, _)| name.starts_with(start));
        fit.map(|(_, value)| value).sum()
    }

    /// The names under which metrics are described.
    fn described(&self) -> BTreeSet<&str> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines.map(|line| line.split(' ').next().unwrap()).collect()
    }

    /// The names of what is served, as a query has them.
    fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(|series| series.split('{').next().unwrap()).collect()
    }

    /// Whether a series of this name has this label.
    fn has_label(&self, name: &str, label: &str) -> bool {
        let label = format!("{label}=\"");
        let labels = |series: &&String| series.split('{').next() == Some(name);
        self.series.keys().filter(labels).any(|series| series.contains(&label))
    }
}

/// Waits until a metric fulfils a wish, and returns the scrape.
async fn scraped(installation: &Installation, wish: &str, is: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut found = None;
    until(PATIENCE, async || {
        let scrape = Scrape::of(installation).await;
        if is(&scrape) {
            found = Some(scrape);
            return Ok(());
        }
        Err(format!("{wish}: {}", scrape.text))
    })
    .await;
    found.unwrap()
}

/// The queries of the dashboard, each with the title of its panel.
fn queries() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/grafana/meridian.json");
    let text = std::fs::read_to_string(path).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} shows nothing");
        for target in targets {
            queries.push((title.to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    queries
}

/// The metrics that a query names.
fn metrics_of(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("meridian_") || word.starts_with(OF_TEMPORAL)).collect()
}

/// The labels by which a query sums, but the one of the buckets.
fn labels_of(query: &str) -> Vec<&str> {
    let by = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    by.flat_map(|labels| labels.split(", ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_moves_every_panel_shows_one_and_no_log_names_a_person() {
    let mail_server = MailServer::start(Delays::default()).await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&[("MERIDIAN_LOG", "debug")]);
    installation.ready(&mut serving).await;
    let mut scrapes = vec![Scrape::of(&installation).await];

    let sender = ["sender", "add", "one", &mail_server.url(), "--from", "one@sender.example"];
    installation.run(&[&sender[..], &["--spacing", "1 hour"]].concat()).await;
    let leads = installation.write("leads.csv", LEADS);
    installation.run(&["lead", "import", &leads]).await;
    let campaign = installation.write("campaign.yaml", CAMPAIGN);
    installation.run(&["campaign", "apply", &campaign]).await;
    let endpoint = installation.json(&["webhook", "add", "mailgun"]).await;
    installation.run(&["campaign", "start", "spring"]).await;
    // One is written to, one waits for the sender's next slot, and of one the name is missing.
    let is_sent = |it: &Scrape| it.sum("meridian_sends_total") == 3.0;
    scrapes.push(scraped(&installation, "three outcomes", is_sent).await);
    let sent = scrapes.last().unwrap();
    for series in [
        "meridian_sends_total{outcome=\"accepted\"}",
        "meridian_sends_total{outcome=\"deferred\"}",
        "meridian_sends_total{outcome=\"held\"}",
        "meridian_gate_refusals_total{answer=\"deferred\"",
        "meridian_gate_refusals_total{answer=\"held\"",
        "meridian_call_seconds_count{provider=\"smtp\"}",
    ] {
        assert_eq!(sent.sum(series), 1.0, "{series}: {}", sent.text);
    }

    let mail = mail_server.accepted().remove(0);
    let provider = Provider::new(endpoint["url"].as_str().unwrap(), 1);
    let answer = provider.answer(&mail, "Send the marmalade, please.", &[]);
    for _ in 0..2 {
        assert!(provider::post(&answer).await.unwrap().is_success());
    }
    let unsigned = provider::Post { body: answer.body.replace(&answer.name, "other"), ..answer };
    assert!(provider::post(&unsigned).await.unwrap().is_client_error());
    let is_told = |it: &Scrape| {
        let replied = it.series.iter().find(|(name, _)| name.contains("state=\"replied\""));
        replied.is_some_and(|(_, n)| *n == 1.0)
    };
    scrapes.push(scraped(&installation, "one who replied", is_told).await);
    let told = scrapes.last().unwrap();
    for answer in ["stored", "repeated", "not_signed"] {
        let of = |(name, value): (&String, &f64)| {
            name.starts_with("meridian_webhooks_total") && name.contains(answer) && *value == 1.0
        };
        assert!(told.series.iter().any(of), "{answer}: {}", told.text);
    }

    // Somebody watches while a transaction stays open.
    let key = installation.json(&["key", "create", "--role", "viewer"]).await;
    let bearer = format!("Bearer {}", key["secret"].as_str().unwrap());
    let stream = format!("{}/api/v1/stream", installation.url());
    let stream = provider::client().get(stream).header(AUTHORIZATION, bearer).send().await.unwrap();
    assert_eq!(stream.headers()[CONTENT_TYPE], "text/event-stream");
    let (mut owner, mut other) =
        (installation.database.owner().await, installation.database.owner().await);
    let mut open = owner.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *open).await.unwrap();
    installation
        .run(&["lead", "import", &installation.write("more.csv", "email\neve@wharf.example\n")])
        .await;
    let is_late = |it: &Scrape| it.sum("meridian_stream_lag_seconds") > 0.3;
    let late = scraped(&installation, "a stream that is late", is_late).await;
    assert_eq!(late.sum("meridian_streams"), 1.0);
    scrapes.push(late);
    open.rollback().await.unwrap();
    drop(stream);

    // A lead is due and nobody can take it up; a message needs a person's word.
    let soon = "UPDATE enrollments SET wake_at = wake_at - (wake_at - now()) + interval '1 s'
                WHERE wake_at IS NOT NULL";
    sqlx::query(soon).execute(&mut other).await.unwrap();
    let mut open = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE enrollments IN EXCLUSIVE MODE").execute(&mut *open).await.unwrap();
    for sql in [
        "UPDATE sends SET state = 'needs_review' WHERE state = 'accepted'",
        "INSERT INTO reviews SELECT workspace_id, send_id FROM sends WHERE state = 'needs_review'",
    ] {
        sqlx::query(sql).execute(&mut other).await.unwrap();
    }
    // Whoever tries keeps a connection busy.
    let busy = |it: &Scrape| it.sum("meridian_connections{use=\"busy\"}");
    let at_rest = scrapes.iter().map(busy).fold(f64::INFINITY, f64::min);
    let is_late = |it: &Scrape| it.sum("meridian_due_lag_seconds") > 0.3 && busy(it) > at_rest;
    let late = scraped(&installation, "a lead that is late", is_late).await;
    assert_eq!(late.sum("meridian_sends_to_review"), 1.0);
    scrapes.push(late);
    open.rollback().await.unwrap();
    assert!(serving.terminate().await.success());

    let last = scrapes.last().unwrap();
    assert!(last.sum(CONSTANT) > 1.0);
    for name in last.described() {
        let values = scrapes.iter().map(|it| it.sum(name)).collect::<Vec<_>>();
        let moves = scrapes.windows(2).any(|pair| {
            let with = |it: &Scrape| -> Vec<(String, f64)> {
                let fit = it.series.iter().filter(|(series, _)| series.starts_with(name));
                fit.map(|(series, value)| (series.clone(), *value)).collect()
            };
            with(&pair[0]) != with(&pair[1])
        });
        assert!(moves || name == CONSTANT || name == POKES, "{name} stays {values:?}");
        let is_named = queries().iter().any(|(_, query)| query.contains(name));
        assert!(is_named, "no panel shows {name}");
    }
    let text: String = scrapes.iter().map(|it| it.text.as_str()).collect();
    assert!(!text.contains("wharf") && !text.contains("Ada"), "{text}");
    for (title, query) in queries() {
        let named = metrics_of(&query);
        assert!(!named.is_empty(), "{title}: {query}");
        for name in named.into_iter().filter(|name| !name.starts_with(OF_TEMPORAL)) {
            assert!(last.names().contains(name), "{title}: {name} is not served");
            for label in labels_of(&query) {
                assert!(last.has_label(name, label), "{title}: {name} has no {label}");
            }
        }
    }
    let log = installation.log();
    assert!(log.contains("meridian sender add NAME"), "a start tells what is not set up");
    nothing(told_of_people(&log)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_temporals_sdk_counts_stands_beside_what_we_count() {
    let temporal = TemporalServer::start().await;
    let address = temporal.address();
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&engine(&address));
    installation.ready(&mut serving).await;
    let leads = installation.write("leads.csv", LEADS);
    installation.run(&["lead", "import", &leads]).await;
    let campaign = installation.write("campaign.yaml", &CAMPAIGN.replace("senders: [one]\n", ""));
    installation.run(&["campaign", "apply", &campaign]).await;
    installation.run(&["campaign", "start", "spring"]).await;
    let accepted = "meridian_sends_total{outcome=\"accepted\"}";
    let is_sent = |it: &Scrape| it.sum(accepted) == 2.0 && it.sum(POKES) >= 3.0;
    // Those who wait for a mailbox leave room for others.
    let slots = |it: &Scrape| {
        let of_sends = |(series, _): &(&String, &f64)| {
            series.starts_with("temporal_worker_task_slots_")
                && series.contains("task_queue=\"meridian-email\"")
        };
        it.series.iter().filter(of_sends).map(|(_, n)| n).sum::<f64>()
    };
    let is_well = |it: &Scrape| is_sent(it) && slots(it) == 500.0;
    let scrape = scraped(&installation, "two sends, and 500 slots for mail", is_well).await;

    let described = scrape.described();
    for name in [
        "temporal_sticky_cache_size",
        "temporal_worker_task_slots_available",
        "temporal_workflow_task_schedule_to_start_latency_seconds",
        "temporal_activity_schedule_to_start_latency_seconds",
        "temporal_request",
        "temporal_long_request",
        "meridian_turns_total",
    ] {
        assert!(described.contains(name), "{name}: {}", scrape.text);
    }
    for queue in ["leads", "email", "sms"] {
        let slots = "temporal_worker_task_slots_available";
        let of_queue = format!("task_queue=\"meridian-{queue}\"");
        let is_there = |series: &String| series.starts_with(slots) && series.contains(&of_queue);
        assert!(scrape.series.keys().any(is_there), "{queue}: {}", scrape.text);
    }
    // A histogram, and in seconds.
    let waits = "temporal_activity_schedule_to_start_latency_seconds";
    assert!(scrape.has_label(&format!("{waits}_bucket"), "le"), "{}", scrape.text);
    let sum = scrape.sum(&format!("{waits}_sum"));
    assert!(sum < 60.0 * scrape.sum(&format!("{waits}_count")), "{}", scrape.text);
    assert!(!scrape.text.contains("wharf") && !scrape.text.contains("Ada"), "{}", scrape.text);
    // What fails is counted from the first time on.
    let is_always = |name: &&str| name.starts_with(OF_TEMPORAL) && !name.contains("fail");
    let mut shown = 0;
    for (title, query) in queries() {
        for name in metrics_of(&query).into_iter().filter(is_always) {
            assert!(scrape.names().contains(name), "{title}: {name} is not served");
            for label in labels_of(&query) {
                assert!(scrape.has_label(name, label), "{title}: {name} has no {label}");
            }
            shown += 1;
        }
    }
    assert!(shown > 0, "no panel shows Temporal");
    assert!(serving.terminate().await.success());
}

/// The lines of a log that are no JSON, or name a person or quote a message.
fn told_of_people(log: &str) -> Vec<String> {
    let secrets = ["wharf.example", "Ada", "Cleo", "marmalade", "A quay", "@"];
    let tells = |line: &&str| {
        serde_json::from_str::<Value>(line).is_err() || secrets.iter().any(|it| line.contains(it))
    };
    assert!(log.contains("DEBUG"), "it tells everything: {log}");
    log.lines().filter(tells).map(str::to_owned).collect()
}
