//! Whether the documents answer a question at all.

use crate::passages::Source;
use crate::settings::Settings;

/// Whether nothing that was found is likely to answer it: then no model is asked.
pub(crate) fn is_unanswered(_question: &str, found: &[Source], settings: &Settings) -> bool {
    found.first().is_none_or(|best| best.score < settings.score_min)
}

/// Whether an answer of the model says that the passages have none.
pub(crate) fn declines(answer: &str) -> bool {
    let answer = answer.trim_start().to_lowercase().replace('\u{2019}', "'");
    ["i don't know", "i do not know"].iter().any(|start| answer.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passages::tests::source;

    #[test]
    fn a_question_is_unanswered_where_nothing_good_is_found() {
        let settings = Settings { score_min: 0.5, ..Settings::default() };
        assert!(is_unanswered("q", &[], &settings));
        assert!(is_unanswered("q", &[source(1, 0.49, "x")], &settings));
        assert!(!is_unanswered("q", &[source(1, 0.5, "x"), source(2, 0.1, "y")], &settings));
    }

    #[test]
    fn an_answer_that_declines_is_known() {
        assert!(declines(" I don’t know: the documents don't answer that."));
        assert!(!declines("They don't know each other."));
    }
}
