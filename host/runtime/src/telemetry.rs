//! Numbers for operators, in the OpenMetrics text format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::StatusCode;
use policy::{Ledger, Usage};
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDenial {
    component: String,
    capability: &'static str,
    reason: &'static str,
    mode: &'static str,
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

/// The books of components, by name. They outlive the components: what was used stays told.
#[derive(Debug, Default)]
pub(crate) struct Ledgers(Mutex<BTreeMap<String, Arc<Ledger>>>);

impl Ledgers {
    /// The book of a component: the one it had, or a new one.
    pub(crate) fn of(&self, component: &str) -> Arc<Ledger> {
        self.lock().entry(component.into()).or_default().clone()
    }

    /// What each component has used since the start.
    pub(crate) fn usage(&self) -> BTreeMap<String, Usage> {
        self.lock().iter().map(|(component, ledger)| (component.clone(), ledger.usage())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Ledger>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The books as metrics, read when somebody asks.
#[derive(Debug)]
struct UsageOf(Arc<Ledgers>);

impl Collector for UsageOf {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&Usage) -> f64;
        let counters: [(&str, &str, Option<Unit>, Read); 7] = [
            ("input_tokens", "Tokens that models read for a component", None, |usage| usage.input_tokens as f64),
            ("output_tokens", "Tokens that models generated for it", None, |usage| usage.output_tokens as f64),
            ("device", "Time that the device worked for it", Some(Unit::Seconds), |usage| usage.device_ns as f64 / 1e9),
            ("cpu", "Time that its code ran", Some(Unit::Seconds), |usage| usage.cpu_ns as f64 / 1e9),
            ("egress", "What it sent to other hosts", Some(Unit::Bytes), |usage| usage.egress_bytes as f64),
            ("log", "What it logged", Some(Unit::Bytes), |usage| usage.log_bytes as f64),
            ("over_quota", "Times that it met a quota", None, |usage| usage.over_quota as f64),
        ];
        let all = self.0.usage();
        for (name, help, unit, read) in counters {
            let name = format!("component_{name}");
            let mut family = encoder.encode_descriptor(&name, help, unit.as_ref(), MetricType::Counter)?;
            for (component, usage) in &all {
                let label = [("component", component.as_str())];
                ConstCounter::new(read(usage)).encode(family.encode_family(&label)?)?;
            }
        }
        let mut held = encoder.encode_descriptor(
            "component_device_memory",
            "Device memory that it holds",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        for (component, usage) in &all {
            let label = [("component", component.as_str())];
            ConstGauge::new(usage.device_bytes as f64).encode(held.encode_family(&label)?)?;
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
    denials: Family<OfDenial, Counter>,
    ledgers: Arc<Ledgers>,
    dropped_log_lines: Family<OfComponent, Counter>,
    audit_lost: Counter,
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
        let denials = Family::default();
        registry.register("denials", "Operations that a policy denied, or would deny in the mode observe", denials.clone());
        let audit_lost = Counter::default();
        registry.register("audit_lost", "Records that the audit log could not keep", audit_lost.clone());
        let ledgers = Arc::<Ledgers>::default();
        registry.register_collector(Box::new(UsageOf(ledgers.clone())));
        registry.register_collector(Box::new(EngineStats(inference)));
        Metrics { registry, requests, seconds, traps, denials, ledgers, dropped_log_lines, audit_lost }
    }

    pub(crate) fn denied(&self, component: &str, capability: &'static str, reason: &'static str, is_enforced: bool) {
        let mode = if is_enforced { "enforce" } else { "observe" };
        self.denials.get_or_create(&OfDenial { component: component.into(), capability, reason, mode }).inc();
    }

    /// Counts records that the audit log could not keep.
    pub(crate) fn audit_lost(&self) -> Counter {
        self.audit_lost.clone()
    }

    /// The books of all components, to be shown with the metrics.
    pub(crate) fn ledgers(&self) -> &Ledgers {
        &self.ledgers
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
