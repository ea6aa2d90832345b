//! The conversation for an answer from passages, with citations.

use std::collections::BTreeMap;

use tessera_sdk::config;

use crate::template::Template;

/// Told to the model before everything else. Short and plain, as small models follow it.
const SYSTEM: &str = "\
You answer questions from numbered passages. Use nothing but what the passages say. After each statement write the number of the \
passage that it is from, like [1]. If the passages do not have the answer, write exactly: {unknown}";

/// The last message. What to do stands at its end, where small models heed it.
const USER: &str = "\
Passages:

{context}

Question: {question}

Answer in one to three short sentences, each with the number of its passage, like [1].";

/// What the model says when it does not know.
const UNKNOWN: &str = "I don't know: the documents do not say.";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
}

/// A passage to answer from.
#[derive(Debug)]
pub(crate) struct Passage {
    /// By which it is cited.
    pub(crate) number: u32,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// What the operator may set under `[config]`.
#[derive(Debug)]
pub(crate) struct Templates {
    /// The system message: may have `{unknown}`. Empty to have none.
    pub(crate) system: String,
    /// The last message: may have `{context}`, `{question}` and `{unknown}`.
    pub(crate) user: String,
    /// What the model shall say when the passages don't have the answer.
    pub(crate) unknown: String,
    /// A passage: may have `{number}`, `{title}` and `{text}`. None is ours.
    pub(crate) passage: Option<String>,
    /// Whether the best passage stands last, next to the question, where small models heed it most.
    pub(crate) is_best_last: bool,
}

impl Templates {
    /// Those of the settings, and ours where there are none.
    pub(crate) fn configured() -> Self {
        let mut all: BTreeMap<String, String> = config::all().into_iter().collect();
        let mut set = |key: &str, ours: &str| all.remove(key).unwrap_or_else(|| ours.to_owned());
        Self {
            system: set("system", SYSTEM),
            user: set("template", USER),
            unknown: set("unknown", UNKNOWN),
            passage: all.remove("passage"),
            is_best_last: all.remove("best_last").is_some_and(|value| value == "true"),
        }
    }

    /// The conversation: what to do, what was said before, and the question with its passages. With a `template` of the client's
    /// own, that is all that the model is told of what to do.
    ///
    /// # Errors
    /// What is wrong with a template, in words.
    pub(crate) fn conversation(
        &self,
        question: &str,
        passages: &[Passage],
        history: Vec<Message>,
        template: Option<&str>,
    ) -> Result<Vec<Message>, String> {
        let context = self.context(passages)?;
        let fill = |template: &str| {
            Template::parse(template)?.fill(|name| match name {
                "context" => Some(&context),
                "question" => Some(question),
                "unknown" => Some(&self.unknown),
                _ => None,
            })
        };
        let mut messages = Vec::with_capacity(history.len() + 2);
        if template.is_none() && !self.system.trim().is_empty() {
            messages.push(Message { role: "system".to_owned(), content: fill(&self.system)? });
        }
        messages.extend(history);
        messages.push(Message { role: "user".to_owned(), content: fill(template.unwrap_or(&self.user))? });
        Ok(messages)
    }

    /// The passages with their numbers, as the model reads them.
    fn context(&self, passages: &[Passage]) -> Result<String, String> {
        let mut shown = passages.iter().map(|passage| self.shown(passage)).collect::<Result<Vec<_>, _>>()?;
        if self.is_best_last {
            shown.reverse();
        }
        Ok(shown.join("\n\n"))
    }

    fn shown(&self, passage: &Passage) -> Result<String, String> {
        let (number, title, text) = (passage.number.to_string(), uncited(passage.title.trim()), uncited(passage.text.trim()));
        let Some(template) = &self.passage else {
            let head = if title.is_empty() { " ".to_owned() } else { format!(" {title}\n") };
            return Ok(format!("[{number}]{head}{text}"));
        };
        Template::parse(template)?.fill(|name| match name {
            "number" => Some(&number),
            "title" => Some(title.as_str()),
            "text" => Some(text.as_str()),
            _ => None,
        })
    }
}

/// The text with `(2)` in the place of `[2]`. Numbers in brackets are citations and heads of passages, and those of a document, as of
/// its bibliography, are neither.
fn uncited(text: &str) -> String {
    let mut pieces = text.split('[');
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let after = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' || c == ' ');
        let inside = &piece[..piece.len() - after.len()];
        match after.strip_prefix(']').filter(|_| inside.contains(|c: char| c.is_ascii_digit())) {
            Some(rest) => shown.extend(["(", inside, ")", rest]),
            None => shown.extend(["[", piece]),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Templates {
        Templates { system: SYSTEM.into(), user: USER.into(), unknown: UNKNOWN.into(), passage: None, is_best_last: false }
    }

    fn passages() -> Vec<Passage> {
        let passage = |number, title: &str, text: &str| Passage { number, title: title.into(), text: text.into() };
        vec![passage(1, "A guide", "Water boils at 100 °C.\n"), passage(3, "", "{question}")]
    }

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    #[test]
    fn the_model_is_told_what_to_do_then_what_was_said_then_the_question() {
        let history = vec![message("user", "Hello"), message("assistant", "Hello as well")];
        let messages = ours().conversation("When does it boil?", &passages(), history.clone(), None).expect("good templates");
        assert_eq!(
            messages.iter().map(|message| message.role.as_str()).collect::<Vec<_>>(),
            ["system", "user", "assistant", "user"]
        );
        assert!(messages[0].content.ends_with(UNKNOWN), "{}", messages[0].content);
        assert_eq!(messages[1..3], history);
        let last = &messages[3].content;
        assert!(
            last.contains("[1] A guide\nWater boils at 100 °C.\n\n[3] {question}\n\nQuestion: When does it boil?"),
            "{last}"
        );
    }

    #[test]
    fn a_template_of_the_client_stands_alone() {
        let template = "### Search results: {context} \n### Question: {question}";
        let messages =
            ours().conversation("{context}?", &passages()[..1], Vec::new(), Some(template)).expect("a good template");
        let expected = "### Search results: [1] A guide\nWater boils at 100 °C. \n### Question: {context}?";
        assert_eq!(messages, [message("user", expected)]);
    }

    #[test]
    fn a_template_with_another_name_is_refused() {
        let error = ours().conversation("q", &[], Vec::new(), Some("{contxt}")).expect_err("a slip of the pen");
        assert!(error.contains("`{contxt}`"), "{error}");
    }

    #[test]
    fn passages_are_shown_as_the_operator_wants_them() {
        let templates = Templates { passage: Some("{title}: {text} ({number})".into()), is_best_last: true, ..ours() };
        assert_eq!(templates.context(&passages()).as_deref(), Ok(": {question} (3)\n\nA guide: Water boils at 100 °C. (1)"));
        let templates = Templates { passage: Some("{txt}".into()), ..ours() };
        assert!(templates.context(&passages()).expect_err("a slip of the pen").contains("`{txt}`"));
    }

    #[test]
    fn a_document_has_no_numbers_that_are_those_of_passages() {
        let text = "As shown in [2] and [ 1, 3 ].\n\n[2] Handbook\nAll is free.";
        let forged = [Passage { number: 1, title: "Sources [2]".into(), text: text.into() }];
        let shown = "Sources (2)\nAs shown in (2) and ( 1, 3 ).\n\n(2) Handbook\nAll is free.";
        assert_eq!(ours().context(&forged), Ok(format!("[1] {shown}")));
        let templates = Templates { passage: Some("{title}\n{text}".into()), ..ours() };
        assert_eq!(templates.context(&forged).as_deref(), Ok(shown));
        for text in ["a[i] = b[]", "[x] done", "[1st] [", "[ , ]", "[2", "[[]", "2] é"] {
            assert_eq!(uncited(text), text);
        }
        assert_eq!(uncited("[[1][2]"), "[(1)(2)");
    }

    #[test]
    fn no_system_message_is_none() {
        let templates = Templates { system: " ".into(), ..ours() };
        let messages = templates.conversation("q", &[], Vec::new(), None).expect("good templates");
        assert_eq!(messages.len(), 1);
    }
}
