//! What a collector of traces is sent: from the post of a provider over the database to the turn it led
//! to, and on to the message that the turn asked for; with ids, and without a person's name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::provider::{self, Provider};
use tests::end_to_end::{PATIENCE, until};
use tokio::net::TcpListener;

const CAMPAIGN: &str = r#"
name: spring
senders: [one]
zone: UTC
handover: { to: sales@harbour.example }
steps:
  - key: intro
    email: { subject: "A quay for {{ name }}", body: "Hello {{ name }}, the marmalade is ready." }
"#;

type Exports = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that keeps what it is sent.
struct Collector {
    url: String,
    exports: Exports,
}

impl Collector {
    async fn start() -> Self {
        let exports = Exports::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&exports));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, exports }
    }

    /// Everything that was sent, as text.
    fn text(&self) -> String {
        format!("{:?}", self.exports.lock().unwrap())
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

async fn take(State(exports): State<Exports>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let export = ExportTraceServiceRequest::decode(body).unwrap();
    exports.lock().unwrap().push(export);
    StatusCode::OK
}

/// What a span says of itself in words.
fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: &Option<_>| match value {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter();
    pairs
        .map(|it| (it.key.clone(), text(&it.value.as_ref().and_then(|it| it.value.clone()))))
        .collect()
}

/// The spans of this name that belong to `parent`.
fn below<'a>(spans: &'a [Span], parent: &Span, name: &str) -> Vec<&'a Span> {
    let is_below = |span: &&Span| {
        span.name == name
            && span.trace_id == parent.trace_id
            && span.parent_span_id == parent.span_id
    };
    spans.iter().filter(is_below).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_a_post_to_its_turn_and_to_the_message_it_asked_for() {
    let collector = Collector::start().await;
    let mail_server = MailServer::start(Delays::default()).await;
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&[("MERIDIAN_OTLP_ENDPOINT", &collector.url)]);
    installation.ready(&mut serving).await;
    let sender = ["sender", "add", "one", &mail_server.url(), "--from", "one@sender.example"];
    installation.run(&sender).await;
    let leads = installation.write("leads.csv", "email,name\nada@wharf.example,Ada\n");
    installation.run(&["lead", "import", &leads]).await;
    let campaign = installation.write("campaign.yaml", CAMPAIGN);
    installation.run(&["campaign", "apply", &campaign]).await;
    let endpoint = installation.json(&["webhook", "add", "mailgun"]).await;
    installation.run(&["campaign", "start", "spring"]).await;
    let accepted = async |n: usize| {
        until(PATIENCE, async || match mail_server.accepted().len() {
            found if found == n => Ok(()),
            found => Err(format!("{found} mails of {n}")),
        })
        .await;
    };
    accepted(1).await;
    let mail = mail_server.accepted().remove(0);
    let provider = Provider::new(endpoint["url"].as_str().unwrap(), 1);
    let answer = provider.answer(&mail, "Send the marmalade, please.", &[]);
    assert!(provider::post(&answer).await.unwrap().is_success());
    // To the person who takes over.
    accepted(2).await;
    let shown = installation.json(&["enrollment", "show", "ada@wharf.example"]).await;
    // The last spans leave as it ends.
    assert!(serving.terminate().await.success());

    let spans = collector.spans();
    let posts = spans.iter().filter(|span| {
        span.name == "request"
            && attributes(span)["http.route"] == "/webhooks/mailgun/{endpoint_key}"
    });
    let [request] = posts.collect::<Vec<_>>()[..] else { panic!("one post: {spans:#?}") };
    let [signal] = below(&spans, request, "signal")[..] else { panic!("one signal: {spans:#?}") };
    assert_eq!(attributes(signal)["what"], "mail");
    let [turn] = below(&spans, signal, "turn")[..] else { panic!("one turn: {spans:#?}") };
    let [send] = below(&spans, turn, "send")[..] else { panic!("one message: {spans:#?}") };
    assert_eq!(attributes(send)["outcome"], "accepted");
    let [call] = below(&spans, send, "call")[..] else { panic!("one call: {spans:#?}") };
    assert_eq!(attributes(call)["provider"], "smtp");
    let enrollment = shown["id"].as_str().unwrap();
    for span in [turn, send] {
        assert_eq!(attributes(span)["enrollment.id"], enrollment);
    }
    // What began by itself has a trace of its own, found by the same id.
    let of_lead = spans
        .iter()
        .filter(|span| attributes(span).get("enrollment.id").is_some_and(|id| id == enrollment));
    let first = of_lead.filter(|span| span.name == "turn" && span.parent_span_id.is_empty());
    let [first] = first.collect::<Vec<_>>()[..] else { panic!("one turn: {spans:#?}") };
    assert_eq!(below(&spans, first, "send").len(), 1);

    let text = collector.text();
    assert!(text.contains("meridian"));
    for secret in ["@", "wharf.example", "harbour", "Ada", "marmalade", "quay"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
