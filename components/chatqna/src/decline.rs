//! Whether the documents answer a question at all.

use crate::settings::Settings;

/// Passages whose scores the best one is held against.
pub(crate) const RIVALS: u32 = 20;

/// Passages below which there are too few to tell what is usual.
const RIVALS_MIN: usize = 10;

/// Whether nothing that was found is likely to answer a question, by the scores of what was found: then no model is asked.
///
/// The best has to have a score that is high, and that stands out: a question with words of all documents in it, as the name of
/// the company whose they are, is near to every passage, and only the one that answers it is nearer than the others.
pub(crate) fn is_unanswered(scores: &[f32], settings: &Settings) -> bool {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let Some(&best) = sorted.first() else { return true };
    let median = sorted[sorted.len() / 2];
    let stands_out = sorted.len() < RIVALS_MIN || best - median >= settings.score_gap_min;
    best < settings.score_min || !stands_out
}

/// Whether an answer of the model says that the passages have none: in English, or as the settings do.
pub(crate) fn declines(answer: &str, decline: &str) -> bool {
    let plain = |text: &str| text.trim().to_lowercase().replace('\u{2019}', "'");
    let (answer, decline) = (plain(answer), plain(decline));
    let starts = [decline.trim_end_matches(['.', '!']), "i don't know", "i do not know"];
    starts.into_iter().any(|start| !start.is_empty() && answer.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_unanswered_where_nothing_good_is_found() {
        let settings = Settings { score_min: 0.5, ..Settings::default() };
        assert!(is_unanswered(&[], &settings));
        assert!(is_unanswered(&[0.49], &settings));
        assert!(!is_unanswered(&[0.5, 0.1], &settings));
    }

    #[test]
    fn what_is_near_to_everything_is_not_answered_by_anything() {
        let settings = Settings { score_min: 0.5, score_gap_min: 0.17, ..Settings::default() };
        let with_rivals = |rival: f32| [[0.7].as_slice(), &[rival; 19]].concat();
        assert!(is_unanswered(&with_rivals(0.6), &settings));
        assert!(!is_unanswered(&with_rivals(0.5), &settings));
        assert!(!is_unanswered(&[0.7; 9], &settings), "there are too few to tell");
    }

    #[test]
    fn an_answer_that_declines_is_known() {
        assert!(declines(" I don’t know: the documents don't answer that.", ""));
        assert!(!declines("They don't know each other.", "."));
    }

    #[test]
    fn an_answer_that_declines_as_it_was_told_to_is_known() {
        assert!(declines("das steht nicht in den Dokumenten [1].", "Das steht nicht in den Dokumenten."));
        assert!(declines("Je l'ignore", "Je l’ignore."));
        assert!(!declines("Das steht auf Seite 2.", "Das steht nicht in den Dokumenten."));
    }
}
