//! Makes prompts: `POST /v1/prompt_template` as OPEA has it, and `rag:prompt/prompt` for other components.

mod answer;
mod bindings;
mod opea;
mod template;

use tessera_sdk::{Error, Request, Response, Router, service};

use crate::answer::Templates;
use crate::bindings::exports::rag::prompt::prompt as wit;
use crate::opea::PromptTemplateInput;
use crate::template::Template;

service!(router);

fn router() -> Router {
    Router::new().post("/v1/prompt_template", prompt_template)
}

async fn prompt_template(mut request: Request) -> Result<Response, Error> {
    PromptTemplateInput::parse(&request.bytes().await?)?.into_reply()
}

/// The component.
#[derive(Debug)]
struct PromptTemplate;

impl wit::Guest for PromptTemplate {
    fn fill(template: String, texts: Vec<(String, String)>) -> Result<String, String> {
        let text_of = |name: &str| texts.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
        Template::parse(&template)?.fill(text_of)
    }

    async fn answer(task: wit::Task) -> Result<Vec<wit::Message>, String> {
        let passages: Vec<answer::Passage> = task.passages.into_iter().map(answer::Passage::from).collect();
        let history = task.history.into_iter().map(answer::Message::from).collect();
        let messages = Templates::configured().conversation(&task.question, &passages, history, task.template.as_deref())?;
        Ok(messages.into_iter().map(wit::Message::from).collect())
    }
}

impl From<wit::Passage> for answer::Passage {
    fn from(passage: wit::Passage) -> Self {
        let wit::Passage { number, title, text } = passage;
        Self { number, title, text }
    }
}

impl From<wit::Message> for answer::Message {
    fn from(message: wit::Message) -> Self {
        Self { role: message.role, content: message.content }
    }
}

impl From<answer::Message> for wit::Message {
    fn from(message: answer::Message) -> Self {
        Self { role: message.role, content: message.content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::rag::prompt::prompt::Guest;

    #[test]
    fn other_components_fill_templates() {
        let texts = vec![("a".to_owned(), "{b}".to_owned()), ("b".to_owned(), "x".to_owned())];
        assert_eq!(PromptTemplate::fill("{a} {b}".into(), texts).as_deref(), Ok("{b} x"));
        assert!(PromptTemplate::fill("{c}".into(), Vec::new()).expect_err("no such text").contains("`{c}`"));
    }
}
