//! Which components there are, and which of them answers a request.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ::http::Method;
use policy::audit::{Kind, Record, shorten};
use policy::{ComponentName, Facts, Policies, Route, Unchecked};

use crate::audit::Audit;
use crate::component::{Component, LoadError};
use crate::config::ServerConfig;
use crate::sandbox::Sandbox;

/// The host's own paths: no component gets one, whatever its policy says.
const HOST_PATHS: [&str; 9] = [
    "/health",
    "/ready",
    "/metrics",
    "/admin/models",
    "/admin/usage",
    "/docs",
    "/openapi.json",
    "/v1/health_check",
    "/v1/list_service",
];

/// Whether only operators may read a path: the host's own, all of them.
pub(crate) fn is_admin_path(path: &str) -> bool {
    path == "/metrics" || path.strip_prefix("/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where models are listed: by the component that has been granted this path, or else by the host.
const MODELS_PATH: &str = "/v1/models";

/// All components and their routes, as they were loaded and under the policies of one moment.
#[derive(Default)]
pub(crate) struct Registry {
    components: HashMap<String, Arc<Component>>,
    order: Vec<String>,
    failures: Vec<(String, Arc<LoadError>)>,
    routes: Routes,
}

/// Granted routes besides `/c/NAME/*`.
#[derive(Default)]
struct Routes {
    exact: HashMap<String, Vec<Target>>,
    /// Longest prefix first.
    prefixes: Vec<(String, Vec<Target>)>,
}

struct Target {
    method: policy::Method,
    component: Arc<Component>,
}

/// Who answers a request.
pub(crate) enum Found {
    /// This component, with the target from this byte on.
    Component {
        /// The component.
        component: Arc<Component>,
        /// Length of `/c/NAME` on a default route, else 0.
        path_start: usize,
    },
    /// The path is known, with these methods only.
    OtherMethods(String),
    /// Nobody.
    Nothing,
}

impl Registry {
    /// Loads every folder that holds a `component.toml`, in order of name. What doesn't load is left out. What is loaded in
    /// `before` is taken from there, and gets its policy as it is now: requests inside go on under the one they began with.
    ///
    /// # Errors
    /// When the folder can't be listed. One that isn't there holds no components.
    pub(crate) fn load(
        config: &ServerConfig,
        sandbox: &Arc<Sandbox>,
        policies: &Policies,
        facts: &dyn Facts,
        before: &Registry,
    ) -> std::io::Result<Registry> {
        let mut registry = Registry::default();
        // Those that serve first: what is revoked doesn't wait for what is compiled.
        let mut stopped: HashMap<&str, Arc<LoadError>> = HashMap::new();
        for (name, component) in &before.components {
            match component.govern(policies, facts) {
                Err(error) if error.ends_service() => {
                    tracing::error!("component `{name}` is stopped: {error}");
                    stopped.insert(name, Arc::new(error));
                }
                Err(error) => tracing::error!("component `{name}` keeps the policy that it had: {error}"),
                Ok(()) => {}
            }
        }
        for folder in folders(config)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(error) = stopped.remove(name.as_str()) {
                registry.failures.push((name, error));
                continue;
            }
            if let Some(component) = before.components.get(&name) {
                registry.add_known(component.clone());
                continue;
            }
            if let Some(failure) =
                before.failures.iter().find(|(other, error)| *other == name && !error.may_be_mended_by_policy())
            {
                registry.failures.push(failure.clone());
                continue;
            }
            let loaded = Component::load(&folder, policies, facts, config, sandbox).map(Arc::new);
            if let Err(error) = loaded.and_then(|component| registry.add(component)) {
                tracing::warn!("component `{name}` is not loaded: {error}");
                registry.failures.push((name, Arc::new(error)));
            }
        }
        registry.tell_missing_guards();
        Ok(registry)
    }

    /// A guard, if there is one of this name.
    pub(crate) fn guard(&self, name: &ComponentName) -> Option<Arc<Component>> {
        self.components.get(name.as_str()).filter(|component| component.exports.is_guard()).cloned()
    }

    /// Guards may load after what they guard, so this is looked at when all have.
    fn tell_missing_guards(&self) {
        for component in self.components() {
            let rights = component.governance.rights();
            let guard = rights.policy.guard();
            for missing in guard.names().filter(|name| self.guard(name).is_none()) {
                let then = match guard.on_failure {
                    Unchecked::Block => "its requests are answered 503",
                    Unchecked::Pass => "its requests pass unchecked",
                };
                let (name, policy) = (component.name(), rights.policy.origin());
                tracing::error!(
                    "{policy} has component `{name}` guarded by `{missing}`, which is no guard that is loaded: {then}"
                );
            }
        }
    }

    fn add(&mut self, component: Arc<Component>) -> Result<(), LoadError> {
        let rights = component.governance.rights();
        let (granted, _) = rights.policy.routes(component.routes());
        if let Some((route, owner)) = granted.iter().find_map(|route| Some((route, self.routes.owner(route)?))) {
            return Err(LoadError::RouteTaken { route: route.to_string(), owner });
        }
        self.add_known(component);
        Ok(())
    }

    /// Adds a component that has served already: it goes on, if without a route that another has got since.
    fn add_known(&mut self, component: Arc<Component>) {
        let rights = component.governance.rights();
        let (granted, _) = rights.policy.routes(component.routes());
        for route in granted {
            match self.routes.owner(route) {
                None => self.routes.add(route, &component),
                Some(owner) => {
                    tracing::error!("the route `{route}` of component `{}` is taken by `{owner}`", component.name());
                }
            }
        }
        let name = component.name().to_string();
        self.order.push(name.clone());
        self.components.insert(name, component);
    }

    /// Records what is here and was not before, and what is not here any more.
    pub(crate) fn tell(&self, before: &Registry, audit: &Audit) {
        let told = |action: &str, record: Record| audit.note(Record { action: Some(action.into()), ..record });
        for (_, component) in self.components.iter().filter(|(name, _)| !before.components.contains_key(*name)) {
            let policy = Some(component.governance.rights().policy.hash().clone());
            told("loaded", Record { policy, ..component.governance.record(Kind::Component) });
        }
        for (_, component) in before.components.iter().filter(|(name, _)| !self.components.contains_key(*name)) {
            told("gone", component.governance.record(Kind::Component));
        }
        let is_new = |(name, error): &&(String, Arc<LoadError>)| {
            !before.failures.iter().any(|(other, known)| other == name && known.to_string() == error.to_string())
        };
        for (name, error) in self.failures.iter().filter(is_new) {
            let reason = Some(shorten(&error.to_string()));
            told("refused", Record { component: Some(shorten(name)), reason, ..Record::new(Kind::Component) });
        }
    }

    /// The components, in order of name.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.order.iter().map(|name| &self.components[name])
    }

    /// Whether the host answers this path itself.
    pub(crate) fn is_host_path(&self, path: &str) -> bool {
        let is_models = path.strip_prefix(MODELS_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_granted =
            || self.routes.exact.contains_key(path) || self.routes.prefixes.iter().any(|(prefix, _)| prefix == MODELS_PATH);
        HOST_PATHS.contains(&path) || is_admin_path(path) || is_models && !is_granted()
    }

    /// What didn't load.
    pub(crate) fn failures(&self) -> &[(String, Arc<LoadError>)] {
        &self.failures
    }

    /// Who answers a request: a granted route, or the component that `/c/NAME/…` names. Only a whole path goes before `/c/NAME`,
    /// so that a component always answers there; among prefixes the longest that takes the method wins.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let exact = self.routes.exact.get(path).map_or(&[][..], Vec::as_slice);
        let granted = |target: &Target| Found::Component { component: target.component.clone(), path_start: 0 };
        if let Some(target) = exact.iter().find(|target| target.takes(method)) {
            return granted(target);
        }
        let name = path.strip_prefix("/c/").map(|rest| rest.split('/').next().unwrap_or_default());
        let named = name.and_then(|name| self.components.get(name));
        if let Some(component) = named.filter(|component| component.exports.serves_http()) {
            let path_start = "/c/".len() + component.name().as_str().len();
            return Found::Component { component: component.clone(), path_start };
        }
        if let Some(target) = self.routes.below(path).find(|target| target.takes(method)) {
            return granted(target);
        }
        let mut others: Vec<&str> = exact.iter().chain(self.routes.below(path)).map(Target::method_name).collect();
        others.dedup(); // a path and a prefix of it may take the same
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others.join(", ")) }
    }
}

impl Target {
    fn takes(&self, method: &Method) -> bool {
        match &self.method {
            policy::Method::Any => true,
            policy::Method::One(one) => one == method.as_str() || one == "GET" && *method == Method::HEAD,
        }
    }

    fn method_name(&self) -> &str {
        match &self.method {
            policy::Method::Any => "*",
            policy::Method::One(method) => method,
        }
    }
}

impl Routes {
    /// Whose a route is already, wholly or in one method.
    fn owner(&self, route: &Route) -> Option<String> {
        if is_admin_path(route.path()) || !route.is_prefix() && HOST_PATHS.contains(&route.path()) {
            return Some("tessera itself".into());
        }
        let targets = match route.is_prefix() {
            true => self.prefixes.iter().find(|(path, _)| path == route.path()).map(|(_, targets)| targets),
            false => self.exact.get(route.path()),
        };
        let same = |target: &&Target| {
            target.method == *route.method() || target.method == policy::Method::Any || *route.method() == policy::Method::Any
        };
        targets?.iter().find(same).map(|target| target.component.name().to_string())
    }

    fn add(&mut self, route: &Route, component: &Arc<Component>) {
        let target = Target { method: route.method().clone(), component: component.clone() };
        if !route.is_prefix() {
            return self.exact.entry(route.path().into()).or_default().push(target);
        }
        match self.prefixes.iter_mut().find(|(path, _)| path == route.path()) {
            Some((_, targets)) => targets.push(target),
            None => self.prefixes.push((route.path().into(), vec![target])),
        }
        self.prefixes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    }

    /// What has a prefix of the path, the longest first.
    fn below(&self, path: &str) -> impl Iterator<Item = &Target> {
        let is_below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.prefixes.iter().filter(move |(prefix, _)| is_below(prefix)).flat_map(|(_, targets)| targets)
    }
}

fn folders(config: &ServerConfig) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(&config.components) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut folders: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    folders.retain(|folder| folder.join("component.toml").is_file());
    folders.sort();
    Ok(folders)
}
