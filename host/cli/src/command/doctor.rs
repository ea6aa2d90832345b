//! `tessera doctor`: what is wrong with this machine or this set-up, and how to mend it.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use engine::{Engine, EngineConfig};
use runtime::{Inference, Server, ServerConfig};

/// Where to look.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How one thing is.
enum Finding {
    /// As it should be.
    Good(String),
    /// Not here, and not needed for serving.
    Absent(String),
    /// To be mended.
    Bad(String),
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let config = super::serve::read_config(args.config.as_deref())?;
    let mut report = Report { out: std::io::stdout(), bad: 0 };
    report.section("toolchain (to build components)", toolchain())?;
    report.section("devices", devices(&config))?;
    let engine = engine(&config);
    report.section("models", models(&config, engine.as_ref()))?;
    report.section("components and policies", components(&config, engine)?)?;
    match report.bad {
        0 => writeln!(report.out, "\nnothing to mend")?,
        bad => anyhow::bail!("{bad} to mend, see above"),
    }
    Ok(())
}

struct Report {
    out: std::io::Stdout,
    bad: usize,
}

impl Report {
    fn section(&mut self, title: &str, findings: Vec<Finding>) -> std::io::Result<()> {
        writeln!(self.out, "{title}")?;
        for finding in findings {
            let (mark, text) = match &finding {
                Finding::Good(text) => ("ok ", text),
                Finding::Absent(text) => ("-  ", text),
                Finding::Bad(text) => ("BAD", text),
            };
            self.bad += usize::from(matches!(finding, Finding::Bad(_)));
            writeln!(self.out, "  {mark} {}", text.replace('\n', "\n      "))?;
        }
        Ok(())
    }
}

fn toolchain() -> Vec<Finding> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let found = |program: &str, why: &str| match version(program) {
        Some(version) => Finding::Good(version),
        None => Finding::Absent(format!("{program} is not here: {why}")),
    };
    vec![
        found("cargo", "install Rust by https://rustup.rs to build components"),
        wasm_target(),
        found("python3", "install Python 3 with pip to pull models that come as Python packages"),
    ]
}

/// Whether some toolchain can build for `wasm32-wasip2`.
fn wasm_target() -> Finding {
    let has_std = |toolchain: &str| {
        let arguments = [toolchain, "--print", "target-libdir", "--target", "wasm32-wasip2"];
        let output = Command::new("rustc").args(arguments.iter().filter(|argument| !argument.is_empty())).output().ok()?;
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        std::fs::read_dir(folder).ok()?.flatten().find(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
    };
    match ["", "+wasm-web"].into_iter().find(|toolchain| has_std(toolchain).is_some()) {
        Some(_) => Finding::Good("the target wasm32-wasip2 is installed".into()),
        None => Finding::Absent("the target wasm32-wasip2 is not installed: run scripts/wasm-target.sh".into()),
    }
}

fn devices(config: &ServerConfig) -> Vec<Finding> {
    let wanted = config.device.parse::<engine::DeviceSpec>();
    let mut findings: Vec<Finding> = engine::probe()
        .into_iter()
        .map(|probe| match probe.state {
            Ok(()) => Finding::Good(probe.spec.to_string()),
            Err(error) if wanted.as_ref().is_ok_and(|wanted| *wanted == probe.spec) => Finding::Bad(error.to_string()),
            Err(error) => Finding::Absent(error.to_string()),
        })
        .collect();
    findings.extend(wanted.err().map(|error| Finding::Bad(error.to_string())));
    findings
}

fn engine(config: &ServerConfig) -> anyhow::Result<Engine> {
    let (device, models, models_recorded) = (config.device.parse()?, config.models.clone(), config.models_recorded);
    let config = EngineConfig { device, models, models_recorded, ..EngineConfig::default() };
    Ok(Engine::start(&config)?)
}

fn models(config: &ServerConfig, engine: Result<&Engine, &anyhow::Error>) -> Vec<Finding> {
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => return vec![Finding::Bad(error.to_string())],
    };
    let good = |card: &engine::ModelCard| {
        Finding::Good(format!("{}: {}, {} dimensions, {} tokens", card.name, card.family, card.dimensions, card.tokens_max))
    };
    let bad = |failure: &engine::LoadFailure| Finding::Bad(format!("{}: {}", failure.name, failure.error));
    let findings: Vec<Finding> = engine.models().map(good).chain(engine.failures().iter().map(bad)).collect();
    if findings.is_empty() {
        let folder = config.models.display();
        return vec![Finding::Bad(format!("there are none in {folder}: `tessera pull all-minilm-l6-v2` fetches one"))];
    }
    findings
}

/// Loads the components as `serve` does, on a port of its own.
fn components(config: &ServerConfig, engine: anyhow::Result<Engine>) -> anyhow::Result<Vec<Finding>> {
    let Ok(engine) = engine else {
        return Ok(vec![Finding::Absent("not looked at, as the engine did not start".into())]);
    };
    if let Err(error) = config.check() {
        return Ok(vec![Finding::Bad(error.to_string())]);
    }
    let config = ServerConfig { listen: ([127, 0, 0, 1], 0).into(), ..config.clone() };
    let engine: Arc<dyn Inference> = Arc::new(engine);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = match runtime.block_on(Server::start(config.clone(), engine)) {
        Ok(server) => server,
        Err(error) => return Ok(vec![Finding::Bad(error.to_string())]),
    };
    let good = server.components().into_iter().map(Finding::Good);
    let bad = server.failures().into_iter().map(|(name, error)| Finding::Bad(format!("{name}: {error}")));
    let mut findings: Vec<Finding> = good.chain(bad).collect();
    if findings.is_empty() {
        let folder = config.components.display();
        findings.push(Finding::Bad(format!("there are none in {folder}: `make components` builds the bundled ones")));
    }
    Ok(findings)
}
