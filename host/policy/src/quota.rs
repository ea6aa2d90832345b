//! What a component may use in a minute, and the book that is kept of it.
//!
//! Each quota is a bucket that holds one minute's worth and refills evenly, so a component may use a minute's worth at once and
//! then at the rate of its quota. What an operation will use is reserved before it and settled by what it did use: too much
//! reserved comes back, too little becomes a debt that later operations wait for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meter::Meter;

/// Time over which a quota counts.
const MINUTE: Duration = Duration::from_secs(60);

/// Section `[quota]` of a policy: what a component may use in a minute, all its instances together. Beyond it requests are
/// answered 429, and host calls fail with the error `quota`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Requests in a minute.
    pub requests_per_min_max: u64,
    /// Tokens that models read for it in a minute: texts to embed or rerank, prompts.
    pub input_tokens_per_min_max: u64,
    /// Tokens that models generate for it in a minute. A generation that meets the limit ends there.
    pub output_tokens_per_min_max: u64,
    /// Time that the device works for it in a minute, in milliseconds. Several jobs in one step share its time by their tokens.
    pub device_ms_per_min_max: u64,
    /// Device memory that its generations may hold at one time, in bytes: what their keys and values may grow to.
    pub device_bytes_max: u64,
    /// Bytes it may send to other hosts in a minute: heads and bodies of requests.
    pub egress_bytes_per_min_max: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            requests_per_min_max: 600_000,
            input_tokens_per_min_max: 1_000_000,
            output_tokens_per_min_max: 100_000,
            device_ms_per_min_max: 60_000,
            device_bytes_max: 4 << 30,
            egress_bytes_per_min_max: 4 << 20,
        }
    }
}

/// Something that is counted and limited by the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Requests.
    Requests,
    /// Tokens that models read.
    InputTokens,
    /// Tokens that models generate.
    OutputTokens,
    /// Nanoseconds that the device worked.
    DeviceTime,
    /// Bytes sent to other hosts.
    Egress,
    /// Bytes of log lines.
    Log,
}

/// Lines that the host writes about one component in a minute: denials, traps.
const LINES_PER_MIN_MAX: u64 = 120;

/// All of them, in the order of their numbers.
const RESOURCES: [Resource; 6] =
    [Resource::Requests, Resource::InputTokens, Resource::OutputTokens, Resource::DeviceTime, Resource::Egress, Resource::Log];

impl Resource {
    /// The policy key that limits it.
    pub fn key(self) -> &'static str {
        match self {
            Resource::Requests => "[quota] requests_per_min_max",
            Resource::InputTokens => "[quota] input_tokens_per_min_max",
            Resource::OutputTokens => "[quota] output_tokens_per_min_max",
            Resource::DeviceTime => "[quota] device_ms_per_min_max",
            Resource::Egress => "[quota] egress_bytes_per_min_max",
            Resource::Log => "[log] bytes_per_min_max",
        }
    }

    fn max(self, quota: &Quota, log_bytes_max: u64) -> u64 {
        match self {
            Resource::Requests => quota.requests_per_min_max,
            Resource::InputTokens => quota.input_tokens_per_min_max,
            Resource::OutputTokens => quota.output_tokens_per_min_max,
            Resource::DeviceTime => quota.device_ms_per_min_max.saturating_mul(1_000_000),
            Resource::Egress => quota.egress_bytes_per_min_max,
            Resource::Log => log_bytes_max,
        }
    }
}

/// A quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// Which one.
    pub resource: Resource,
    /// When to ask again.
    pub retry_after: Duration,
}

/// How full a bucket is: what was used and has not been earned back.
#[derive(Debug, Clone, Copy)]
struct Level {
    used: f64,
    at: Option<Instant>,
}

/// The book of one resource.
#[derive(Debug)]
struct Bucket {
    level: Mutex<Level>,
    max: AtomicU64,
    total: AtomicU64,
    refused: AtomicU64,
}

impl Bucket {
    fn new(max: u64) -> Bucket {
        let level = Mutex::new(Level { used: 0.0, at: None });
        Bucket { level, max: AtomicU64::new(max), total: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// The level now, and what it may be.
    fn with<T>(&self, now: Instant, change: impl FnOnce(&mut f64, f64) -> T) -> T {
        let max = self.max.load(Ordering::Relaxed) as f64;
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = level.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        level.used = (level.used - max * passed.as_secs_f64() / MINUTE.as_secs_f64()).max(0.0);
        level.at = Some(level.at.map_or(now, |at| at.max(now)));
        change(&mut level.used, max)
    }

    /// Takes an amount if there is room for it.
    fn take(&self, amount: u64, now: Instant) -> Result<(), Duration> {
        self.take_where(amount, amount, now)
    }

    /// As [`take`](Self::take), but one that is larger than the bucket is taken from an empty one, as a debt.
    fn take_even_if_larger(&self, amount: u64, now: Instant) -> Result<(), Duration> {
        let max = self.max.load(Ordering::Relaxed);
        self.take_where(amount, amount.min(max).max(1), now)
    }

    /// Takes an amount if there is room for so much.
    fn take_where(&self, amount: u64, room: u64, now: Instant) -> Result<(), Duration> {
        let wait = self.with(now, |used, max| {
            let over = *used + room as f64 - max;
            if over <= 0.0 {
                *used += amount as f64;
                return None;
            }
            Some(if max > 0.0 { MINUTE.mul_f64((over / max).min(60.0)) } else { MINUTE })
        });
        match wait {
            None => Ok(()),
            Some(wait) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(wait.max(Duration::from_millis(1)))
            }
        }
    }

    /// Takes what there is room for, up to an amount, and at least one.
    fn take_up_to(&self, amount: u64, now: Instant) -> Result<u64, Duration> {
        let taken = self.with(now, |used, max| {
            let amount = amount.min((max - *used).max(0.0) as u64);
            *used += amount as f64;
            amount
        });
        // None left: says how long one takes.
        if taken == 0 { self.take(1, now).map(|()| 1) } else { Ok(taken) }
    }

    /// Takes an amount, room or not; says whether there was room.
    fn charge(&self, amount: u64, now: Instant) -> bool {
        self.with(now, |used, max| {
            *used += amount as f64;
            *used <= max
        })
    }

    /// Gives back what was taken so long ago and not used, less what was earned back meanwhile: nobody saves a quota up.
    fn give_back(&self, amount: u64, held: Duration, now: Instant) {
        self.with(now, |used, max| {
            let earned = max * held.as_secs_f64() / MINUTE.as_secs_f64();
            *used = (*used - (amount as f64 - earned).max(0.0)).max(0.0);
        });
    }
}

/// What a component has used since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Requests that were let in.
    pub requests: u64,
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Tokens that models generated.
    pub output_tokens: u64,
    /// Nanoseconds that the device worked.
    pub device_ns: u64,
    /// Bytes sent to other hosts.
    pub egress_bytes: u64,
    /// Bytes logged.
    pub log_bytes: u64,
    /// Nanoseconds that its code ran.
    pub cpu_ns: u64,
    /// Device memory held now, in bytes.
    pub device_bytes: u64,
    /// Times that a quota was met.
    pub over_quota: u64,
    /// Operations that were denied.
    pub denied: u64,
    /// Operations that would have been denied, had the mode not been `observe`.
    pub would_deny: u64,
}

/// The book of one component: what it uses, against its quotas. It outlives policies and instances.
#[derive(Debug)]
pub struct Ledger {
    buckets: [Bucket; RESOURCES.len()],
    /// Lines that the host writes about it.
    lines: Bucket,
    device_bytes: AtomicU64,
    device_bytes_max: AtomicU64,
    cpu_ns: AtomicU64,
    denied: AtomicU64,
    would_deny: AtomicU64,
    is_enforced: AtomicBool,
}

impl Default for Ledger {
    fn default() -> Self {
        let (quota, log) = (Quota::default(), crate::LogGrant::default());
        Ledger {
            buckets: RESOURCES.map(|resource| Bucket::new(resource.max(&quota, log.bytes_per_min_max))),
            lines: Bucket::new(LINES_PER_MIN_MAX),
            device_bytes: AtomicU64::new(0),
            device_bytes_max: AtomicU64::new(quota.device_bytes_max),
            cpu_ns: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            would_deny: AtomicU64::new(0),
            is_enforced: AtomicBool::new(true),
        }
    }
}

impl Ledger {
    /// Counts under these quotas from now on. Unless they are enforced, they are counted and refuse nothing.
    pub fn set(&self, quota: &Quota, log_bytes_per_min_max: u64, is_enforced: bool) {
        for (bucket, resource) in self.buckets.iter().zip(RESOURCES) {
            bucket.max.store(resource.max(quota, log_bytes_per_min_max), Ordering::Relaxed);
        }
        self.device_bytes_max.store(quota.device_bytes_max, Ordering::Relaxed);
        self.is_enforced.store(is_enforced, Ordering::Relaxed);
    }

    /// Uses an amount, if the quota has room for it.
    ///
    /// # Errors
    /// When it has not.
    pub fn take(&self, resource: Resource, amount: u64) -> Result<(), Exhausted> {
        let now = Instant::now();
        let bucket = self.bucket(resource);
        let taken = bucket.take(amount, now);
        let counted = || {
            bucket.charge(amount, now);
        };
        self.unless_observed(resource, taken, counted)?;
        bucket.total.fetch_add(amount, Ordering::Relaxed);
        Ok(())
    }

    /// Counts what was used, room or not; false when the quota is used up.
    pub fn charge(&self, resource: Resource, amount: u64) -> bool {
        let bucket = self.bucket(resource);
        bucket.total.fetch_add(amount, Ordering::Relaxed);
        self.settle(bucket, amount)
    }

    /// As [`charge`](Self::charge), of what is counted in the total already.
    fn settle(&self, bucket: &Bucket, amount: u64) -> bool {
        let has_room = bucket.charge(amount, Instant::now());
        if !has_room {
            bucket.refused.fetch_add(1, Ordering::Relaxed);
        }
        has_room || !self.is_enforced.load(Ordering::Relaxed)
    }

    /// Sets aside what an operation is about to use: so many tokens to read and, if there is room for one at least, up to so
    /// many to generate. Device time has to be left, too.
    ///
    /// # Errors
    /// When a quota is used up.
    pub fn reserve(self: &Arc<Self>, input_tokens: u64, output_tokens: u64) -> Result<Reservation, Exhausted> {
        if input_tokens == 0 && output_tokens == 0 {
            return Ok(Reservation::empty(self)); // it uses no device
        }
        let now = Instant::now();
        let device = self.bucket(Resource::DeviceTime).take_where(0, 1, now);
        self.unless_observed(Resource::DeviceTime, device, || ())?;
        let input = self.bucket(Resource::InputTokens).take_even_if_larger(input_tokens, now).map(|()| input_tokens);
        let input = self.unless_observed(Resource::InputTokens, input, || 0)?;
        let mut reservation = Reservation {
            ledger: self.clone(),
            since: now,
            input: AtomicU64::new(input),
            output: AtomicU64::new(0),
            meter: None,
        };
        if output_tokens > 0 {
            let output = self.bucket(Resource::OutputTokens).take_up_to(output_tokens, now);
            reservation.output = AtomicU64::new(self.unless_observed(Resource::OutputTokens, output, || 0)?);
        }
        Ok(reservation)
    }

    /// Sets device memory aside, in bytes; false where there is none left for this component.
    pub fn hold(&self, bytes: u64) -> bool {
        let max = match self.is_enforced.load(Ordering::Relaxed) {
            true => self.device_bytes_max.load(Ordering::Relaxed),
            false => u64::MAX,
        };
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= max);
        self.device_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives device memory back.
    pub fn release(&self, bytes: u64) {
        self.device_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts time that the component's code ran.
    pub fn ran(&self, cpu: Duration) {
        self.cpu_ns.fetch_add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether one more line about the component, as on a denial or a trap, may be written to the host's log.
    pub fn takes_a_line(&self) -> bool {
        self.lines.take(1, Instant::now()).is_ok()
    }

    /// Counts a denial, or what would be one if the mode were not `observe`.
    pub(crate) fn denied(&self, is_enforced: bool) {
        let counter = if is_enforced { &self.denied } else { &self.would_deny };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What was used since the start.
    pub fn usage(&self) -> Usage {
        let total = |resource| self.bucket(resource).total.load(Ordering::Relaxed);
        Usage {
            requests: total(Resource::Requests),
            input_tokens: total(Resource::InputTokens),
            output_tokens: total(Resource::OutputTokens),
            device_ns: total(Resource::DeviceTime),
            egress_bytes: total(Resource::Egress),
            log_bytes: total(Resource::Log),
            cpu_ns: self.cpu_ns.load(Ordering::Relaxed),
            device_bytes: self.device_bytes.load(Ordering::Relaxed),
            over_quota: self.buckets[..=Resource::Log as usize]
                .iter()
                .map(|bucket| bucket.refused.load(Ordering::Relaxed))
                .sum(),
            denied: self.denied.load(Ordering::Relaxed),
            would_deny: self.would_deny.load(Ordering::Relaxed),
        }
    }

    /// What a refusal of a bucket means in this mode: where nothing is enforced, `instead` happens.
    fn unless_observed<T>(
        &self,
        resource: Resource,
        taken: Result<T, Duration>,
        instead: impl FnOnce() -> T,
    ) -> Result<T, Exhausted> {
        match taken {
            // The host's log is the host's: no mode lets a component fill it.
            Err(_) if !self.is_enforced.load(Ordering::Relaxed) && resource != Resource::Log => Ok(instead()),
            taken => taken.map_err(|retry_after| Exhausted { resource, retry_after }),
        }
    }

    fn bucket(&self, resource: Resource) -> &Bucket {
        &self.buckets[resource as usize]
    }
}

/// Tokens that were set aside for one operation. What it uses is taken from them first; dropped, the rest comes back.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Ledger>,
    since: Instant,
    input: AtomicU64,
    output: AtomicU64,
    meter: Option<Arc<Meter>>,
}

impl Reservation {
    /// The same, which counts for one request as well.
    pub(crate) fn metered(mut self, meter: Option<Arc<Meter>>) -> Reservation {
        self.meter = meter;
        self
    }

    /// One of nothing, for what is not counted in tokens.
    pub(crate) fn empty(ledger: &Arc<Ledger>) -> Reservation {
        Reservation {
            ledger: ledger.clone(),
            since: Instant::now(),
            input: AtomicU64::new(0),
            output: AtomicU64::new(0),
            meter: None,
        }
    }

    /// The book it is in.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Counts what a step of the operation used; false when a quota is used up and the operation should end.
    pub fn charge(&self, input_tokens: u64, output_tokens: u64, device_ns: u64) -> bool {
        if let Some(meter) = &self.meter {
            meter.charge(input_tokens, output_tokens, device_ns);
        }
        let input = self.spend(Resource::InputTokens, &self.input, input_tokens);
        let output = self.spend(Resource::OutputTokens, &self.output, output_tokens);
        let device = self.ledger.charge(Resource::DeviceTime, device_ns);
        input & output & device
    }

    fn spend(&self, resource: Resource, reserved: &AtomicU64, amount: u64) -> bool {
        let bucket = self.ledger.bucket(resource);
        bucket.total.fetch_add(amount, Ordering::Relaxed);
        let before = reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(amount)));
        let left = before.unwrap_or_else(|left| left);
        left >= amount || self.ledger.settle(bucket, amount - left)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let now = Instant::now();
        for (resource, left) in [(Resource::InputTokens, self.input.get_mut()), (Resource::OutputTokens, self.output.get_mut())]
        {
            if *left > 0 {
                self.ledger.bucket(resource).give_back(*left, now.saturating_duration_since(self.since), now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(quota: Quota) -> Arc<Ledger> {
        let ledger = Ledger::default();
        ledger.set(&quota, 100, true);
        Arc::new(ledger)
    }

    #[test]
    fn a_bucket_holds_a_minutes_worth_and_refills_evenly() {
        let (bucket, start) = (Bucket::new(60), Instant::now());
        assert_eq!(bucket.take(60, start), Ok(()));
        let wait = bucket.take(10, start).expect_err("empty");
        assert!((9_900..10_100).contains(&wait.as_millis()), "{wait:?}");
        assert!(bucket.take(10, start + Duration::from_secs(9)).is_err());
        assert_eq!(bucket.take(10, start + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn what_was_taken_too_much_comes_back_and_a_debt_is_waited_for() {
        let (bucket, start) = (Bucket::new(60), Instant::now());
        assert!(bucket.charge(60, start));
        assert!(!bucket.charge(30, start));
        assert!(bucket.take(1, start + Duration::from_secs(30)).is_err());
        bucket.give_back(30, Duration::ZERO, start + Duration::from_secs(30));
        assert_eq!(bucket.take(1, start + Duration::from_secs(31)), Ok(()));
    }

    #[test]
    fn an_amount_larger_than_the_bucket_is_refused_or_a_debt_of_an_empty_one() {
        let (bucket, start) = (Bucket::new(60), Instant::now());
        assert!(bucket.take(61, start).is_err());
        assert_eq!(bucket.take_even_if_larger(600, start), Ok(()));
        assert!(bucket.take(1, start + Duration::from_secs(539)).is_err());
        assert_eq!(bucket.take(1, start + Duration::from_secs(541)), Ok(()));
        let bucket = Bucket::new(60);
        bucket.charge(1, start);
        assert!(bucket.take_even_if_larger(600, start).is_err());
    }

    #[test]
    fn a_quota_of_0_lets_nothing_through() {
        let ledger = ledger(Quota { requests_per_min_max: 0, output_tokens_per_min_max: 0, ..Quota::default() });
        assert!(ledger.take(Resource::Requests, 1).is_err());
        assert_eq!(ledger.reserve(1, 1).expect_err("none").resource, Resource::OutputTokens);
        assert_eq!(ledger.usage().over_quota, 2);
    }

    #[test]
    fn a_reservation_is_spent_first_and_its_rest_comes_back() {
        let quota = Quota { input_tokens_per_min_max: 100, output_tokens_per_min_max: 10, ..Quota::default() };
        let ledger = ledger(quota);
        let reservation = ledger.reserve(90, 64).expect("room");
        assert!(ledger.reserve(20, 0).is_err(), "90 of 100 are set aside");
        assert!(reservation.charge(40, 3, 5));
        drop(reservation);
        let (input, output) = (ledger.usage().input_tokens, ledger.usage().output_tokens);
        assert_eq!((input, output, ledger.usage().device_ns), (40, 3, 5));
        assert!(ledger.reserve(60, 7).is_ok(), "what was not used is there again");
        assert_eq!(ledger.reserve(61, 0).expect_err("more than there is").resource, Resource::InputTokens);
    }

    #[test]
    fn a_generation_that_meets_the_quota_is_told_to_end() {
        let ledger = ledger(Quota { output_tokens_per_min_max: 2, ..Quota::default() });
        let reservation = ledger.reserve(1, 1000).expect("room for two");
        assert!(reservation.charge(1, 1, 0) && reservation.charge(0, 1, 0));
        assert!(!reservation.charge(0, 1, 0));
        assert!(ledger.reserve(1, 1).is_err());
    }

    #[test]
    fn where_nothing_is_enforced_quotas_are_counted_and_refuse_nothing() {
        let ledger = ledger(Quota::default());
        let none = Quota { requests_per_min_max: 0, output_tokens_per_min_max: 0, device_bytes_max: 0, ..Quota::default() };
        ledger.set(&none, 0, false);
        assert!(ledger.take(Resource::Requests, 1).is_ok() && ledger.hold(5));
        assert!(ledger.reserve(1, 5).expect("observed").charge(1, 5, 0));
        assert_eq!((ledger.usage().requests, ledger.usage().output_tokens, ledger.usage().device_bytes), (1, 5, 5));
        assert!(ledger.usage().over_quota >= 2);
    }

    #[test]
    fn device_memory_is_held_up_to_its_limit() {
        let ledger = ledger(Quota { device_bytes_max: 10, ..Quota::default() });
        assert!(ledger.hold(6) && !ledger.hold(5) && ledger.hold(4));
        ledger.release(6);
        assert!(ledger.hold(6));
        assert_eq!(ledger.usage().device_bytes, 10);
    }
}
