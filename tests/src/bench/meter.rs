//! Hears the program's own metrics: how far a run is, without asking the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

static METER: OnceLock<Meter> = OnceLock::new();

/// What was heard so far.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    transitions: Arc<Sum>,
    lags: Arc<Lags>,
}

impl Meter {
    /// Returns the meter of this process, which listens from the first call on.
    pub fn get() -> &'static Self {
        METER.get_or_init(|| {
            let meter = Self::default();
            metrics::set_global_recorder(meter.clone()).expect("nobody else listens");
            meter
        })
    }

    /// Returns how many journal rows were committed.
    pub fn transitions(&self) -> u64 {
        self.transitions.0.load(Ordering::Relaxed)
    }

    /// Returns how many messages have passed the gate.
    pub fn gated(&self) -> usize {
        self.lags.0.lock().expect("no holder panics").len()
    }

    /// Takes the milliseconds between each message's time and its way through the gate.
    pub fn take_lags_ms(&self) -> Vec<f64> {
        let lags = std::mem::take(&mut *self.lags.0.lock().expect("no holder panics"));
        lags.into_iter().map(|seconds| seconds * 1e3).collect()
    }
}

#[derive(Debug, Default)]
struct Sum(AtomicU64);

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Lags(Mutex<Vec<f64>>);

impl HistogramFn for Lags {
    fn record(&self, value: f64) {
        self.0.lock().expect("no holder panics").push(value);
    }
}

impl Recorder for Meter {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() {
            "meridian_transitions_total" => Counter::from_arc(Arc::clone(&self.transitions)),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match key.name() {
            "meridian_gate_lag_seconds" => Histogram::from_arc(Arc::clone(&self.lags)),
            _ => Histogram::noop(),
        }
    }
}
