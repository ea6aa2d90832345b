//! The life of components: how they come to be served, are replaced, gone back from, turned off and removed, while requests run.
//!
//! What is served is the folder of components; whoever wants it to be different, the admin API too, puts files there. Files that
//! changed are read, checked against the policies, compiled, linked and started once, all beside the requests. Only then is the
//! component put into the place of the one before it, which finishes what it has. One that is refused changes nothing.

mod source;
mod versions;

use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::available_parallelism;

use policy::{ComponentName, Policies};
pub(crate) use source::{Source, Stamps};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use versions::Versions;

use crate::component::files::{ComponentFiles, Contents};
use crate::component::record::{RecordError, Run};
use crate::component::{Component, LoadError};
use crate::config::ServerConfig;
use crate::facts::ServerFacts;
use crate::http::server::Shared;
use crate::instance;
use crate::registry::{Refusal, Registry};
use crate::sandbox::Sandbox;

/// How often a component is prepared anew because the policies have changed meanwhile.
const ROUNDS_MAX: usize = 8;

/// Who changes what is served, and by which policies.
pub(crate) struct Lifecycle {
    turn: Mutex<Turn>,
    /// Fires when the folder should be looked at again.
    pub(crate) look: Notify,
    versions: Versions,
    /// Turned off by an operator. Held for a few instructions only.
    disabled: Mutex<BTreeSet<String>>,
}

/// Held by who changes the registry. Nothing is compiled under it.
struct Turn {
    policies: Arc<Policies>,
    /// Counts the policies that held.
    generation: u64,
    /// Components that are being loaded.
    loading: HashSet<String>,
    /// Components that are not served any more and may have requests still.
    retired: Vec<Weak<Component>>,
}

/// Why an operator's change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// There is no such component.
    #[error("there is no component `{0}`")]
    Unknown(String),
    /// Somebody else changes it at the moment.
    #[error("`{0}` is being loaded: try again when that is done")]
    Busy(String),
    /// It is turned off.
    #[error("`{0}` is disabled: enable it first")]
    Disabled(String),
    /// There is no such version.
    #[error(
        "there is no version of `{0}` to go back to, or its files are not kept any more: `versions_kept_max` says how many are"
    )]
    NoVersion(String),
    /// It does not load.
    #[error(transparent)]
    Refused(#[from] Arc<LoadError>),
    /// The folder can't be written.
    #[error("the components folder can't be changed: {0}")]
    Folder(std::io::Error),
    /// The record can't be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<LoadError> for ChangeError {
    fn from(error: LoadError) -> ChangeError {
        ChangeError::Refused(Arc::new(error))
    }
}

impl Lifecycle {
    /// Loads what is in the folder, several at once. It blocks, and has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the folder can't be listed.
    pub(crate) fn start(
        config: &ServerConfig,
        sandbox: &Arc<Sandbox>,
        policies: Policies,
        facts: &ServerFacts,
    ) -> std::io::Result<(Lifecycle, Registry)> {
        let disabled = sandbox.record.disabled().map_err(std::io::Error::other)?;
        let mut found = source::list(&config.components)?;
        found.retain(|name, _| !disabled.contains(name));
        let found: Vec<Source> = found.into_values().collect();
        let versions = Versions::at(&config.data, config.versions_kept_max);
        let loader = Loader { config, sandbox, policies: &policies, facts, handle: Handle::current() };
        let loaded = loader.load_all(&found, &versions);
        let mut registry = Registry::default();
        let mut served = Vec::new();
        for (source, loaded) in found.iter().zip(loaded) {
            let added = loaded.and_then(|component| {
                registry.add(component.clone())?;
                Ok(component)
            });
            match added {
                Ok(component) => {
                    component.lies_at(source.stamps);
                    served.push((source, component));
                }
                Err(error) => refuse(&mut registry, sandbox, source, error, 0),
            }
        }
        if let Err(error) = note(sandbox, served.iter().map(|(_, component)| component)) {
            let error = Arc::new(LoadError::Record(error));
            for (source, _) in served.iter().filter(|(_, component)| component.admitted.floor.is_some()) {
                registry = registry.without(&[&source.name]);
                refuse(&mut registry, sandbox, source, error.clone(), 0);
            }
        }
        versions.prune(sandbox, served.iter().map(|(source, _)| source.name.as_str()));
        registry.tell_missing_guards();
        let turn = Turn { policies: Arc::new(policies), generation: 0, loading: HashSet::new(), retired: Vec::new() };
        let (turn, disabled) = (Mutex::new(turn), Mutex::new(disabled));
        Ok((Lifecycle { turn, look: Notify::new(), versions, disabled }, registry))
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        // What is changed under it is changed by whole values.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other policies: they count for all that runs when this returns. What they may let load is looked for after it.
    pub(crate) fn govern(&self, shared: &Shared, policies: Policies) {
        let mut turn = self.turn();
        turn.generation += 1;
        turn.policies = Arc::new(policies);
        let next = shared.registry.load().govern(&turn.policies, &shared.facts, turn.generation);
        turn.retired.retain(|component| component.strong_count() > 0);
        for component in turn.retired.iter().filter_map(Weak::upgrade) {
            if let Err(error) = component.govern(&turn.policies, &shared.facts) {
                tracing::debug!(component = %component.name(), %error, "what still runs of an older version");
            }
        }
        self.publish(shared, &mut turn, next);
        self.look.notify_one();
    }

    /// Looks at the folder: what is gone is not served from now on. Gives what has to be loaded, by [`load`](Self::load); files in
    /// `open` are being written and have their time later.
    pub(crate) fn look(&self, shared: &Shared, open: &HashSet<PathBuf>) -> Vec<Source> {
        let mut turn = self.turn();
        let found = match source::list(&shared.config.components) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the components folder can't be read: what is served stays");
                return Vec::new();
            }
        };
        let registry = shared.registry.load_full();
        let known = registry.components().map(|component| component.name().as_str());
        let known: BTreeSet<&str> = known.chain(registry.refusals().keys().map(String::as_str)).collect();
        let is_gone = |name: &&str| !found.contains_key(*name) && !turn.loading.contains(*name);
        let gone: Vec<&str> = known.into_iter().filter(is_gone).collect();
        if !gone.is_empty() {
            tracing::info!("not in the components folder any more: {}", gone.join(", "));
            self.publish(shared, &mut turn, registry.without(&gone));
        }
        let disabled = self.disabled();
        let has_time = |source: &&Source| {
            let is_busy = turn.loading.contains(&source.name) || disabled.contains(&source.name);
            !is_busy && !source.is_among(open) && turn.is_news(&registry, source)
        };
        let news: Vec<Source> = found.values().filter(has_time).cloned().collect();
        turn.loading.extend(news.iter().map(|source| source.name.clone()));
        news
    }

    /// Loads what [`look`](Self::look) gave, and serves it if it may be. It blocks.
    pub(crate) fn load(&self, shared: &Shared, source: &Source) {
        let _loading = Loading { lifecycle: self, name: &source.name };
        let read = source.read(shared.config.component_bytes_max);
        if let Err(LoadError::Unfinished) = read {
            return; // it is looked at again
        }
        if let Ok(files) = &read
            && let Some(component) = shared.registry.load().component(&source.name)
            && component.identity == files.identity
        {
            component.lies_at(source.stamps);
            let mut turn = self.turn();
            let mut next = (**shared.registry.load()).clone();
            next.accept(&source.name);
            return self.publish(shared, &mut turn, next);
        }
        let served = read.map_err(|error| ChangeError::Refused(Arc::new(error))).and_then(|files| {
            let serve = |turn: &mut Turn, component| self.serve(shared, turn, component, || Ok(source.stamps));
            self.bring_in(shared, &files, serve)
        });
        let error = match served {
            // It is looked at again, or it was turned off meanwhile.
            Ok(()) | Err(ChangeError::Busy(_) | ChangeError::Disabled(_)) => return,
            Err(ChangeError::Refused(error)) => error,
            Err(ChangeError::Record(error)) => Arc::new(LoadError::Record(error)),
            Err(other) => Arc::new(LoadError::Start(wasmtime::Error::msg(other.to_string()))),
        };
        let mut turn = self.turn();
        let mut next = (**shared.registry.load()).clone();
        let generation = turn.generation;
        refuse(&mut next, &shared.sandbox, source, error, generation);
        self.publish(shared, &mut turn, next);
    }

    /// Compiles, links and starts a component, then has `serve` put it where requests find it, under the policies of that moment.
    fn bring_in(
        &self,
        shared: &Shared,
        files: &ComponentFiles,
        serve: impl Fn(&mut Turn, Arc<Component>) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        for _ in 0..ROUNDS_MAX {
            let (policies, generation) = {
                let turn = self.turn();
                (turn.policies.clone(), turn.generation)
            };
            let loader = Loader {
                config: &shared.config,
                sandbox: &shared.sandbox,
                policies: &policies,
                facts: &shared.facts,
                handle: Handle::current(),
            };
            let component = loader.prepare(files)?;
            let mut turn = self.turn();
            if turn.generation == generation {
                serve(&mut turn, component)?;
                drop(turn);
                self.versions.keep(files);
                self.versions.prune(&shared.sandbox, [files.manifest.name.as_str()]);
                return Ok(());
            }
            // Another policy counts by now. What was compiled is in the cache.
        }
        Err(ChangeError::Busy(files.manifest.name.to_string()))
    }

    /// Puts a component into the place of the one of its name; `place` says what its files are.
    fn serve(
        &self,
        shared: &Shared,
        turn: &mut Turn,
        component: Arc<Component>,
        place: impl Fn() -> Result<Stamps, ChangeError>,
    ) -> Result<(), ChangeError> {
        if self.disabled_now().contains(component.name().as_str()) {
            return Err(ChangeError::Disabled(component.name().to_string()));
        }
        let next = shared.registry.load().with(&component)?;
        // Before anything is written down of it: a folder that can't be written changes nothing.
        component.lies_at(place()?);
        if let Err(error) = note(&shared.sandbox, [&component]) {
            // Where versions count, what is not written down does not run.
            if component.admitted.floor.is_some() {
                return Err(error.into());
            }
        }
        shared.sandbox.journals.of(component.name().as_str()).tell(format!("version {} serves", component.manifest.version));
        self.publish(shared, turn, next);
        Ok(())
    }

    /// From now on requests find this. What is not in it any more finishes what it has.
    fn publish(&self, shared: &Shared, turn: &mut Turn, next: Registry) {
        let before = shared.registry.swap(Arc::new(next));
        let next = shared.registry.load();
        next.tell(&before, &shared.sandbox.audit);
        for component in before.components() {
            if next.component(component.name().as_str()).is_none_or(|other| !Arc::ptr_eq(other, component)) {
                component.instances.retire();
                turn.retired.push(Arc::downgrade(component));
            }
        }
        turn.retired.retain(|component| component.strong_count() > 0);
    }
}

/// What an operator asks for.
impl Lifecycle {
    /// Serves what is handed in, and puts it into the folder. It blocks. What is refused changes nothing.
    pub(crate) fn deploy(&self, shared: &Shared, name: &ComponentName, contents: Contents) -> Result<(), ChangeError> {
        let folder = &shared.config.components;
        let files = ComponentFiles::parse(&source::place_of(folder, name, &contents), contents)?;
        let _loading = self.begin(name.as_str())?;
        self.bring_in(shared, &files, |turn, component| {
            self.serve(shared, turn, component, || {
                std::fs::create_dir_all(folder).map_err(ChangeError::Folder)?;
                let placed = source::place(folder, name, &files.contents).map_err(ChangeError::Folder)?;
                Ok(placed.stamps)
            })
        })
    }

    /// Goes back to the version before this one, or to the one with this id. It blocks.
    pub(crate) fn roll_back(&self, shared: &Shared, name: &ComponentName, to: Option<&str>) -> Result<(), ChangeError> {
        let runs = self.runs(shared, name.as_str())?;
        let current = shared.registry.load().component(name.as_str()).map(|component| component.identity.id());
        let is_wanted = |run: &&Run| match to {
            Some(id) => run.id() == id,
            None => Some(run.id()) != current,
        };
        let run = runs.iter().rev().filter(|run| self.versions.has(name.as_str(), run)).find(is_wanted);
        let run = run.ok_or_else(|| ChangeError::NoVersion(name.to_string()))?;
        let contents = self.versions.read(name.as_str(), run, shared.config.component_bytes_max)?;
        self.deploy(shared, name, contents)
    }

    /// Takes a component out of the folder; its versions are kept. It blocks.
    pub(crate) fn remove(&self, shared: &Shared, name: &str) -> Result<(), ChangeError> {
        let mut turn = self.turn();
        let found = source::list(&shared.config.components).map_err(ChangeError::Folder)?;
        let registry = shared.registry.load_full();
        if !found.contains_key(name) && registry.component(name).is_none() {
            return Err(ChangeError::Unknown(name.into()));
        }
        if turn.loading.contains(name) {
            return Err(ChangeError::Busy(name.into()));
        }
        source::remove(&shared.config.components, name).map_err(ChangeError::Folder)?;
        self.publish(shared, &mut turn, registry.without(&[name]));
        // What comes under that name later is another one.
        let is_disabled = self.disabled_now().remove(name);
        match name.parse() {
            Ok(name) if is_disabled => Ok(shared.sandbox.record.disable(&name, false)?),
            _ => Ok(()),
        }
    }

    /// Turns a component off, or on again. It blocks.
    pub(crate) fn disable(&self, shared: &Shared, name: &ComponentName, is_disabled: bool) -> Result<(), ChangeError> {
        let mut turn = self.turn();
        let found = source::list(&shared.config.components).map_err(ChangeError::Folder)?;
        let Some(source) = found.get(name.as_str()) else { return Err(ChangeError::Unknown(name.to_string())) };
        shared.sandbox.record.disable(name, is_disabled)?;
        if is_disabled {
            self.disabled_now().insert(name.to_string());
            let next = shared.registry.load().without(&[name.as_str()]);
            self.publish(shared, &mut turn, next);
            return Ok(());
        }
        self.disabled_now().remove(name.as_str());
        if shared.registry.load().component(name.as_str()).is_some() || !turn.loading.insert(name.to_string()) {
            return Ok(());
        }
        drop(turn);
        self.load(shared, source);
        match shared.registry.load().refusal(name.as_str()) {
            Some(refusal) => Err(ChangeError::Refused(refusal.error.clone())),
            None => Ok(()),
        }
    }

    /// What has run of a component, the latest last.
    pub(crate) fn runs(&self, shared: &Shared, name: &str) -> Result<Vec<Run>, ChangeError> {
        Ok(shared.sandbox.record.runs()?.remove(name).unwrap_or_default())
    }

    /// Whether a version can be gone back to.
    pub(crate) fn is_kept(&self, name: &str, run: &Run) -> bool {
        self.versions.has(name, run)
    }

    /// The components that an operator has turned off.
    pub(crate) fn disabled(&self) -> BTreeSet<String> {
        self.disabled_now().clone()
    }

    fn disabled_now(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin<'a>(&'a self, name: &'a str) -> Result<Loading<'a>, ChangeError> {
        let mut turn = self.turn();
        if self.disabled_now().contains(name) {
            return Err(ChangeError::Disabled(name.into()));
        }
        match turn.loading.insert(name.into()) {
            true => Ok(Loading { lifecycle: self, name }),
            false => Err(ChangeError::Busy(name.into())),
        }
    }
}

/// A component that is being loaded, until this is dropped. What happened to its files meanwhile is looked at then.
struct Loading<'a> {
    lifecycle: &'a Lifecycle,
    name: &'a str,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.lifecycle.turn().loading.remove(self.name);
        self.lifecycle.look.notify_one();
    }
}

impl Turn {
    /// Whether files are not what is served, or was refused under the policies that hold.
    fn is_news(&self, registry: &Registry, source: &Source) -> bool {
        if let Some(refusal) = registry.refusal(&source.name) {
            let may_be_mended = refusal.policies != self.generation && refusal.error.may_be_mended_by_policy();
            return refusal.stamps != source.stamps || may_be_mended;
        }
        registry.component(&source.name).is_none_or(|component| component.stamps() != source.stamps)
    }
}

/// Notes that files are not served, and tells why.
fn refuse(registry: &mut Registry, sandbox: &Sandbox, source: &Source, error: impl Into<Arc<LoadError>>, policies: u64) {
    let (name, error) = (&source.name, error.into());
    let then = if registry.component(name).is_some() { "; the version before it still serves" } else { "" };
    tracing::warn!("component `{name}` is not loaded{then}: {error}");
    sandbox.journals.of(name).tell(format!("not loaded{then}: {error}"));
    registry.refuse(name, Refusal { error, stamps: source.stamps, policies });
}

/// Writes down what runs, and tells where that fails.
fn note<'a>(sandbox: &Sandbox, components: impl IntoIterator<Item = &'a Arc<Component>>) -> Result<(), RecordError> {
    let of = |component: &'a Arc<Component>| (&component.manifest, &component.identity, &component.admitted);
    let noted = sandbox.record.note(components.into_iter().map(of));
    noted.inspect_err(|error| tracing::warn!(%error, "what runs is not written down"))
}

/// What is needed to load a component.
struct Loader<'a> {
    config: &'a ServerConfig,
    sandbox: &'a Arc<Sandbox>,
    policies: &'a Policies,
    facts: &'a ServerFacts,
    handle: Handle,
}

impl Loader<'_> {
    /// A component that can serve.
    fn prepare(&self, files: &ComponentFiles) -> Result<Arc<Component>, LoadError> {
        // Libraries read the code in this process: one that stumbles over it stops this component and nothing else.
        let load = || Component::load(files, self.policies, self.facts, self.config, self.sandbox);
        let loaded = catch_unwind(AssertUnwindSafe(load));
        let stumbled = |_| LoadError::Code(wasmtime::Error::msg("it can't be read: its reader has stumbled"));
        let component = Arc::new(loaded.map_err(stumbled)??);
        self.handle.block_on(instance::try_out(&component)).map_err(LoadError::Start)?;
        Ok(component)
    }

    /// Each of them, in their order, by as many threads as there are cores. The code of what loads is kept, and not in memory.
    fn load_all(&self, sources: &[Source], versions: &Versions) -> Vec<Result<Arc<Component>, LoadError>> {
        let next = AtomicUsize::new(0);
        let load = |source: &Source| {
            let files = source.read(self.config.component_bytes_max)?;
            let component = self.prepare(&files)?;
            versions.keep(&files);
            Ok(component)
        };
        let work = || {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(place) else { return done };
                done.push((place, load(source)));
            }
        };
        let threads = available_parallelism().map_or(1, usize::from).min(sources.len());
        let mut all: Vec<Result<_, LoadError>> = sources.iter().map(|_| Err(LoadError::Unfinished)).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for (place, loaded) in threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()) {
                all[place] = loaded;
            }
        });
        all
    }
}
