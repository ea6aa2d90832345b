//! Commands: components that run once, from their arguments to an exit code, as a program does. They export `wasi:cli/run`, of 0.2
//! or 0.3, and get the input and output of this process; all else is as the policy grants it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policy::audit::LogError;
use policy::{ComponentName, Facts, Policies, Snapshot};
use tokio::time::Instant;
use wasmtime::component::{Accessor, Component, Instance, InstancePre, TypedFunc};
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi::I32Exit;

use crate::audit::{Audit, AuditConfig, Recording};
use crate::call::Call;
use crate::component::LoadError;
use crate::component::files::ComponentFiles;
use crate::config::ServerConfig;
use crate::cpu::{Clock, Stopwatch, Timed};
use crate::facts::ServerFacts;
use crate::governance::Governance;
use crate::inference::Inference;
use crate::instance::Fault;
use crate::sandbox::{Ctx, Sandbox};
use crate::stores::Stores;
use crate::telemetry::Metrics;

/// What a command gets after its deadline to say so itself: host calls end at the deadline.
const GRACE: Duration = Duration::from_millis(100);

/// What is run, with what, under which policy.
#[derive(Debug)]
pub struct Command {
    /// The component.
    pub files: ComponentFiles,
    /// Its arguments; the first is the name of the program.
    pub arguments: Vec<String>,
    /// The policy.
    pub policy: CommandPolicy,
}

/// Which policy a command runs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandPolicy {
    /// That of this component, in the folder of policies.
    Of(ComponentName),
    /// This file.
    File(PathBuf),
}

/// Why a command did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// WebAssembly can't be run.
    #[error("the WebAssembly engine can't start: {0:#}")]
    Sandbox(wasmtime::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(std::io::Error),
    /// Nothing can be kept.
    #[error("the folder of what components keep can't be used: {0}")]
    Store(#[from] store::StoreError),
    /// Nothing can be recorded; commands record nothing.
    #[error(transparent)]
    Audit(#[from] LogError),
    /// The component can't be loaded, or the policy doesn't let it run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It is another kind of component.
    #[error(
        "it is no command, as it does not export `wasi:cli/run`: put what answers requests into a folder for `tessera serve`"
    )]
    NoCommand,
    /// It took too long.
    #[error("it was stopped after {ms} ms: give it more with [limits] wall_ms_max in {file}")]
    Deadline {
        /// The limit.
        ms: u64,
        /// The policy file.
        file: String,
    },
    /// Its code ran too long.
    #[error("it was stopped after {ms} ms of CPU time: give it more with [limits] cpu_ms_max in {file}")]
    CpuTime {
        /// The limit.
        ms: u64,
        /// The policy file.
        file: String,
    },
    /// It failed after it was refused memory.
    #[error("it ran out of memory, {bytes} bytes: give it more with [limits] memory_bytes_max in {file}\n{cause:#}")]
    Memory {
        /// The limit.
        bytes: usize,
        /// The policy file.
        file: String,
        /// How it failed.
        cause: wasmtime::Error,
    },
    /// It failed.
    #[error("it failed: {0:#}")]
    Trapped(wasmtime::Error),
}

/// Runs a command to its end and gives its exit code. It gets the standard input, output and error of this process. Its rights are
/// those of the policy, nothing of it is in the audit log, and what it is denied is told in the log.
///
/// # Errors
/// When it can't be run, traps, or is stopped at a limit.
pub async fn run_command(
    command: Command,
    config: &ServerConfig,
    policies: &Policies,
    inference: Arc<dyn Inference>,
) -> Result<u8, CommandError> {
    let Command { files, arguments, policy } = command;
    let stores = keeps_data(&files).then(|| Stores::open(config)).transpose()?;
    let sandbox = Arc::new(sandbox(config, inference.clone(), stores)?);
    let facts = ServerFacts::new(config, inference.as_ref()).map_err(CommandError::Random)?;
    let policy = snapshot(&policy, &files, policies, &facts)?;
    files.admit(policies, &policy, &sandbox.record)?;
    let digest = files.code_digest();
    let load = || sandbox.compiled.load(&sandbox.engine, &files.contents.code, digest, config);
    let code = tokio::task::block_in_place(load)?;
    let run = Run::find(&code, &sandbox)?;
    let governance = Arc::new(Governance::new(policy, Arc::from(digest.to_string()), &sandbox));
    run.finish(&sandbox, &governance, &arguments).await
}

/// Whether a command wants to keep anything: the folder for that is left alone otherwise.
fn keeps_data(files: &ComponentFiles) -> bool {
    files.manifest.capabilities.iter().any(|capability| ["blob", "kv", "vector"].contains(&capability.as_str()))
}

/// What a command runs in. The audit log is a server's, which may be running beside it.
fn sandbox(config: &ServerConfig, inference: Arc<dyn Inference>, stores: Option<Stores>) -> Result<Sandbox, CommandError> {
    let off = Recording::Off;
    let audit = AuditConfig { access: off, deny: off, uses: off, admin: off, ..AuditConfig::default() };
    let config = ServerConfig { audit, ..config.clone() };
    let metrics = Arc::new(Metrics::new(inference.clone()));
    let audit = Audit::open(&config, None, &metrics)?;
    Sandbox::new(&config, (inference, stores), metrics, audit).map_err(CommandError::Sandbox)
}

fn snapshot(
    policy: &CommandPolicy,
    files: &ComponentFiles,
    policies: &Policies,
    facts: &dyn Facts,
) -> Result<Snapshot, LoadError> {
    let (name, wanted) = (&files.manifest.name, &files.manifest.capabilities);
    Ok(match policy {
        CommandPolicy::Of(component) => policies.snapshot(component, wanted, facts)?,
        CommandPolicy::File(file) => policies.snapshot_by(file, name, wanted, facts)?,
    })
}

/// A linked command.
struct Run {
    code: InstancePre<Ctx>,
    /// The interface that it is run by, with the version that it was built for.
    interface: String,
}

impl Run {
    fn find(code: &Component, sandbox: &Sandbox) -> Result<Run, CommandError> {
        let is_run = |name: &&str| name.starts_with("wasi:cli/run@0.2.") || name.starts_with("wasi:cli/run@0.3.");
        let interface = code.component_type().exports(&sandbox.engine).map(|(name, _)| name).find(is_run).map(String::from);
        let interface = interface.ok_or(CommandError::NoCommand)?;
        let code = sandbox.linker.instantiate_pre(code).map_err(LoadError::Code)?;
        Ok(Run { code, interface })
    }

    /// Runs it in a store of its own, under its limits.
    async fn finish(
        &self,
        sandbox: &Arc<Sandbox>,
        governance: &Arc<Governance>,
        arguments: &[String],
    ) -> Result<u8, CommandError> {
        let (rights, clock) = (governance.rights(), Arc::<Clock>::default());
        let (limits, file) = (rights.policy.limits(), rights.policy.file().to_owned());
        let call = Arc::new(Call::of_component(governance, &rights));
        let mut store = sandbox.store_with(governance, &rights, call.clone(), &clock, |wasi| {
            wasi.inherit_stdio().args(arguments);
        });
        let stopwatch = Stopwatch::new(clock, vec![governance.ledger.clone()]);
        let life = Timed::new(Box::pin(self.live(&mut store, &call)), stopwatch);
        let ended = tokio::time::timeout_at(call.deadline + GRACE, life).await;
        let error = match ended {
            Ok(Ok(Ok(()))) => return Ok(0),
            Ok(Ok(Err(()))) => return Ok(1),
            Ok(Err(error)) => error,
            Err(_) => return Err(CommandError::Deadline { ms: limits.wall_ms_max, file }),
        };
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Ok(u8::try_from(*code).unwrap_or(1));
        }
        Err(match call.verdict.get() {
            Some(Fault::CpuTime) => CommandError::CpuTime { ms: limits.cpu_ms_max, file },
            _ if Instant::now() > call.deadline => CommandError::Deadline { ms: limits.wall_ms_max, file },
            _ if store.data().lacked_memory() => CommandError::Memory { bytes: limits.memory_bytes_max, file, cause: error },
            _ => CommandError::Trapped(error),
        })
    }

    async fn live(&self, store: &mut Store<Ctx>, call: &Arc<Call>) -> wasmtime::Result<Result<(), ()>> {
        let instance = self.code.instantiate_async(&mut *store).await?;
        let run = self.export(store, &instance)?;
        let work = async |accessor: &Accessor<Ctx>| {
            let running = accessor.with(|mut store| {
                let running = run.start_call_concurrent(store.as_context_mut(), ())?;
                store.data_mut().calls.bind(running.task(), call.clone());
                wasmtime::error::Ok(running)
            })?;
            run.finish_call_concurrent(accessor, running).await
        };
        let (result,) = store.run_concurrent(work).await??;
        Ok(result)
    }

    /// The function that both versions have alike, but for how it waits.
    fn export(&self, store: &mut Store<Ctx>, instance: &Instance) -> wasmtime::Result<TypedFunc<(), (Result<(), ()>,)>> {
        let interface = instance.get_export_index(&mut *store, None, &self.interface);
        let function = interface.and_then(|interface| instance.get_export_index(&mut *store, Some(&interface), "run"));
        let function = function.ok_or_else(|| wasmtime::format_err!("{} has no function `run`", self.interface))?;
        instance.get_typed_func(&mut *store, function)
    }
}
