//! Numbers for operators, in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::inference::Inference;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfComponent {
    component: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    component: String,
    status: u16,
}

/// The engine's counts, read when somebody asks.
struct EngineStats(Arc<dyn Inference>);

impl fmt::Debug for EngineStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineStats")
    }
}

impl Collector for EngineStats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.stats();
        let counters = [
            ("engine_batches", "Batches run on the device", stats.batches),
            ("engine_inputs", "Inputs in those batches", stats.inputs),
            ("engine_tokens", "Tokens in those batches", stats.tokens),
            ("engine_failed_batches", "Batches that failed", stats.failed_batches),
        ];
        for (name, help, count) in counters {
            ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let busy = ConstCounter::new(stats.busy_ns as f64 / 1e9);
        busy.encode(encoder.encode_descriptor(
            "engine_busy",
            "Time the device worked",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        let gauges = [
            ("engine_waiting_tokens", "Tokens in the queue", None, stats.waiting_tokens),
            ("engine_generations", "Generations under way", None, stats.sequences),
            ("engine_cache", "What the keys and values of generations may grow to", Some(&Unit::Bytes), stats.cache_bytes),
        ];
        for (name, help, unit, value) in gauges {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<OfStatus, Counter>,
    seconds: Family<OfComponent, Histogram, fn() -> Histogram>,
    traps: Family<OfComponent, Counter>,
    dropped_log_lines: Family<OfComponent, Counter>,
}

impl Metrics {
    pub(crate) fn new(inference: Arc<dyn Inference>) -> Metrics {
        let mut registry = Registry::with_prefix("tessera");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered by a component", requests.clone());
        let histogram = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register_with_unit("http_request_duration", "Time to the head of the answer", Unit::Seconds, seconds.clone());
        let traps = Family::default();
        registry.register("component_traps", "Instances that failed", traps.clone());
        let dropped_log_lines = Family::default();
        registry.register("component_log_lines_dropped", "Log lines beyond a component's limit", dropped_log_lines.clone());
        registry.register_collector(Box::new(EngineStats(inference)));
        Metrics { registry, requests, seconds, traps, dropped_log_lines }
    }

    pub(crate) fn request(&self, component: &str, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&OfStatus { component: component.into(), status: status.as_u16() }).inc();
        self.seconds.get_or_create(&OfComponent { component: component.into() }).observe(took.as_secs_f64());
    }

    pub(crate) fn trapped(&self, component: &str) {
        self.traps.get_or_create(&OfComponent { component: component.into() }).inc();
    }

    pub(crate) fn dropped_log_line(&self, component: &str) {
        self.dropped_log_lines.get_or_create(&OfComponent { component: component.into() }).inc();
    }

    pub(crate) fn encode(&self, text: &mut String) -> fmt::Result {
        text::encode(text, &self.registry)
    }
}
