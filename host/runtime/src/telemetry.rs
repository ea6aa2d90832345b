//! Numbers for operators, in the OpenMetrics text format.

mod recent;

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
use recent::Recent;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    component: String,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRefusal {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerdict {
    component: String,
    guard: String,
    direction: &'static str,
    verdict: &'static str,
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

/// The books of components or tenants, by name. They outlive what they are about: what was used stays told.
#[derive(Debug, Default)]
pub(crate) struct Ledgers(Mutex<BTreeMap<String, Arc<Ledger>>>);

impl Ledgers {
    /// The book of one of them: the one it had, or a new one.
    pub(crate) fn of(&self, owner: &str) -> Arc<Ledger> {
        self.lock().entry(owner.into()).or_default().clone()
    }

    /// What each of them has used since the start.
    pub(crate) fn usage(&self) -> BTreeMap<String, Usage> {
        self.lock().iter().map(|(component, ledger)| (component.clone(), ledger.usage())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Ledger>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The books as metrics, read when somebody asks.
#[derive(Debug)]
struct UsageOf {
    /// Whose they are: `component` or `tenant`.
    kind: &'static str,
    ledgers: Arc<Ledgers>,
}

impl Collector for UsageOf {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&Usage) -> f64;
        let UsageOf { kind, ledgers } = self;
        let counters: [(&str, &str, Option<Unit>, Read); 8] = [
            ("requests", "Requests that were let in", None, |usage| usage.requests as f64),
            ("input_tokens", "Tokens that models read for it", None, |usage| usage.input_tokens as f64),
            ("output_tokens", "Tokens that models generated for it", None, |usage| usage.output_tokens as f64),
            ("device", "Time that the device worked for it", Some(Unit::Seconds), |usage| usage.device_ns as f64 / 1e9),
            ("cpu", "Time that its code ran", Some(Unit::Seconds), |usage| usage.cpu_ns as f64 / 1e9),
            ("egress", "What it sent to other hosts", Some(Unit::Bytes), |usage| usage.egress_bytes as f64),
            ("log", "What it logged", Some(Unit::Bytes), |usage| usage.log_bytes as f64),
            ("over_quota", "Times that it met a quota", None, |usage| usage.over_quota as f64),
        ];
        let all = ledgers.usage();
        for (name, help, unit, read) in counters {
            let name = format!("{kind}_{name}");
            let mut family = encoder.encode_descriptor(&name, help, unit.as_ref(), MetricType::Counter)?;
            for (owner, usage) in &all {
                let label = [(*kind, owner.as_str())];
                ConstCounter::new(read(usage)).encode(family.encode_family(&label)?)?;
            }
        }
        let name = format!("{kind}_device_memory");
        let help = "Device memory that it holds";
        let mut held = encoder.encode_descriptor(&name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for (owner, usage) in &all {
            let label = [(*kind, owner.as_str())];
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
    operations: Family<OfOperation, Counter>,
    refusals: Family<OfRefusal, Counter>,
    verdicts: Family<OfVerdict, Counter>,
    ledgers: Arc<Ledgers>,
    tenants: Arc<Ledgers>,
    dropped_log_lines: Family<OfComponent, Counter>,
    /// Entries of the cache of compiled code that this server did not write.
    pub(crate) compiled_cache_refused: Counter,
    audit_lost: Counter,
    /// What the last requests took.
    pub(crate) recent: Recent,
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
        let compiled_cache_refused = Counter::default();
        let help = "Entries of the cache of compiled components that this server did not write";
        registry.register("compiled_cache_refused", help, compiled_cache_refused.clone());
        let denials = Family::default();
        registry.register("denials", "Operations that a policy denied, or would deny in the mode observe", denials.clone());
        let operations = Family::default();
        registry.register("store_operations", "Uses of what components keep", operations.clone());
        let verdicts = Family::default();
        registry.register("guard_verdicts", "Texts that guards judged, or could not judge", verdicts.clone());
        let (ledgers, tenants) = (Arc::<Ledgers>::default(), Arc::<Ledgers>::default());
        registry.register_collector(Box::new(UsageOf { kind: "component", ledgers: ledgers.clone() }));
        registry.register_collector(Box::new(UsageOf { kind: "tenant", ledgers: tenants.clone() }));
        let refusals = Family::default();
        registry.register("auth_refusals", "Requests that were not let in", refusals.clone());
        let audit_lost = Counter::default();
        registry.register("audit_lost", "Records that the audit log could not keep", audit_lost.clone());
        registry.register_collector(Box::new(EngineStats(inference)));
        Metrics {
            registry,
            requests,
            seconds,
            traps,
            denials,
            verdicts,
            operations,
            refusals,
            ledgers,
            tenants,
            dropped_log_lines,
            compiled_cache_refused,
            audit_lost,
            recent: Recent::default(),
        }
    }

    pub(crate) fn denied(&self, component: &str, capability: &'static str, reason: &'static str, is_enforced: bool) {
        let mode = if is_enforced { "enforce" } else { "observe" };
        self.denials.get_or_create(&OfDenial { component: component.into(), capability, reason, mode }).inc();
    }

    pub(crate) fn stored(&self, component: &str, operation: &'static str) {
        self.operations.get_or_create(&OfOperation { component: component.into(), operation }).inc();
    }

    pub(crate) fn guarded(&self, component: &str, guard: &str, direction: &'static str, verdict: &'static str) {
        let labels = OfVerdict { component: component.into(), guard: guard.into(), direction, verdict };
        self.verdicts.get_or_create(&labels).inc();
    }

    /// Counts records that the audit log could not keep.
    pub(crate) fn audit_lost(&self) -> Counter {
        self.audit_lost.clone()
    }

    /// The books of all components, to be shown with the metrics.
    pub(crate) fn ledgers(&self) -> &Ledgers {
        &self.ledgers
    }

    /// The books of all tenants, to be shown with the metrics.
    pub(crate) fn tenants(&self) -> &Ledgers {
        &self.tenants
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&OfRefusal { reason }).inc();
    }

    /// Shows a component's requests from now on, before there is any.
    pub(crate) fn serves(&self, component: &str) {
        let ok = OfStatus { component: component.into(), status: StatusCode::OK.as_u16() };
        drop((self.requests.get_or_create(&ok), self.seconds.get_or_create(&OfComponent { component: component.into() })));
    }

    pub(crate) fn request(&self, component: &str, status: StatusCode, took: Duration) {
        self.requests.get_or_create(&OfStatus { component: component.into(), status: status.as_u16() }).inc();
        self.seconds.get_or_create(&OfComponent { component: component.into() }).observe(took.as_secs_f64());
        self.recent.push(component, took);
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
