//! `tessera chat`: a conversation with a model in the terminal.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;

use anyhow::{Context, ensure};
use engine::{Engine, EngineConfig, FinishReason, GenerateEvent, GenerateJob, GeneratePrompt, Message, Sampling};
use rustyline::error::ReadlineError;

use super::model::Which;

/// With whom, and how it answers.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// 0 always takes the likeliest token; 1 samples as the model would.
    #[arg(long, value_name = "N", default_value_t = 0.7)]
    temperature: f32,
    /// Sample from the likeliest tokens that make up this much of the probability.
    #[arg(long, value_name = "N", default_value_t = 0.95)]
    top_p: f32,
    /// Most tokens of an answer.
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// The same answers every time.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads for tensor work on the CPU; 0 takes one for each core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

const HELP: &str = "Type a message and Enter. /new begins another conversation, /quit or Ctrl-D ends; Ctrl-C stops an answer.";

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let model = args.which.open()?;
    ensure!(model.card().chat, "`{}` has no chat template, so it can't chat", model.card().name);
    let config = EngineConfig { device: args.which.device()?, threads: args.threads, ..EngineConfig::default() };
    let name = model.card().name.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut chat = Chat { engine: Engine::with_model(&config, model)?, name, history: Vec::new(), args, runtime };
    chat.begin();
    if std::io::stdin().is_terminal() { chat.talk() } else { chat.answer_lines() }
}

struct Chat {
    engine: Engine,
    name: String,
    history: Vec<Message>,
    args: Args,
    runtime: tokio::runtime::Runtime,
}

impl Chat {
    fn begin(&mut self) {
        let system = self.args.system.iter().map(|text| message("system", text));
        self.history = system.collect();
    }

    /// Talks with a person.
    fn talk(&mut self) -> anyhow::Result<()> {
        writeln!(std::io::stdout(), "{} is ready. {HELP}", self.name)?;
        let mut editor = rustyline::DefaultEditor::new().context("the terminal can't be used")?;
        loop {
            let line = match editor.readline("> ") {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            drop(editor.add_history_entry(&line)); // a line that can't be recalled is no reason to stop
            if self.take(&line)?.is_break() {
                return Ok(());
            }
        }
    }

    /// Answers each line of a pipe.
    fn answer_lines(&mut self) -> anyhow::Result<()> {
        for line in std::io::stdin().lines() {
            if self.take(&line?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> anyhow::Result<ControlFlow<()>> {
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => return Ok(ControlFlow::Break(())),
            "/new" => self.begin(),
            "/help" => writeln!(std::io::stdout(), "{HELP}")?,
            text => self.say(text)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Sends a message and prints the answer as it comes. A message that gets no answer is taken back.
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.history.push(message("user", text));
        let answered = self.runtime.block_on(answer(&self.engine, self.job()));
        match answered {
            Ok(answer) if answer.is_empty() => drop(self.history.pop()),
            Ok(answer) => self.history.push(message("assistant", &answer)),
            Err(error) => {
                self.history.pop();
                writeln!(std::io::stderr(), "error: {error:#}")?;
            }
        }
        Ok(())
    }

    fn job(&self) -> GenerateJob {
        let Args { temperature, top_p, seed, max_tokens, .. } = self.args;
        GenerateJob {
            model: self.name.clone(),
            prompt: GeneratePrompt::Chat(self.history.clone()),
            tokens_max: max_tokens,
            stop: Vec::new(),
            sampling: Sampling { temperature, top_p, seed, ..Sampling::default() },
            logprobs: None,
            account: None,
        }
    }
}

fn message(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into() }
}

/// Prints an answer while it is generated, until its end or Ctrl-C, and gives it back.
async fn answer(engine: &Engine, job: GenerateJob) -> anyhow::Result<String> {
    let mut generation = engine.generate(job).await?;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let (mut out, mut answer) = (std::io::stdout(), String::new());
    loop {
        let event = tokio::select! {
            event = generation.next() => event,
            _ = &mut interrupted => break,
        };
        match event.context("the engine stopped")?? {
            GenerateEvent::Piece(piece) => {
                out.write_all(piece.text.as_bytes())?;
                out.flush()?;
                answer.push_str(&piece.text);
            }
            GenerateEvent::Done(outcome) => {
                if outcome.reason == FinishReason::Length {
                    write!(out, " … (cut: no more tokens allowed, or the context is full)")?;
                }
                break;
            }
        }
    }
    writeln!(out)?;
    Ok(answer)
}
