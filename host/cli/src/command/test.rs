//! `tessera test`: a plugin's cases against a server in this process.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::plugin::Plugin;
use crate::plugin::case::{Answers, Case, Reply, Request};
use crate::plugin::record::Recorder;
use crate::plugin::serve::{self, Place};

/// Time for one answer.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Length of an answer, in bytes.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// Characters of an answer that are shown where it is not as it should be.
const SHOWN_CHARS_MAX: usize = 600;

/// Which plugin, with which models.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plugin's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Folder of models to run on, instead of made-up ones.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Write what the models answer into the cases, to be given again where there are no models.
    #[arg(long, requires = "models")]
    record: bool,
    /// Cases whose name holds this text; all without it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When there are no cases, the component does not load, or an answer is not as its case wants it.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let plugin = Plugin::open(&args.folder)?;
    let mut cases = Case::all(&plugin.folder.join("cases"))?;
    cases.retain(|case| args.only.as_ref().is_none_or(|text| case.name.contains(text)));
    ensure!(!cases.is_empty(), "there are no cases: put request.json and response.json into cases/NAME/");
    serve::log_to_stderr("error");
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let place = Place { plugin: &plugin, policies: None, models: args.models.as_deref(), listen };
    place.forget()?;
    let runtime = serve::runtime()?;
    let recorder = Recorder::new(place.inference()?);
    let serving = runtime.block_on(place.start_with(Arc::new(recorder.clone())))?;
    let run = Run { plugin: &plugin, args: &args, recorder, address: serving.address };
    let failed = run.all(&cases);
    runtime.block_on(serving.stop());
    let failed = failed?;
    ensure!(failed == 0, "{failed} of {} cases failed", cases.len());
    writeln!(std::io::stdout(), "{} cases passed", cases.len())?;
    Ok(())
}

/// Cases under way.
struct Run<'a> {
    plugin: &'a Plugin,
    args: &'a Args,
    recorder: Recorder,
    address: SocketAddr,
}

impl Run<'_> {
    /// Runs cases and prints a line for each; gives how many failed.
    fn all(&self, cases: &[Case]) -> anyhow::Result<usize> {
        let mut out = std::io::stdout();
        let mut failed = 0;
        for case in cases {
            let start = Instant::now();
            let reply = self.one(case).with_context(|| format!("the case `{}`", case.name))?;
            let took_ms = start.elapsed().as_secs_f64() * 1e3;
            let differences = case.differences(&reply);
            if differences.is_empty() {
                writeln!(out, "ok   {} ({took_ms:.1} ms)", case.name)?;
                continue;
            }
            failed += 1;
            let shown: String = String::from_utf8_lossy(&reply.body).chars().take(SHOWN_CHARS_MAX).collect();
            writeln!(out, "BAD  {}\n       {}\n     answer: {shown}", case.name, differences.join("\n       "))?;
        }
        Ok(failed)
    }

    /// Asks what a case asks, with the models that it has: given ones, those that answered before, or made-up ones.
    fn one(&self, case: &Case) -> anyhow::Result<Reply> {
        let tape = self.plugin.folder.join("cases").join(&case.name).join("model.json");
        match &self.args.models {
            Some(_) if self.args.record => self.recorder.record(),
            Some(_) => {}
            None => self.recorder.play(&tape)?,
        }
        let reply = ask_behind(self.plugin.name(), &case.request, self.address, &mut Answers::default())?;
        if self.args.record {
            self.recorder.save(&tape)?;
        }
        Ok(reply)
    }
}

/// Asks behind the requests that have to be before this one. Their answers come to be known, and have to be good ones.
fn ask_behind(name: &str, request: &Request, address: SocketAddr, answers: &mut Answers) -> anyhow::Result<Reply> {
    for step in &request.before {
        let reply = ask_behind(name, step, address, answers)?;
        let is_good = (200..300).contains(&reply.status);
        ensure!(is_good, "a request before was answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        answers.push(&reply.body);
    }
    ask(name, request, address, answers)
}

fn ask(name: &str, request: &Request, address: SocketAddr, answers: &Answers) -> anyhow::Result<Reply> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(WAIT_MAX)).proxy(None).http_status_as_error(false);
    let agent: ureq::Agent = agent.allow_non_standard_methods(true).build().into();
    let url = format!("http://{address}/c/{name}{}", request.path(answers));
    let mut sent = ureq::http::Request::builder().method(request.method.as_str()).uri(url);
    let body = request.bytes(answers);
    if !body.is_empty() && !request.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        sent = sent.header("content-type", request.content_type());
    }
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    let mut answer = agent.run(sent.body(body)?)?;
    let line = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = answer.headers().iter().map(line).collect();
    let status = answer.status().as_u16();
    // A streamed answer that broke off has what came of it.
    let mut body = Vec::new();
    let read = std::io::Read::read_to_end(&mut answer.body_mut().with_config().limit(REPLY_BYTES_MAX).reader(), &mut body);
    if let Err(error) = read {
        body.extend(format!("\n(the answer broke off: {error})").bytes());
    }
    Ok(Reply { status, headers, body })
}
