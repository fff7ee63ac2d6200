//! What Temporal's SDK counts, among what this process counts: its instruments write to the one recorder
//! there is, under Temporal's own names. Durations are in seconds, and their names end so, as those of
//! Temporal's other SDKs do in Prometheus.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use metrics::Label;
use temporalio_common::telemetry::metrics::{
    ACTIVITY_EXEC_LATENCY_HISTOGRAM_NAME, ACTIVITY_SCHED_TO_START_LATENCY_HISTOGRAM_NAME,
    CoreMeter, Counter, CounterBase, Gauge, GaugeBase, GaugeF64, GaugeF64Base, Histogram,
    HistogramBase, HistogramDuration, HistogramDurationBase, HistogramF64, HistogramF64Base,
    MetricAttributable, MetricAttributes, MetricParameters, NewAttributes, TemporalMeter,
    UpDownCounter, UpDownCounterBase, WORKFLOW_E2E_LATENCY_HISTOGRAM_NAME,
    WORKFLOW_TASK_EXECUTION_LATENCY_HISTOGRAM_NAME, WORKFLOW_TASK_REPLAY_LATENCY_HISTOGRAM_NAME,
    WORKFLOW_TASK_SCHED_TO_START_LATENCY_HISTOGRAM_NAME, default_buckets_for,
};
use temporalio_common::telemetry::{METRIC_PREFIX, TaskQueueLabelStrategy, TelemetryOptions};

/// Durations that have buckets of their own.
const MEASURED: [&str; 6] = [
    WORKFLOW_E2E_LATENCY_HISTOGRAM_NAME,
    WORKFLOW_TASK_SCHED_TO_START_LATENCY_HISTOGRAM_NAME,
    WORKFLOW_TASK_REPLAY_LATENCY_HISTOGRAM_NAME,
    WORKFLOW_TASK_EXECUTION_LATENCY_HISTOGRAM_NAME,
    ACTIVITY_SCHED_TO_START_LATENCY_HISTOGRAM_NAME,
    ACTIVITY_EXEC_LATENCY_HISTOGRAM_NAME,
];

/// Returns what all names begin with.
pub fn prefix() -> &'static str {
    METRIC_PREFIX
}

/// Returns the durations that have buckets of their own, by their whole names, with these, in seconds.
pub fn buckets() -> impl Iterator<Item = (String, &'static [f64])> {
    let name = |name: &str| in_seconds(&format!("{METRIC_PREFIX}{name}"));
    MEASURED.into_iter().map(move |it| (name(it), default_buckets_for(it, true)))
}

/// Returns the buckets of all other durations, in seconds.
pub fn usual_buckets() -> &'static [f64] {
    default_buckets_for("", true)
}

/// Returns how a worker counts.
pub(crate) fn of_workers() -> TelemetryOptions {
    let meter: Arc<dyn CoreMeter> = Arc::new(Meter);
    TelemetryOptions::builder()
        .metrics(meter)
        // Ours already begin so, because a client adds nothing in front of a name.
        .metric_prefix(String::new())
        .attach_service_name(false)
        .build()
}

/// Returns how a client counts.
pub(crate) fn of_client() -> TemporalMeter {
    let labels = NewAttributes::default();
    TemporalMeter::new(Arc::new(Meter), labels, TaskQueueLabelStrategy::UseNormal)
}

fn in_seconds(name: &str) -> String {
    format!("{name}_seconds")
}

/// Makes instruments that write to the recorder of this process.
#[derive(Debug)]
struct Meter;

impl Meter {
    fn instrument(params: &MetricParameters) -> Instrument {
        Instrument { name: format!("{METRIC_PREFIX}{}", params.name) }
    }
}

impl CoreMeter for Meter {
    fn new_attributes(&self, attribs: NewAttributes) -> MetricAttributes {
        MetricAttributes::NoOp(Arc::new(attribs.into()))
    }

    fn extend_attributes(
        &self,
        existing: MetricAttributes,
        attribs: NewAttributes,
    ) -> MetricAttributes {
        let mut labels = match existing {
            MetricAttributes::NoOp(labels) => Arc::unwrap_or_clone(labels),
            _ => HashMap::new(),
        };
        labels.extend::<HashMap<String, String>>(attribs.into());
        MetricAttributes::NoOp(Arc::new(labels))
    }

    fn counter(&self, params: MetricParameters) -> Counter {
        let it = Self::instrument(&params);
        metrics::describe_counter!(it.name.clone(), params.description);
        Counter::new(Arc::new(it))
    }

    fn histogram(&self, params: MetricParameters) -> Histogram {
        let it = Self::instrument(&params);
        metrics::describe_histogram!(it.name.clone(), params.description);
        Histogram::new(Arc::new(it))
    }

    fn histogram_f64(&self, params: MetricParameters) -> HistogramF64 {
        let it = Self::instrument(&params);
        metrics::describe_histogram!(it.name.clone(), params.description);
        HistogramF64::new(Arc::new(it))
    }

    fn histogram_duration(&self, params: MetricParameters) -> HistogramDuration {
        let it = Instrument { name: in_seconds(&Self::instrument(&params).name) };
        metrics::describe_histogram!(it.name.clone(), params.description);
        HistogramDuration::new(Arc::new(it))
    }

    fn gauge(&self, params: MetricParameters) -> Gauge {
        let it = Self::instrument(&params);
        metrics::describe_gauge!(it.name.clone(), params.description);
        Gauge::new(Arc::new(it))
    }

    fn gauge_f64(&self, params: MetricParameters) -> GaugeF64 {
        let it = Self::instrument(&params);
        metrics::describe_gauge!(it.name.clone(), params.description);
        GaugeF64::new(Arc::new(it))
    }

    fn up_down_counter(&self, params: MetricParameters) -> UpDownCounter {
        let it = Self::instrument(&params);
        metrics::describe_gauge!(it.name.clone(), params.description);
        UpDownCounter::new(Arc::new(it))
    }
}

/// A name; with labels it is a series.
#[derive(Debug)]
struct Instrument {
    name: String,
}

/// A series of what only rises.
struct Rising(metrics::Counter);

/// A series of what rises and falls.
struct Level(metrics::Gauge);

/// A series of what is measured.
struct Spread(metrics::Histogram);

type Bound<T> = Result<Box<T>, Box<dyn Error>>;

impl Instrument {
    fn rising(&self, attributes: &MetricAttributes) -> Box<Rising> {
        Box::new(Rising(metrics::counter!(self.name.clone(), labels(attributes))))
    }

    fn level(&self, attributes: &MetricAttributes) -> Box<Level> {
        Box::new(Level(metrics::gauge!(self.name.clone(), labels(attributes))))
    }

    fn spread(&self, attributes: &MetricAttributes) -> Box<Spread> {
        Box::new(Spread(metrics::histogram!(self.name.clone(), labels(attributes))))
    }
}

/// In one order, or a series would be several.
fn labels(attributes: &MetricAttributes) -> Vec<Label> {
    let MetricAttributes::NoOp(attributes) = attributes else { return Vec::new() };
    let mut labels: Vec<Label> =
        attributes.iter().map(|(name, value)| Label::new(name.clone(), value.clone())).collect();
    labels.sort();
    labels
}

impl MetricAttributable<Box<dyn CounterBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn CounterBase> {
        Ok(self.rising(attributes))
    }
}

impl MetricAttributable<Box<dyn GaugeBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn GaugeBase> {
        Ok(self.level(attributes))
    }
}

impl MetricAttributable<Box<dyn GaugeF64Base>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn GaugeF64Base> {
        Ok(self.level(attributes))
    }
}

impl MetricAttributable<Box<dyn UpDownCounterBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn UpDownCounterBase> {
        Ok(self.level(attributes))
    }
}

impl MetricAttributable<Box<dyn HistogramBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn HistogramBase> {
        Ok(self.spread(attributes))
    }
}

impl MetricAttributable<Box<dyn HistogramF64Base>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn HistogramF64Base> {
        Ok(self.spread(attributes))
    }
}

impl MetricAttributable<Box<dyn HistogramDurationBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn HistogramDurationBase> {
        Ok(self.spread(attributes))
    }
}

impl CounterBase for Rising {
    fn adds(&self, value: u64) {
        self.0.increment(value);
    }
}

impl GaugeBase for Level {
    fn records(&self, value: u64) {
        self.0.set(value as f64);
    }
}

impl GaugeF64Base for Level {
    fn records(&self, value: f64) {
        self.0.set(value);
    }
}

impl UpDownCounterBase for Level {
    fn adds(&self, value: i64) {
        self.0.increment(value as f64);
    }
}

impl HistogramBase for Spread {
    fn records(&self, value: u64) {
        self.0.record(value as f64);
    }
}

impl HistogramF64Base for Spread {
    fn records(&self, value: f64) {
        self.0.record(value);
    }
}

impl HistogramDurationBase for Spread {
    fn records(&self, value: Duration) {
        self.0.record(value.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use temporalio_common::telemetry::metrics::MetricKeyValue;

    use super::*;

    #[test]
    fn labels_have_one_order_and_the_newer_value_counts() {
        let kv = |key: &'static str, value: &'static str| MetricKeyValue::new(key, value);
        let meter = Meter;
        let all = meter.new_attributes(vec![kv("b", "1"), kv("a", "1"), kv("c", "1")].into());
        let all = meter.extend_attributes(all, vec![kv("a", "2")].into());
        let expected = [("a", "2"), ("b", "1"), ("c", "1")].map(|(k, v)| Label::new(k, v));
        assert_eq!(labels(&all), expected);
        assert_eq!(labels(&MetricAttributes::Empty), []);
        let of_nothing =
            meter.extend_attributes(MetricAttributes::Empty, vec![kv("a", "2")].into());
        assert_eq!(labels(&of_nothing), expected[..1]);
    }

    #[test]
    fn durations_are_named_by_their_unit() {
        let names: Vec<String> = buckets().map(|(name, _)| name).collect();
        let expected = "temporal_workflow_task_schedule_to_start_latency_seconds".to_owned();
        assert!(names.contains(&expected), "{names:?}");
        assert!(buckets().all(|(_, buckets)| buckets.is_sorted()));
    }
}
