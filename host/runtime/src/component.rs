//! A component: its folder, its manifest, its compiled code and its policy.

pub(crate) mod compiled;
pub(crate) mod exports;
pub(crate) mod files;
pub(crate) mod record;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

pub(crate) use compiled::make_private;
use files::{ComponentFiles, Identity};
use policy::audit::{Kind, Record, shorten};
use policy::{Admitted, CAPABILITIES, ComponentName, Facts, Mode, Policies, PolicyFile, Refused, Route, Snapshot};
use record::RecordError;
use serde::{Deserialize, Serialize};
use wasmtime::component::types::ComponentItem;

use crate::capability::call::Imports;
use crate::capability::call::import::{Import, is_of_component};
use crate::component::exports::Exports;
use crate::config::ServerConfig;
use crate::governance::Governance;
use crate::guard::manifest::GuardManifest;
use crate::instance::Instances;
use crate::lifecycle::Stamps;
use crate::package::PackageError;
use crate::sandbox::Sandbox;

/// The capability that is a standard interface, `wasi:nn`.
const NN: &str = "nn";

/// The capability that is of no WIT of ours: functions of other components.
const CALL: &str = "call";

/// `component.toml`: who a component is and what it wants. Wanting grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name: that of its folder.
    pub name: ComponentName,
    /// Its version; where a policy has rules on versions or signatures it must be one as 1.2.3.
    pub version: String,
    /// One line that says what it does.
    pub description: String,
    /// Routes it wants besides its own `/c/NAME/*`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Capabilities it wants, by WIT name.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Interfaces that it imports from other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// What it says of itself as a guard, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardManifest>,
    /// How it wants its instances to live.
    #[serde(default)]
    pub instance: Reuse,
}

impl Manifest {
    /// The capabilities that it wants: those it names, and where it has imports of other components, that of calling them.
    pub fn wanted(&self) -> Vec<String> {
        let call = (!self.imports.is_empty() && !self.capabilities.iter().any(|name| name == CALL)).then(|| CALL.into());
        self.capabilities.iter().cloned().chain(call).collect()
    }
}

/// `[instance]`: how long an instance lives. By default every request gets a fresh one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reuse {
    /// Requests that one instance serves before it is thrown away; 1 never reuses.
    pub requests_max: u32,
    /// Requests that one instance serves at the same time.
    pub concurrency_max: u32,
    /// An instance that has had nothing to do for so long is thrown away, in milliseconds; looked at twice a second.
    pub idle_ms_max: u64,
}

impl Default for Reuse {
    fn default() -> Self {
        Reuse { requests_max: 1, concurrency_max: 1, idle_ms_max: 10_000 }
    }
}

/// Why a component did not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of it can't be read.
    #[error("{file} can't be read: {cause}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// There is a manifest and no code.
    #[error(
        "{0} is not there: build the component (`make components` builds the bundled ones) and put it beside component.toml"
    )]
    NotBuilt(PathBuf),
    /// The manifest is malformed.
    #[error("{file} is refused: {cause}")]
    Manifest {
        /// The file.
        file: PathBuf,
        /// Line, column and reason.
        cause: toml::de::Error,
    },
    /// The manifest names another component than the folder.
    #[error("the folder is named `{folder}` and its component.toml says `{manifest}`: give both the same name")]
    Name {
        /// The folder's name.
        folder: String,
        /// The manifest's.
        manifest: ComponentName,
    },
    /// A file of code has a name that no component can have.
    #[error("`{name}.wasm` can't be served under that name: {cause}")]
    BareName {
        /// The name.
        name: String,
        /// What is wrong with it.
        cause: policy::NameError,
    },
    /// There is another component of that name in the folder.
    #[error("`{0}` is there more than once, as a folder or in files: leave one of them")]
    Twice(String),
    /// Its package can't be read.
    #[error("{file}: {cause}")]
    Package {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: PackageError,
    },
    /// Its files changed while they were read.
    #[error("its files are being written: it is loaded when they are complete")]
    Unfinished,
    /// It fails before any request.
    #[error("an instance of it can't be started: {0:#}")]
    Start(wasmtime::Error),
    /// The policy can't be used.
    #[error(transparent)]
    Policy(#[from] policy::LoadError),
    /// It wants a capability that doesn't exist.
    #[error("component.toml wants the capability `{0}`; there are {known}", known = CAPABILITIES.join(", "))]
    UnknownCapability(String),
    /// It uses capabilities that its manifest doesn't declare.
    #[error("it imports {missing} without declaring it: add to component.toml\n\n    capabilities = [{lines}]\n")]
    Undeclared {
        /// The undeclared ones.
        missing: String,
        /// What the line should say.
        lines: String,
    },
    /// It imports an interface, and nothing says whose.
    #[error("it imports {missing} of another component without saying whose: add to component.toml\n\n{lines}")]
    UndeclaredImport {
        /// The interfaces.
        missing: String,
        /// The lines to add, with a name to fill in.
        lines: String,
    },
    /// It imports a function of another component that can't be called.
    #[error("its import `{function}` can't be called in another component: {reason}")]
    Import {
        /// The function, as `acme:math/ops@1.0.0#add`.
        function: String,
        /// What is in the way.
        reason: String,
    },
    /// It needs capabilities or routes that its policy doesn't grant.
    #[error("it needs {missing}, which the policy does not grant. To grant it, put into {file}:\n\n{lines}\n")]
    NotGranted {
        /// The capabilities and routes.
        missing: String,
        /// The policy file.
        file: String,
        /// The lines that grant them.
        lines: String,
    },
    /// Another component has the route already.
    #[error("its route `{route}` is taken by component `{owner}`: change one of the two policies")]
    RouteTaken {
        /// The route.
        route: String,
        /// Who has it.
        owner: String,
    },
    /// Its signature is none.
    #[error("{file} is no signature: {cause}\n`tessera sign` makes one; where none is required, delete the file")]
    Signature {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// It is not what the policy lets run.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What ran before is not known.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file is longer than the server takes.
    #[error("{file} has {bytes} bytes and {bytes_max} are the most, {limit}: make it smaller")]
    TooLong {
        /// The file.
        file: PathBuf,
        /// Its length.
        bytes: u64,
        /// What limits it.
        limit: &'static str,
        /// The limit.
        bytes_max: u64,
    },
    /// The code takes too long to compile.
    #[error("component.wasm is not compiled after {ms} ms, which is all that `compile_ms_max` gives it")]
    CompileTime {
        /// The limit.
        ms: u64,
    },
    /// The code can't be compiled or linked.
    #[error("component.wasm is refused: {0:#}")]
    Code(wasmtime::Error),
    /// It exports nothing that serves HTTP.
    #[error(
        "component.wasm serves nothing: it must export `tessera:handler/handler`, `wasi:http/incoming-handler`, `wasi:http/handler` or functions of its own, or be a guard by `tessera:guard/guard`{unexposed}"
    )]
    NoHandler {
        /// Functions that it has and why they are not served, a line each.
        unexposed: String,
    },
    /// One of its functions streams what the host can't read.
    #[error("its function `{function}` can't be served: {reason}")]
    Stream {
        /// The function, as `ops/count`.
        function: String,
        /// What it streams, and what may be streamed.
        reason: String,
    },
    /// It is a guard and doesn't say so.
    #[error("it exports `tessera:guard/guard` without saying so: add to component.toml\n\n[guard]\nreasons = []\n")]
    UndeclaredGuard,
    /// It says that it is a guard and is none.
    #[error("component.toml has a section [guard], and component.wasm does not export `tessera:guard/guard`: take it out")]
    NoGuard,
    /// It is a guard, and others are to guard it.
    #[error(
        "it is a guard, and {policy} names guards for it: nobody guards a guard. Write {file} without [guard] input and output"
    )]
    GuardedGuard {
        /// The policy that names them.
        policy: String,
        /// The policy file to write.
        file: String,
    },
}

impl LoadError {
    /// Whether another policy could let the component load.
    pub(crate) fn may_be_mended_by_policy(&self) -> bool {
        let is_policys = matches!(self, LoadError::Policy(_) | LoadError::NotGranted { .. } | LoadError::GuardedGuard { .. });
        is_policys || matches!(self, LoadError::RouteTaken { .. } | LoadError::Start(_)) || self.ends_service()
    }

    /// Whether a component that runs already stops for it: it is not what the policies let run any more.
    pub(crate) fn ends_service(&self) -> bool {
        matches!(self, LoadError::Refused(_) | LoadError::Record(_))
    }
}

/// A loaded component.
pub(crate) struct Component {
    pub(crate) manifest: Manifest,
    pub(crate) identity: Identity,
    /// SHA-256 of `component.wasm`, as `sha256:…`.
    pub(crate) digest: Arc<str>,
    /// How it was let in when it was loaded.
    pub(crate) admitted: Admitted,
    pub(crate) governance: Arc<Governance>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) exports: Exports,
    pub(crate) instances: Instances,
    /// Whether its host calls block the thread that they are made on.
    pub(crate) is_blocking: bool,
    /// Whether the policies don't let it run any more.
    is_stopped: AtomicBool,
    /// What its files were when they were last found to be these.
    stamps: Mutex<Stamps>,
    /// Since when it serves.
    pub(crate) since: SystemTime,
}

impl Component {
    /// Its name.
    pub(crate) fn name(&self) -> &ComponentName {
        &self.manifest.name
    }

    /// Whether the policies don't let it run any more: it takes no requests.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// What its files were when they were last found to be these.
    pub(crate) fn stamps(&self) -> Stamps {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its files are these now.
    pub(crate) fn lies_at(&self, stamps: Stamps) {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
    }

    /// Routes that it wants; none where it serves no HTTP.
    pub(crate) fn routes(&self) -> &[Route] {
        if self.exports.serves_http() { &self.manifest.routes } else { &[] }
    }

    /// Compiles (or takes from the cache) and links a component.
    ///
    /// # Errors
    /// When a file is malformed, or the policy grants less than the component needs.
    pub(crate) fn load(
        files: &ComponentFiles,
        policies: &Policies,
        facts: &dyn Facts,
        config: &ServerConfig,
        sandbox: &Arc<Sandbox>,
    ) -> Result<Component, LoadError> {
        let (mut manifest, identity) = (files.manifest.clone(), files.identity.clone());
        let mut policy = policies.snapshot(&manifest.name, &manifest.wanted(), facts)?;
        let admitted = files.admit(policies, &policy, &sandbox.record)?;
        let code = sandbox.compiled.load(&sandbox.engine, &files.contents.code, identity.code, config)?;
        let used = capabilities(&code, &sandbox.engine);
        if files.is_bare() {
            manifest.capabilities.clone_from(&used);
            policy = policies.snapshot(&manifest.name, &used, facts)?;
        }
        let imports = Imports::read(&files.contents.code, &code, &sandbox.engine, &manifest)?;
        check_declared(&used, &manifest)?;
        if policy.mode() == Mode::Enforce {
            check_granted(&used, &imports, &manifest, &policy)?;
        }
        for function in imports.mute() {
            tracing::warn!(component = %manifest.name, function, "returns no error that could say that the call failed: then this component fails as well");
        }
        let exports = Exports::link(&files.contents.code, &code, imports, sandbox)?;
        for unexposed in exports.functions().unexposed() {
            tracing::info!(component = %manifest.name, function = unexposed.path, "is not served: {}", unexposed.reason);
        }
        check_guard(&exports, &manifest, &policy)?;
        let is_blocking = used.iter().any(|name| name == NN);
        // Nothing in `wasi:nn` tells one request from another, so an instance has one only.
        let reuse = if is_blocking { Reuse::default() } else { manifest.instance };
        let digest = Arc::<str>::from(identity.code.to_string());
        let governance = Arc::new(Governance::new(policy, digest.clone(), sandbox));
        let (version, signer) = (&manifest.version, admitted.signer.as_deref().unwrap_or("-"));
        tracing::info!(component = %manifest.name, %version, %digest, signer, "is loaded");
        if exports.serves_http() {
            sandbox.metrics.serves(manifest.name.as_str());
        }
        Ok(Component {
            manifest,
            identity,
            digest,
            admitted,
            governance,
            sandbox: sandbox.clone(),
            exports,
            instances: Instances::new(reuse),
            is_blocking,
            is_stopped: AtomicBool::new(false),
            stamps: Mutex::default(),
            since: SystemTime::now(),
        })
    }
}

impl Component {
    /// Takes its policy as the files say it now.
    ///
    /// # Errors
    /// When the policy can't be used; what held before still holds then. When the policies don't let it run any more; it has no
    /// rights then.
    pub(crate) fn govern(&self, policies: &Policies, facts: &dyn Facts) -> Result<(), LoadError> {
        let policy = policies.snapshot(self.name(), &self.manifest.wanted(), facts);
        let before = self.governance.rights();
        // A key that is trusted no more counts at once, whatever else is wrong with its policy.
        let held = policy.as_ref().unwrap_or(&before.policy);
        if let Err(error) = self.admit(policies, held) {
            self.is_stopped.store(true, Ordering::Release);
            self.governance.replace(policies.nothing(self.name(), facts));
            self.instances.keep_only(&self.governance.rights());
            return Err(error);
        }
        self.is_stopped.store(false, Ordering::Release);
        let policy = policy?;
        check_guard(&self.exports, &self.manifest, &policy)?;
        if !self.governance.rights().policy.is_same(&policy) {
            tracing::info!(component = %self.name(), policy = policy.origin(), "has another policy from now on");
            let record = Record {
                policy: Some(policy.hash().clone()),
                target: Some(shorten(policy.origin())),
                ..self.governance.record(Kind::Policy)
            };
            self.governance.audit().note(record); // it counts at once: what is revoked waits for no disk
            self.governance.replace(policy);
            self.instances.keep_only(&self.governance.rights());
        }
        Ok(())
    }
}

impl Component {
    /// Whether it may go on under a policy. Where versions count from now on, its own is written down.
    fn admit(&self, policies: &Policies, policy: &Snapshot) -> Result<(), LoadError> {
        let record = &self.sandbox.record;
        let admitted = self.identity.admit(&self.manifest, policies, policy, record)?;
        match admitted.floor {
            Some(_) => Ok(record.note([(&self.manifest, &self.identity, &admitted)])?),
            None => Ok(()),
        }
    }
}

/// The capabilities that a component imports. Interfaces that hold only types give no power and are left out.
fn capabilities(code: &wasmtime::component::Component, engine: &wasmtime::Engine) -> Vec<String> {
    let ty = code.component_type();
    let used: BTreeSet<String> = ty.imports(engine).filter_map(|(name, item)| capability_of(name, &item.ty, engine)).collect();
    used.into_iter().collect()
}

fn check_declared(used: &[String], manifest: &Manifest) -> Result<(), LoadError> {
    let wanted = manifest.wanted();
    let undeclared: Vec<String> = used.iter().filter(|name| !wanted.contains(name)).cloned().collect();
    if undeclared.is_empty() {
        return Ok(());
    }
    let lines = used.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    Err(LoadError::Undeclared { missing: join(&undeclared), lines })
}

/// Refuses a component that needs more than its policy grants, with all the lines that would grant it.
fn check_granted(used: &[String], imports: &Imports, manifest: &Manifest, policy: &Snapshot) -> Result<(), LoadError> {
    let is_missing = |name: &&String| *name != CALL && !policy.grants().has_section(name);
    let mut missing: Vec<String> = used.iter().filter(is_missing).cloned().collect();
    let mut lines: Vec<String> = missing.iter().map(|name| PolicyFile::lines_to_add(name).into()).collect();
    if let Some((calls, section)) = imports.not_granted(policy) {
        missing.extend(calls);
        lines.push(section);
    }
    let (_, refused) = policy.routes(&manifest.routes);
    if !refused.is_empty() {
        missing.extend(refused.iter().map(ToString::to_string));
        let wanted = manifest.routes.iter().map(|route| format!("{:?}", route.to_string())).collect::<Vec<_>>().join(", ");
        lines.insert(0, format!("[routes]\nallow = [{wanted}]"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new(policy.file()).exists() {
        lines.insert(0, "schema = 1".into());
    }
    Err(LoadError::NotGranted { missing: join(&missing), file: policy.file().into(), lines: lines.join("\n\n") })
}

fn join(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The capability that an import uses: `embed` for `tessera:embed/embed@0.1.0`. Of WASI's packages only `wasi:nn` is one.
fn capability_of(import: &str, item: &ComponentItem, engine: &wasmtime::Engine) -> Option<String> {
    let (namespace, name) = import.split_once(':')?;
    let package = name.split(['/', '@']).next()?;
    if is_of_component(import, item, engine) {
        return Some(CALL.into());
    }
    if !(namespace == "tessera" || namespace == "wasi" && package == NN) {
        return None;
    }
    let ComponentItem::ComponentInstance(instance) = item else { return Some(package.into()) };
    let mut items = instance.exports(engine);
    items.any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_))).then(|| package.into())
}

/// Checks that guards say that they are, and are not guarded themselves: a check is no request, so nobody would look.
fn check_guard(exports: &Exports, manifest: &Manifest, policy: &Snapshot) -> Result<(), LoadError> {
    match (exports.is_guard(), &manifest.guard) {
        (true, None) => Err(LoadError::UndeclaredGuard),
        (false, Some(_)) => Err(LoadError::NoGuard),
        (true, _) if !policy.guard().is_empty() => {
            Err(LoadError::GuardedGuard { policy: policy.origin().into(), file: policy.file().into() })
        }
        _ => Ok(()),
    }
}
