//! How long the last requests to each component took, for OPEA's statistics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests of a component that are looked at.
const REQUESTS_MAX: usize = 1024;

/// The last latencies of each component, up to the head of the answer, in seconds.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<BTreeMap<String, VecDeque<f32>>>);

/// What the last requests to a component took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Statistics {
    p50_latency: f32,
    p99_latency: f32,
    average_latency: f32,
}

impl Recent {
    /// Counts a request.
    pub(crate) fn push(&self, component: &str, took: Duration) {
        let mut all = self.lock();
        if !all.contains_key(component) {
            all.insert(component.to_owned(), VecDeque::new());
        }
        let Some(latencies) = all.get_mut(component) else { return };
        if latencies.len() == REQUESTS_MAX {
            latencies.pop_front();
        }
        latencies.push_back(took.as_secs_f32());
    }

    /// The statistics of a component; none if it has answered nothing.
    pub(crate) fn statistics(&self, component: &str) -> Option<Statistics> {
        let mut sorted: Vec<f32> = self.lock().get(component)?.iter().copied().collect();
        sorted.sort_by(f32::total_cmp);
        let quantile = |part: f32| sorted.get((sorted.len() as f32 * part) as usize).or(sorted.last()).copied();
        let average_latency = sorted.iter().sum::<f32>() / sorted.len() as f32;
        Some(Statistics { p50_latency: quantile(0.5)?, p99_latency: quantile(0.99)?, average_latency })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_requests_of_a_component_count() {
        let recent = Recent::default();
        assert_eq!(recent.statistics("chat"), None);
        recent.push("chat", Duration::from_secs(1000));
        for ms in 0..1024 {
            recent.push("chat", Duration::from_millis(ms));
        }
        recent.push("other", Duration::from_secs(7));
        let of_chat = recent.statistics("chat").expect("it has answered");
        assert_eq!((of_chat.p50_latency, of_chat.p99_latency), (0.512, 1.013));
        assert!((of_chat.average_latency - 0.5115).abs() < 1e-4);
        assert_eq!(recent.statistics("other").map(|statistics| statistics.p99_latency), Some(7.0));
    }
}
