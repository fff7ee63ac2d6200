//! `/metrics`: what the engine counts, how the pool is used, and how many leads are in which state.
//! Labels carry ids and words of ours, never anything a person wrote.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use activities::changes;
use activities::error::Result;
use activities::senders::trouble::Breaker;
use activities::store::measures::{SenderState, StateCount};
use activities::store::{Store, clock, engines, measures, work};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use temporal_runner::meter;

/// How often histograms are tidied up.
const UPKEEP: Duration = Duration::from_secs(5);

/// The buckets of calls to providers, in seconds: a mail server may take half a minute.
const CALLS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The buckets of HTTP answers, in seconds.
const HTTP: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The outcomes of sends, as [`activities::send::record::Known`] names them.
const OUTCOMES: [&str; 7] =
    ["accepted", "rejected", "deferred", "held", "unknown", "planned", "needs_review"];

/// Who posts to us.
const PROVIDERS: [&str; 2] = ["mailgun", "twilio"];

/// How posts are answered.
const ANSWERS: [&str; 8] = [
    "stored",
    "repeated",
    "unmatched",
    "no_endpoint",
    "too_long",
    "malformed",
    "not_signed",
    "failed",
];

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Begins to count. There is one recorder in a process.
    ///
    /// # Errors
    ///
    /// When another recorder is in place.
    pub fn install() -> Result<Self, BuildError> {
        let full = |name: &str| Matcher::Full(name.to_owned());
        let of_temporal = Matcher::Prefix(meter::prefix().to_owned());
        let mut builder = PrometheusBuilder::new()
            .set_buckets_for_metric(full("meridian_call_seconds"), &CALLS)?
            .set_buckets_for_metric(full("meridian_http_seconds"), &HTTP)?
            .set_buckets_for_metric(of_temporal, meter::usual_buckets())?;
        for (name, buckets) in meter::buckets() {
            builder = builder.set_buckets_for_metric(full(&name), buckets)?;
        }
        let handle = builder.install_recorder()?;
        describe();
        let upkeep = handle.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP);
            loop {
                ticks.tick().await;
                upkeep.run_upkeep();
            }
        });
        Ok(Self { handle })
    }

    /// Returns everything in the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn render(&self, store: &Store) -> Result<String> {
        let connections = store.connections();
        metrics::gauge!("meridian_connections", "use" => "busy").set(connections.busy);
        metrics::gauge!("meridian_connections", "use" => "idle").set(connections.idle);
        metrics::gauge!("meridian_connections_max").set(connections.max);
        let delay = changes::delay(store).await?;
        let mut conn = store.begin_outside().await?;
        let states = measures::campaign_states(&mut conn).await?;
        let senders = measures::sender_states(&mut conn).await?;
        let to_review = measures::sends_to_review(&mut conn).await?;
        let clocks = clock::read(&mut conn).await?;
        let due = work::due_workspaces(&mut conn).await?;
        let relayed = engines::relayed_workspaces(&mut conn).await?;
        conn.rollback().await?;
        let due = due.into_iter().filter_map(|(_, wake_at)| wake_at);
        let oldest = due.chain(relayed.into_iter().filter_map(|it| it.wake_at)).min();
        let late = oldest.map_or(0.0, |at| clocks.wall_since(at).as_seconds_f64());
        let mut text = Text { text: self.handle.render(), name: "" };
        text.gauge("meridian_due_lag_seconds", "How long the oldest due lead waits");
        text.value("", late);
        text.gauge("meridian_stream_lag_seconds", "How long the oldest change waits to be told");
        text.value("", delay.waits.as_seconds_f64());
        text.gauge(
            "meridian_sends_to_review",
            "Sends of which a person must say whether they went",
        );
        text.value("", to_review);
        text.gauge("meridian_enrollments", "Leads of each campaign in each state");
        for StateCount { campaign, state, n } in states {
            text.value(&format!("{{campaign=\"{campaign}\",state=\"{state}\"}}"), n);
        }
        text.gauge("meridian_senders", "Senders, 1 at the state each is in");
        for SenderState { sender, channel, status, trouble_until } in senders {
            let state = match status.as_str() {
                "active" => Breaker::of(trouble_until, clocks.wall).as_str(),
                other => other,
            };
            let labels = format!("{{sender=\"{sender}\",channel=\"{channel}\",state=\"{state}\"}}");
            text.value(&labels, 1);
        }
        Ok(text.text)
    }
}

/// What is asked of the database at every look, after what was counted.
struct Text {
    text: String,
    /// The gauge whose values come next.
    name: &'static str,
}

impl Text {
    fn gauge(&mut self, name: &'static str, help: &str) {
        self.name = name;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} gauge"));
    }

    fn value(&mut self, labels: &str, value: impl Display) {
        let name = self.name;
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes everything");
    }
}

/// Says what each metric is, and lets those begin at nothing that would come with their first event: what
/// begins at one has, for whoever watches, not risen.
fn describe() {
    use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
    describe_counter!("meridian_turns_total", "Enrollments that were taken up");
    describe_counter!("meridian_transitions_total", "Signals that the machine applied");
    describe_counter!("meridian_sends_total", "Sends by their outcome");
    describe_counter!(
        "meridian_gate_refusals_total",
        "Sends that were kept back, by answer and reason"
    );
    describe_histogram!("meridian_call_seconds", "How long calls to providers took");
    describe_counter!("meridian_pokes_total", "Workflows in Temporal that were started or poked");
    describe_counter!("meridian_webhooks_total", "Posts of providers, by provider and answer");
    describe_histogram!("meridian_http_seconds", "How long HTTP answers took, by route and status");
    describe_gauge!("meridian_connections", "Connections to the database, by their use");
    describe_gauge!("meridian_connections_max", "Connections to the database that there may be");
    describe_gauge!("meridian_streams", "Programs that watch what changes");
    counter!("meridian_turns_total").absolute(0);
    counter!("meridian_transitions_total").absolute(0);
    counter!("meridian_pokes_total").absolute(0);
    gauge!("meridian_streams").set(0.0);
    for outcome in OUTCOMES {
        counter!("meridian_sends_total", "outcome" => outcome).absolute(0);
    }
    for provider in PROVIDERS {
        for answer in ANSWERS {
            let labels = [("provider", provider), ("answer", answer)];
            counter!("meridian_webhooks_total", &labels).absolute(0);
        }
    }
}
