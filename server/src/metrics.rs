//! `/metrics`: what the engine counts, how the pool is used, and how many leads are in which state.
//! Labels carry ids and words of ours, never anything a person wrote.

use std::fmt::Write as _;
use std::time::Duration;

use activities::error::Result;
use activities::senders::trouble::Breaker;
use activities::store::measures::SenderState;
use activities::store::{Store, clock, measures, work};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// How often histograms are tidied up.
const UPKEEP: Duration = Duration::from_secs(5);

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
        let handle = PrometheusBuilder::new().install_recorder()?;
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
        let (open, idle) = store.connections();
        metrics::gauge!("meridian_connections", "use" => "busy")
            .set(f64::from(open) - f64::from(u32::try_from(idle).unwrap_or(open)));
        metrics::gauge!("meridian_connections", "use" => "idle")
            .set(f64::from(u32::try_from(idle).unwrap_or(open)));
        let mut text = self.handle.render();
        let mut conn = store.begin_outside().await?;
        let states = measures::campaign_states(&mut conn).await?;
        let senders = measures::sender_states(&mut conn).await?;
        let clocks = clock::read(&mut conn).await?;
        let due = work::due_workspaces(&mut conn).await?;
        conn.rollback().await?;
        let oldest = due.into_iter().filter_map(|(_, wake_at)| wake_at).min();
        let late = oldest.map_or(0.0, |at| clocks.wall_since(at).as_seconds_f64());
        text.push_str("# HELP meridian_due_lag_seconds How long the oldest due lead waits\n");
        text.push_str("# TYPE meridian_due_lag_seconds gauge\n");
        writeln!(text, "meridian_due_lag_seconds {late}").expect("a String takes everything");
        text.push_str("# HELP meridian_enrollments Leads of each campaign in each state\n");
        text.push_str("# TYPE meridian_enrollments gauge\n");
        for count in states {
            let (campaign, state) = (count.campaign, count.state);
            writeln!(
                text,
                "meridian_enrollments{{campaign=\"{campaign}\",state=\"{state}\"}} {}",
                count.n
            )
            .expect("a String takes everything");
        }
        text.push_str("# HELP meridian_senders Senders, 1 at the state each is in\n");
        text.push_str("# TYPE meridian_senders gauge\n");
        for SenderState { sender, channel, status, trouble_until } in senders {
            let state = match status.as_str() {
                "active" => Breaker::of(trouble_until, clocks.wall).as_str(),
                other => other,
            };
            writeln!(
                text,
                "meridian_senders{{sender=\"{sender}\",channel=\"{channel}\",state=\"{state}\"}} 1"
            )
            .expect("a String takes everything");
        }
        Ok(text)
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("meridian_turns_total", "Enrollments that were taken up");
    describe_counter!("meridian_transitions_total", "Signals that the machine applied");
    describe_counter!("meridian_sends_total", "Sends by their outcome");
    describe_counter!("meridian_gate_refusals_total", "Sends the gate kept back, by its answer");
    describe_histogram!("meridian_call_seconds", "How long calls to providers took");
    describe_counter!("meridian_webhooks_total", "Posts of providers, by provider and answer");
    describe_histogram!("meridian_http_seconds", "How long HTTP answers took, by route and status");
    describe_gauge!("meridian_connections", "Connections to the database");
}
