//! How orders are put together, and how one is chosen from.

use std::collections::HashMap;

/// How much the first ranks count more than the later ones (Cormack, Clarke and Büttcher, 2009).
const K: f32 = 60.0;

/// Reciprocal rank fusion: each is worth the sum of `1 / (60 + rank)` over the orders that have it, ranks from 1. The best
/// first; those that are worth the same by their ids.
pub(super) fn reciprocal_rank(orders: &[Vec<u64>]) -> Vec<(u64, f32)> {
    let mut worth: HashMap<u64, f32> = HashMap::new();
    for order in orders {
        for (rank, &row) in (1_u16..).zip(order) {
            *worth.entry(row).or_default() += 1.0 / (K + f32::from(rank));
        }
    }
    let mut fused: Vec<_> = worth.into_iter().collect();
    fused.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fused
}

/// Maximal marginal relevance (Carbonell and Goldstein, 1998): chooses so many one after the other, each time the one that is
/// most relevant and least like those chosen before. Gives the places of the chosen and what they were worth.
pub(super) fn marginal_relevance(
    relevances: &[f32],
    weight: f32,
    count: usize,
    similarity: impl Fn(usize, usize) -> f32,
) -> Vec<(usize, f32)> {
    let mut nearest = vec![f32::NEG_INFINITY; relevances.len()];
    let mut left: Vec<usize> = (0..relevances.len()).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let worth = |place: usize| {
            let repeated = if chosen.is_empty() { 0.0 } else { nearest[place] };
            weight * relevances[place] - (1.0 - weight) * repeated
        };
        let best = (0..left.len()).reduce(|best, at| if worth(left[at]) > worth(left[best]) { at } else { best });
        let Some(best) = best else { break };
        let score = worth(left[best]);
        let place = left.remove(best);
        chosen.push((place, score));
        left.iter().for_each(|&other| nearest[other] = nearest[other].max(similarity(place, other)));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_orders_have_is_before_what_one_has_first() {
        let fused = reciprocal_rank(&[vec![1, 2, 3], vec![4, 2, 5]]);
        assert_eq!(fused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 1, 4, 3, 5]);
        assert!((fused[0].1 - 2.0 / 62.0).abs() < 1e-6);
        assert!((fused[1].1 - 1.0 / 61.0).abs() < 1e-6);
    }

    #[test]
    fn a_twin_of_what_was_chosen_comes_after_what_is_less_relevant_but_different() {
        let alike = [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let order = |weight| -> Vec<usize> {
            let chosen = marginal_relevance(&[0.9, 0.8, 0.5], weight, 3, |a, b| alike[a][b]);
            chosen.into_iter().map(|(place, _)| place).collect()
        };
        assert_eq!(order(0.5), [0, 2, 1]);
        assert_eq!(order(1.0), [0, 1, 2]);
    }
}
