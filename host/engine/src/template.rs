//! Chat templates: the text that a model was trained to see for a conversation.
//!
//! A template is a Jinja program that comes with the model's files. Here it means what transformers' `apply_chat_template`
//! means by it (5.23, `utils/chat_template_utils.py`): the same whitespace rules, the same functions and filters, Python's
//! spelling of values. Templates are other people's programs: what one may do is bounded by [`FUEL`] and
//! [`PROMPT_BYTES_MAX`], and it can reach nothing but its arguments.

mod files;
mod generation;
mod json;
mod python;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

/// One thing said in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it: mostly `system`, `user` or `assistant`; a template knows which there are.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// A file of the model can't be read or is damaged.
    #[error("{file} has no good chat template: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What went wrong.
        reason: String,
    },
    /// The template is not Jinja, or uses something of it that is not there.
    #[error("the model's chat template is not good: {0}")]
    Malformed(String),
    /// The template itself objects to the messages.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
    /// The template went wrong with these messages.
    #[error("the model's chat template fails with these messages: {0}")]
    Failed(String),
    /// The template takes too long or makes too much text.
    #[error("the model's chat template takes too much time or makes too long a prompt of these messages")]
    Exhausted,
}

/// What comes after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompting {
    /// The words that make the model speak next, as in `<|im_start|>assistant`.
    Reply,
    /// Nothing.
    Nothing,
}

/// The texts of special tokens by the names that templates know them by, such as `bos_token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpecialTexts(pub(crate) BTreeMap<String, String>);

/// Steps of a rendering; a step also pays for 64 bytes read or made, so this bounds time (to a second) and memory. Most
/// templates take less for a conversation of 4000 messages and 4 MB. One thing minijinja 3.1 makes without pay: a list that
/// has been added to itself more than 32 times over. Templates are as trusted as the model they come with, not more.
const FUEL: u64 = 2 << 20;

/// The longest prompt; some two million tokens.
const PROMPT_BYTES_MAX: usize = 8 << 20;

/// The longest template. The longest known has 17 kB.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// Depth of loops, conditions and, ten times over, macro calls.
const RECURSION_MAX: usize = 200;

/// Stack of the thread that a template runs on. Lists in lists are compared and dropped by recursion, and [`FUEL`] is enough
/// to put a million into each other: that takes half of this. Memory is taken only as far as the stack grows.
const STACK_BYTES: usize = 512 << 20;

const NAME: &str = "chat template";

/// A model's chat template, compiled.
#[derive(Debug)]
pub(crate) struct ChatTemplate(Environment<'static>);

impl ChatTemplate {
    /// Compiles a template's source.
    ///
    /// # Errors
    /// When it is not a template.
    pub(crate) fn new(source: &str, tokens: SpecialTexts) -> Result<ChatTemplate, TemplateError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(TemplateError::Malformed(format!("it has {} bytes, {SOURCE_BYTES_MAX} at most", source.len())));
        }
        let mut environment = environment();
        for (name, text) in tokens.0 {
            environment.add_global(name, text);
        }
        let source = generation::without_tags(source).into_owned();
        environment.add_template_owned(NAME, source).map_err(|error| TemplateError::Malformed(error.to_string()))?;
        Ok(ChatTemplate(environment))
    }

    /// The template in a model's folder: `chat_template.jinja`, or the one in `tokenizer_config.json`.
    ///
    /// # Errors
    /// When one of the files is damaged, or what it has is not a template.
    pub(crate) fn read(folder: &Path) -> Result<Option<ChatTemplate>, TemplateError> {
        let Some((source, tokens)) = files::read(folder)? else { return Ok(None) };
        ChatTemplate::new(&source, tokens).map(Some)
    }

    /// The prompt of a conversation. Templates that write a date take it from `now`, in UTC (transformers: in local time).
    ///
    /// # Errors
    /// When the template refuses the messages, fails with them or is not done within its bounds.
    pub(crate) fn render(&self, messages: &[Message], prompting: Prompting, now: SystemTime) -> Result<String, TemplateError> {
        let message = |message: &Message| context! { role => message.role.as_str(), content => message.content.as_str() };
        let arguments = context! {
            messages => messages.iter().map(message).collect::<Value>(),
            tools => (),
            documents => (),
            add_generation_prompt => prompting == Prompting::Reply,
            strftime_now => python::clock(now),
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name(NAME.into()).stack_size(STACK_BYTES);
            let thread = thread.spawn_scoped(scope, || self.run(arguments));
            let thread = thread.map_err(|error| TemplateError::Failed(error.to_string()))?;
            thread.join().map_err(|_| TemplateError::Failed("it has run into a mistake of ours".into()))?
        })
    }

    fn run(&self, arguments: Value) -> Result<String, TemplateError> {
        let template = self.0.get_template(NAME).expect("`new` has added it");
        let mut prompt = Prompt::default();
        template.render_captured_to(arguments, &mut prompt).map_err(failure)?;
        String::from_utf8(prompt.0).map_err(|error| TemplateError::Failed(error.to_string()))
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Environment<'static> {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    let mut environment = Environment::new();
    environment.set_syntax(syntax.build().expect("these delimiters are Jinja's own"));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_unknown_method_callback(python::method);
    environment.add_function("raise_exception", refuse);
    environment.add_filter("tojson", json::tojson);
    environment.add_test("iterable", python::has_items);
    environment.add_test("sequence", python::has_items);
    environment
}

/// Text as it is rendered, up to [`PROMPT_BYTES_MAX`].
#[derive(Default)]
struct Prompt(Vec<u8>);

impl Write for Prompt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > PROMPT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a template says by `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn refuse(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Refusal(message)))
}

fn failure(error: minijinja::Error) -> TemplateError {
    // What goes wrong inside of a macro is the cause of the call's error.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(Refusal(message)) = error.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        let kind = error.downcast_ref().map(minijinja::Error::kind);
        if let Some(ErrorKind::OutOfFuel | ErrorKind::WriteFailure) = kind {
            return TemplateError::Exhausted;
        }
        cause = error.source();
    }
    TemplateError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
