//! Which token comes next: a draw from what the model finds likely.
//!
//! Steps are taken in this order, each on what the ones before have left; a step that is off does nothing.
//!
//! 1. Repetition penalty over the tokens of prompt and answer: a positive logit is divided by it, a negative one multiplied
//!    (Keskar et al., 2019, arXiv:1909.05858, section 4.1; the sign's case as transformers' `RepetitionPenaltyLogitsProcessor`).
//! 2. Frequency and presence penalty over the tokens of the answer: `logit - count * frequency - presence` (OpenAI's API
//!    reference, "Frequency and presence penalties").
//! 3. Logit bias: added (the same reference, `logit_bias`).
//! 4. Temperature: logits are divided by it. At 0 the most likely token is taken, of equal ones the one of lowest id.
//! 5. Top-k: the `k` most likely (Fan et al., 2018, arXiv:1805.04833).
//! 6. Typical: the smallest set that has the mass, of tokens whose surprise is nearest to the expected one (Meister et al.,
//!    2022, arXiv:2202.00666).
//! 7. Top-p: the smallest set of most likely tokens that has the mass (Holtzman et al., 2019, arXiv:1904.09751).
//! 8. Min-p: those at least so likely as this part of the most likely one (Nguyen et al., 2024, arXiv:2407.01082).
//!
//! The same seed, prompt and logits give the same tokens on every machine: ChaCha's bits, arithmetic that IEEE 754 fixes,
//! no function of the system's mathematics library.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// How tokens are drawn. The default draws from the model's own distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 always takes the most likely token; more than 1 flattens the distribution, less sharpens it.
    pub temperature: f32,
    /// At most so many candidates.
    pub top_k: Option<usize>,
    /// Candidates with this much of the mass, 0 to 1; 1 is off.
    pub top_p: f32,
    /// Candidates at least this likely relative to the best, 0 to 1; 0 is off.
    pub min_p: f32,
    /// Candidates of typical surprise with this much of the mass, 0 to 1; 1 is off.
    pub typical_p: f32,
    /// More than 1 makes tokens of prompt and answer less likely, less than 1 more likely; 1 is off.
    pub repetition_penalty: f32,
    /// Taken from a token's logit for each time it is in the answer, -2 to 2; 0 is off.
    pub frequency_penalty: f32,
    /// Taken from a token's logit when it is in the answer, -2 to 2; 0 is off.
    pub presence_penalty: f32,
    /// Added to the logits of tokens, -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// Makes draws repeatable; without one they differ each time.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl Sampling {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is out of its range, and the range.
    pub(crate) fn check(&self, vocabulary: usize) -> Result<(), String> {
        let positive = f32::MIN_POSITIVE..=f32::MAX;
        let ranges = [
            ("temperature", self.temperature, 0.0..=f32::MAX, "0 or more"),
            ("top_p", self.top_p, 0.0..=1.0, "from 0 to 1"),
            ("min_p", self.min_p, 0.0..=1.0, "from 0 to 1"),
            ("typical_p", self.typical_p, 0.0..=1.0, "from 0 to 1"),
            ("repetition_penalty", self.repetition_penalty, positive, "more than 0"),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0, "from -2 to 2"),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0, "from -2 to 2"),
        ];
        for (field, value, range, words) in ranges {
            if !range.contains(&value) {
                return Err(format!("`{field}` is {value}: it goes {words}"));
            }
        }
        if self.top_k == Some(0) {
            return Err("`top_k` is 0: it is 1 or more, or left out".into());
        }
        for (id, bias) in &self.logit_bias {
            if usize::try_from(*id).is_ok_and(|id| id >= vocabulary) {
                return Err(format!(
                    "`logit_bias` has token {id}: the model's tokens go from 0 to {}",
                    vocabulary.saturating_sub(1)
                ));
            }
            if !(-100.0..=100.0).contains(bias) {
                return Err(format!("`logit_bias` of token {id} is {bias}: it goes from -100 to 100"));
            }
        }
        Ok(())
    }
}

/// Draws the tokens of one answer.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// How often each token of prompt and answer is in the answer.
    counts: HashMap<u32, u32>,
    adjusted: Vec<f32>,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for the answer to a prompt.
    pub(crate) fn new(sampling: Sampling, prompt: &[u32]) -> Sampler {
        // The keys of a hash map come from the system's randomness.
        let seed = sampling.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let counts = prompt.iter().map(|&id| (id, 0)).collect();
        let random = ChaCha8Rng::seed_from_u64(seed);
        Sampler { sampling, random, counts, adjusted: Vec::new(), candidates: Vec::new() }
    }

    /// The next token, which counts as said. A logit that is no number is never drawn; where there is nothing else, token 0
    /// is.
    ///
    /// # Shapes
    /// `[vocabulary]`
    pub(crate) fn next(&mut self, logits: &[f32]) -> u32 {
        let id = if self.is_adjusting() {
            let mut adjusted = std::mem::take(&mut self.adjusted);
            self.adjust(logits, &mut adjusted);
            let id = self.choose(&adjusted);
            self.adjusted = adjusted;
            id
        } else {
            self.choose(logits)
        };
        let count = self.counts.entry(id).or_insert(0);
        *count = count.saturating_add(1);
        id
    }

    fn is_adjusting(&self) -> bool {
        let Sampling { repetition_penalty, frequency_penalty, presence_penalty, logit_bias, .. } = &self.sampling;
        *repetition_penalty != 1.0 || *frequency_penalty != 0.0 || *presence_penalty != 0.0 || !logit_bias.is_empty()
    }

    /// Steps 1 to 3.
    fn adjust(&self, logits: &[f32], adjusted: &mut Vec<f32>) {
        let Sampling { repetition_penalty, frequency_penalty, presence_penalty, logit_bias, .. } = &self.sampling;
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        for (&id, &count) in &self.counts {
            let Some(logit) = at(adjusted, id) else { continue };
            *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
            if count > 0 {
                *logit -= count as f32 * frequency_penalty + presence_penalty;
            }
        }
        for &(id, bias) in logit_bias {
            if let Some(logit) = at(adjusted, id) {
                *logit += bias;
            }
        }
    }

    /// Steps 4 to 8, and the draw.
    fn choose(&mut self, logits: &[f32]) -> u32 {
        let best = most_likely(logits);
        let Sampling { temperature, top_k, top_p, min_p, typical_p, .. } = self.sampling;
        if temperature == 0.0 {
            return best;
        }
        let candidates = &mut self.candidates;
        gather(logits, best, temperature, candidates);
        if let Some(k) = top_k {
            keep_first(candidates, k, by_weight);
        }
        for candidate in candidates.iter_mut() {
            candidate.weight = exp(candidate.exponent);
        }
        if typical_p < 1.0 {
            let surprise = expected_exponent(candidates);
            let distance = |candidate: &Candidate| (candidate.exponent - surprise).abs();
            let by_distance = |a: &Candidate, b: &Candidate| distance(a).total_cmp(&distance(b)).then(a.id.cmp(&b.id));
            keep_mass(candidates, typical_p, by_distance);
        }
        if top_p < 1.0 {
            keep_mass(candidates, top_p, by_weight);
        }
        if min_p > 0.0 {
            let least = f64::from(min_p) * candidates.iter().map(|candidate| candidate.weight).fold(0.0, f64::max);
            candidates.retain(|candidate| candidate.weight >= least);
        }
        draw(candidates, uniform(&mut self.random)).unwrap_or(best)
    }
}

fn at(logits: &mut [f32], id: u32) -> Option<&mut f32> {
    logits.get_mut(usize::try_from(id).ok()?)
}

/// The token of the highest logit, of equal ones the first; 0 where there is none.
pub(crate) fn most_likely(logits: &[f32]) -> u32 {
    let (mut best, mut best_logit) = (0, f32::NEG_INFINITY);
    for (id, &logit) in (0..).zip(logits) {
        // False for what is no number.
        if logit > best_logit {
            (best, best_logit) = (id, logit);
        }
    }
    best
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    /// Logarithm of the weight: how far the logit over the temperature is below that of the best.
    exponent: f64,
    /// The probability, but for a factor that all share.
    weight: f64,
}

/// A token whose weight is less than e^-40 of the best one's is no candidate: a draw of 53 bits can't tell it from nothing,
/// and most tokens of a large vocabulary are such.
const EXPONENT_MIN: f64 = -40.0;

/// The candidates in the order of their ids, still without weights.
fn gather(logits: &[f32], best: u32, temperature: f32, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    let best = usize::try_from(best).ok().and_then(|best| logits.get(best));
    let best = best.map_or(f64::NEG_INFINITY, |&best| bounded(best));
    let least = best + EXPONENT_MIN * f64::from(temperature);
    let sharpness = 1.0 / f64::from(temperature);
    for (id, &logit) in (0..).zip(logits) {
        let logit = bounded(logit);
        if logit >= least && logit.is_finite() {
            candidates.push(Candidate { id, exponent: (logit - best) * sharpness, weight: 0.0 });
        }
    }
}

/// A logit of which differences are numbers: an infinite one is as good as the largest, and what is no number is minus
/// infinity.
fn bounded(logit: f32) -> f64 {
    if logit.is_nan() { f64::NEG_INFINITY } else { f64::from(logit.min(f32::MAX)) }
}

fn by_weight(a: &Candidate, b: &Candidate) -> Ordering {
    descending(a.exponent, b.exponent).then(a.id.cmp(&b.id))
}

/// Numbers only, of which -0 and 0 are equal.
fn descending<N: PartialOrd>(a: N, b: N) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// Keeps the first `count` in an order, and sorts them by it.
fn keep_first<T>(items: &mut Vec<T>, count: usize, order: impl Fn(&T, &T) -> Ordering + Copy) {
    if count < items.len() {
        items.select_nth_unstable_by(count, order);
        items.truncate(count);
    }
    items.sort_unstable_by(order);
}

/// Keeps the first in an order, as many as reach a part of the mass and one at least, and sorts them by it.
fn keep_mass(candidates: &mut Vec<Candidate>, part: f32, order: impl Fn(&Candidate, &Candidate) -> Ordering + Copy) {
    let wanted = f64::from(part) * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    let (mut mass, mut sorted, mut step) = (0.0, 0, 64);
    // Mostly a few have the mass: sort so many as are needed, not all.
    while sorted < candidates.len() {
        let rest = &mut candidates[sorted..];
        if step < rest.len() {
            rest.select_nth_unstable_by(step, order);
        }
        let block = step.min(rest.len());
        rest[..block].sort_unstable_by(order);
        for candidate in &rest[..block] {
            mass += candidate.weight;
            sorted += 1;
            if mass >= wanted {
                candidates.truncate(sorted);
                return;
            }
        }
        step *= 4;
    }
}

/// The mean of the exponents by weight. A token's surprise is a constant minus its exponent, and the expected surprise, the
/// entropy, is the same constant minus this, so distances between surprises are distances between these.
fn expected_exponent(candidates: &[Candidate]) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for candidate in candidates {
        sum += candidate.weight * candidate.exponent;
        total += candidate.weight;
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

/// The candidate at a part of the mass, 0 to 1.
fn draw(candidates: &[Candidate], part: f64) -> Option<u32> {
    let mut left = part * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    for candidate in candidates {
        left -= candidate.weight;
        if left < 0.0 {
            return Some(candidate.id);
        }
    }
    candidates.last().map(|candidate| candidate.id)
}

/// From 0 to 1, 1 not included.
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// e^x for x from -700 to 0, to 1e-13 of it and the same on every machine: x is taken to `n ln 2 + r` with a small `r`, whose
/// power is a Taylor sum (Muller, "Elementary Functions", chapter on range reduction).
fn exp(x: f64) -> f64 {
    // The first has 21 low bits of zero, so that its multiples are exact.
    const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let n = (x * std::f64::consts::LOG2_E).round_ties_even();
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let sum = INVERSE_FACTORIALS.iter().rev().fold(0.0, |sum, term| sum * r + term);
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// The terms of the exponential's Taylor sum: 1 / n! from n = 0 on.
const INVERSE_FACTORIALS: [f64; 12] = {
    let mut terms = [1.0; 12];
    let mut n = 1;
    while n < terms.len() {
        terms[n] = terms[n - 1] / n as f64;
        n += 1;
    }
    terms
};

/// The natural logarithms of the probabilities of the chosen token and of the `top` most likely ones, by softmax over the raw
/// logits, most likely first. A logit that is no number counts as minus infinity.
///
/// # Shapes
/// `[vocabulary]`
pub(crate) fn logprobs(logits: &[f32], chosen: u32, top: usize) -> (f32, Vec<(u32, f32)>) {
    let best = bounded(logits.iter().copied().fold(f32::MIN, f32::max));
    let exponents = logits.iter().map(|&logit| bounded(logit) - best);
    let total = exponents.filter(|&exponent| exponent >= EXPONENT_MIN).map(exp).sum::<f64>().ln();
    let logprob = |logit: f32| (bounded(logit) - best - total) as f32;

    let chosen = usize::try_from(chosen).ok().and_then(|chosen| logits.get(chosen));
    let chosen = chosen.map_or(f32::NEG_INFINITY, |&logit| logprob(logit));
    let mut tops: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).filter(|(_, logit)| !logit.is_nan()).collect();
    keep_first(&mut tops, top, |a, b| descending(a.1, b.1).then(a.0.cmp(&b.0)));
    (chosen, tops.into_iter().map(|(id, logit)| (id, logprob(logit))).collect())
}

#[cfg(test)]
mod tests;
