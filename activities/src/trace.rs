//! Traces across what a span cannot cross: the database, and the hand-over between tasks. A place in a
//! trace is a text as W3C Trace Context has it; it is empty where nobody traces, and always is without
//! the feature `otlp`. Spans carry ids and words of ours, never an address or a text.

use tracing::Span;

/// A place in a trace, at which it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceParent(Option<String>);

impl TraceParent {
    /// Reads what was stored.
    pub fn stored(text: Option<String>) -> Self {
        Self(text)
    }

    /// Returns it as it is stored; nothing where nobody traces.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether there is a trace to go on with.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the place of the span that is current.
    pub fn current() -> Self {
        Self::of(&Span::current())
    }

    /// Returns the place of a span.
    #[cfg(not(feature = "otlp"))]
    pub fn of(_: &Span) -> Self {
        Self(None)
    }

    /// Makes a span go on here. It has not been entered yet.
    #[cfg(not(feature = "otlp"))]
    pub fn lead_to(&self, _: &Span) {}

    /// Says that this led to a span too, which goes on elsewhere.
    #[cfg(not(feature = "otlp"))]
    pub fn link_to(&self, _: &Span) {}
}

#[cfg(feature = "otlp")]
mod otlp {
    use opentelemetry::Context;
    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::TraceParent;

    impl TraceParent {
        /// Returns the place of a span.
        pub fn of(span: &Span) -> Self {
            let context = span.context();
            let place = context.span().span_context().clone();
            let (trace, id, flags) = (place.trace_id(), place.span_id(), place.trace_flags());
            Self(place.is_valid().then(|| format!("00-{trace}-{id}-{:02x}", flags.to_u8())))
        }

        /// Makes a span go on here. It has not been entered yet.
        pub fn lead_to(&self, span: &Span) {
            if let Some(place) = self.place() {
                // An error only means that nobody traces.
                let _ = span.set_parent(Context::new().with_remote_span_context(place));
            }
        }

        /// Says that this led to a span too, which goes on elsewhere.
        pub fn link_to(&self, span: &Span) {
            if let Some(place) = self.place() {
                span.add_link(place);
            }
        }

        fn place(&self) -> Option<SpanContext> {
            let mut parts = self.as_str()?.split('-').skip(1);
            let trace = TraceId::from_hex(parts.next()?).ok()?;
            let span = SpanId::from_hex(parts.next()?).ok()?;
            let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
            Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
        }
    }
}
