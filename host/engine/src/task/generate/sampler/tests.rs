use proptest::prelude::*;

use super::*;

const DRAWS: usize = 20_000;

fn seeded(sampling: Sampling) -> Sampling {
    Sampling { seed: Some(7), ..sampling }
}

/// How often each token is drawn as the first of an answer.
fn frequencies(sampling: &Sampling, prompt: &[u32], logits: &[f32]) -> Vec<f64> {
    let mut frequencies = vec![0.0; logits.len()];
    let mut sampler = Sampler::new(seeded(sampling.clone()), prompt);
    let counts = sampler.counts.clone();
    for _ in 0..DRAWS {
        frequencies[sampler.next(logits) as usize] += 1.0 / DRAWS as f64;
        sampler.counts.clone_from(&counts);
    }
    frequencies
}

fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let best = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(logit - best) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// The probabilities of some tokens, which then sum to 1; of the others none.
fn only(probabilities: &[f64], kept: &[usize]) -> Vec<f64> {
    let total: f64 = kept.iter().map(|&id| probabilities[id]).sum();
    (0..probabilities.len()).map(|id| if kept.contains(&id) { probabilities[id] / total } else { 0.0 }).collect()
}

/// The ids with a sort's key rising, of equal keys the lower id first.
fn sorted(ids: impl Iterator<Item = usize>, key: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ids: Vec<usize> = ids.collect();
    ids.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
    ids
}

/// The first that have the mass, one at least.
fn reaching(ids: &[usize], probabilities: &[f64], mass: f64) -> Vec<usize> {
    let total: f64 = ids.iter().map(|&id| probabilities[id]).sum();
    let mut sum = 0.0;
    let missing = ids.iter().take_while(|&&id| {
        let is_missing = sum < mass * total;
        sum += probabilities[id];
        is_missing
    });
    ids[..missing.count().max(1)].to_vec()
}

#[track_caller]
fn assert_near(frequencies: &[f64], probabilities: &[f64]) {
    for (id, (&frequency, &probability)) in frequencies.iter().zip(probabilities).enumerate() {
        // Six standard deviations of a binomial distribution.
        let tolerance = 6.0 * (probability * (1.0 - probability) / DRAWS as f64).sqrt();
        assert!((frequency - probability).abs() <= tolerance, "token {id}: {frequency}, not {probability}");
    }
}

/// The tokens that are left after steps 5 to 8, by sorting everything.
fn reference(sampling: &Sampling, logits: &[f32]) -> Vec<usize> {
    let probabilities = softmax(logits, f64::from(sampling.temperature));
    let unlikely = |id: usize| -f64::from(logits[id]);
    let mut kept = sorted(0..logits.len(), unlikely);
    kept.truncate(sampling.top_k.unwrap_or(logits.len()));
    let among = only(&probabilities, &kept);
    if sampling.typical_p < 1.0 {
        let surprise = |id: usize| -among[id].ln();
        let entropy: f64 = kept.iter().map(|&id| among[id] * surprise(id)).sum();
        kept.sort_unstable();
        kept = sorted(kept.into_iter(), |id| (surprise(id) - entropy).abs());
        kept = reaching(&kept, &probabilities, f64::from(sampling.typical_p));
    }
    if sampling.top_p < 1.0 {
        kept.sort_unstable();
        kept = reaching(&sorted(kept.into_iter(), unlikely), &probabilities, f64::from(sampling.top_p));
    }
    let most = kept.iter().map(|&id| probabilities[id]).fold(0.0, f64::max);
    kept.retain(|&id| probabilities[id] >= f64::from(sampling.min_p) * most);
    kept.sort_unstable();
    kept
}

/// The tokens that can be drawn.
fn kept(sampling: &Sampling, logits: &[f32]) -> Vec<usize> {
    let mut sampler = Sampler::new(seeded(sampling.clone()), &[]);
    sampler.next(logits);
    let mut ids: Vec<usize> = sampler.candidates.iter().map(|candidate| candidate.id as usize).collect();
    ids.sort_unstable();
    ids
}

fn distinct_logits() -> impl Strategy<Value = Vec<f32>> {
    // Steps of 1/64 keep masses away from each other's rounding. None is so much less likely than another, at the temperatures
    // of `samplings`, that it is no candidate at all: see `EXPONENT_MIN`.
    prop::collection::hash_set(-400i16..400, 1..300).prop_map(|set| set.into_iter().map(|n| f32::from(n) / 64.0).collect())
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let part = || prop_oneof![Just(1.0f32), 0.0f32..1.0];
    (0.35f32..3.0, prop::option::of(1usize..200), part(), part(), prop_oneof![Just(0.0f32), 0.0f32..1.0]).prop_map(
        |(temperature, top_k, top_p, typical_p, min_p)| Sampling {
            temperature,
            top_k,
            top_p,
            typical_p,
            min_p,
            ..Sampling::default()
        },
    )
}

proptest! {
    #[test]
    fn each_step_keeps_what_sorting_everything_keeps(logits in distinct_logits(), sampling in samplings()) {
        prop_assert_eq!(kept(&sampling, &logits), reference(&sampling, &logits));
    }

    #[test]
    fn whatever_the_logits_a_token_of_the_vocabulary_is_drawn(
        logits in prop::collection::vec(any::<f32>(), 1..40),
        sampling in samplings(),
        penalty in 0.1f32..4.0,
        greedy in any::<bool>(),
    ) {
        let temperature = if greedy { 0.0 } else { sampling.temperature };
        let sampling = Sampling { temperature, repetition_penalty: penalty, presence_penalty: 1.0, ..seeded(sampling) };
        let mut sampler = Sampler::new(sampling, &[0, 1, 1000]);
        for _ in 0..5 {
            let id = sampler.next(&logits) as usize;
            prop_assert!(id < logits.len());
            prop_assert!(!logits[id].is_nan() || logits.iter().all(|logit| logit.is_nan() || *logit == f32::NEG_INFINITY));
        }
        let (_, top) = logprobs(&logits, 0, 5);
        prop_assert!(top.iter().all(|(_, logprob)| !logprob.is_nan() && *logprob <= 0.0));
    }

    #[test]
    fn our_exponential_is_the_systems(x in -700.0f64..=0.0) {
        prop_assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13);
    }
}

#[test]
fn draws_follow_the_softmax_at_a_temperature() {
    let logits = [1.0, 3.0, -2.0, 0.5, 2.5, f32::NEG_INFINITY, f32::NAN, 2.5];
    for temperature in [0.5, 1.0, 2.0] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        let numbers: Vec<f32> = logits.iter().map(|logit| if logit.is_nan() { f32::NEG_INFINITY } else { *logit }).collect();
        assert_near(&frequencies(&sampling, &[], &logits), &softmax(&numbers, f64::from(temperature)));
    }
}

#[test]
fn draws_within_a_nucleus_follow_the_softmax_over_it() {
    let logits = [1.0, 3.0, -2.0, 0.5, 2.5, 2.0];
    let sampling = Sampling { top_p: 0.8, ..Sampling::default() };
    assert_near(&frequencies(&sampling, &[], &logits), &only(&softmax(&logits, 1.0), &[1, 4, 5]));
}

#[test]
fn penalties_and_bias_change_logits_as_their_sources_say() {
    let logits = [2.0, -1.0, 1.5, 0.0];
    let sampling = Sampling {
        repetition_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        logit_bias: vec![(3, 1.0), (2, -0.5)],
        ..Sampling::default()
    };
    let mut sampler = Sampler::new(seeded(sampling), &[0, 1]);
    sampler.counts.insert(2, 3); // said three times
    let mut adjusted = Vec::new();
    sampler.adjust(&logits, &mut adjusted);
    assert_eq!(adjusted, [1.0, -2.0, 0.75 - 1.75 - 0.5, 1.0]);
}

#[test]
fn what_is_drawn_counts_as_said() {
    let sampling = Sampling { temperature: 0.0, presence_penalty: 1.0, ..Sampling::default() };
    let mut sampler = Sampler::new(sampling, &[0]);
    let ids: Vec<u32> = (0..4).map(|_| sampler.next(&[2.0, 1.5, 1.4])).collect();
    assert_eq!(ids, [0, 1, 2, 0]);
}

#[test]
fn without_temperature_the_lowest_of_the_best_is_taken() {
    let mut sampler = Sampler::new(Sampling { temperature: 0.0, ..Sampling::default() }, &[]);
    assert_eq!(sampler.next(&[f32::NAN, -0.0, 0.0, -1.0]), 1);
    assert_eq!(sampler.next(&[1.0, f32::INFINITY, f32::INFINITY]), 1);
    assert_eq!(sampler.next(&[f32::NAN, f32::NEG_INFINITY]), 0);
    assert_eq!(sampler.next(&[]), 0);
}

#[test]
fn of_infinite_logits_all_are_drawn_and_nothing_else() {
    let logits = [f32::INFINITY, 5.0, f32::INFINITY, f32::NAN];
    assert_near(&frequencies(&Sampling::default(), &[], &logits), &[0.5, 0.0, 0.5, 0.0]);
}

#[test]
fn a_seed_gives_the_same_tokens_everywhere() {
    let logits: Vec<f32> = (0..1000u16).map(|id| f32::from(id * 37 % 1000) / 250.0).collect();
    let sampling = Sampling { typical_p: 0.9, top_p: 0.9, ..seeded(Sampling::default()) };
    let mut sampler = Sampler::new(sampling.clone(), &[]);
    let ids: Vec<u32> = (0..8).map(|_| sampler.next(&logits)).collect();
    assert_eq!(ids, [918, 972, 562, 832, 401, 295, 486, 614]);
    let mut other = Sampler::new(Sampling { seed: Some(8), ..sampling }, &[]);
    assert_ne!((0..8).map(|_| other.next(&logits)).collect::<Vec<u32>>(), ids);
}

#[test]
fn without_a_seed_draws_differ() {
    let draws = || {
        let mut sampler = Sampler::new(Sampling::default(), &[]);
        (0..64).map(|_| sampler.next(&[0.0; 1024])).collect::<Vec<u32>>()
    };
    assert_ne!(draws(), draws());
}

#[test]
fn fields_out_of_range_are_named_with_their_range() {
    let base = Sampling::default;
    let bad = [
        (Sampling { temperature: -0.5, ..base() }, "`temperature` is -0.5: it goes 0 or more"),
        (Sampling { top_p: 1.5, ..base() }, "`top_p` is 1.5: it goes from 0 to 1"),
        (Sampling { min_p: f32::NAN, ..base() }, "`min_p` is NaN: it goes from 0 to 1"),
        (Sampling { typical_p: -1.0, ..base() }, "`typical_p` is -1: it goes from 0 to 1"),
        (Sampling { repetition_penalty: 0.0, ..base() }, "`repetition_penalty` is 0: it goes more than 0"),
        (Sampling { frequency_penalty: 3.0, ..base() }, "`frequency_penalty` is 3: it goes from -2 to 2"),
        (Sampling { presence_penalty: f32::INFINITY, ..base() }, "`presence_penalty` is inf: it goes from -2 to 2"),
        (Sampling { top_k: Some(0), ..base() }, "`top_k` is 0: it is 1 or more, or left out"),
        (Sampling { logit_bias: vec![(10, 0.0)], ..base() }, "`logit_bias` has token 10: the model's tokens go from 0 to 9"),
        (Sampling { logit_bias: vec![(9, 101.0)], ..base() }, "`logit_bias` of token 9 is 101: it goes from -100 to 100"),
    ];
    for (sampling, words) in bad {
        assert_eq!(sampling.check(10), Err(words.into()));
    }
    assert_eq!(Sampling { logit_bias: vec![(9, -100.0)], top_k: Some(1), ..base() }.check(10), Ok(()));
}

#[test]
fn logprobs_are_the_softmaxs_logarithms_best_first() {
    let logits = [1.0, 3.0, f32::NAN, 3.0, -80.0];
    let (chosen, top) = logprobs(&logits, 0, 4);
    let expected: Vec<f32> = softmax(&[1.0, 3.0, 3.0, -80.0], 1.0).iter().map(|p| p.ln() as f32).collect();
    assert!((chosen - expected[0]).abs() < 1e-6);
    let ids: Vec<u32> = top.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 3, 0, 4]);
    for ((_, ours), theirs) in top.iter().zip([expected[1], expected[2], expected[0], expected[3]]) {
        assert!((ours - theirs).abs() < 1e-5, "{ours}, {theirs}");
    }
    assert_eq!(logprobs(&logits, 2, 0), (f32::NEG_INFINITY, vec![]));
    assert_eq!(logprobs(&[], 2, 3), (f32::NEG_INFINITY, vec![]));
}
