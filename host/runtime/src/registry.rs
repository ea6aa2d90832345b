//! Which components there are, and which of them answers a request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::http::Method;
use policy::audit::{Kind, Record, shorten};
use policy::{ComponentName, Facts, Policies, Route, Unchecked};

use crate::audit::Audit;
use crate::component::{Component, LoadError};
use crate::lifecycle::Stamps;

/// The host's own paths: no component gets one, whatever its policy says.
const HOST_PATHS: [&str; 11] = [
    "/health",
    "/ready",
    "/metrics",
    "/admin/models",
    "/admin/usage",
    "/docs",
    "/mcp",
    "/openapi.json",
    "/v1/health_check",
    "/v1/list_service",
    "/v1/statistics",
];

/// Whether only operators may read a path: the host's own, all of them.
pub(crate) fn is_admin_path(path: &str) -> bool {
    path == "/metrics" || path.strip_prefix("/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where models are listed: by the component that has been granted this path, or else by the host.
const MODELS_PATH: &str = "/v1/models";

/// All components and their routes, as they were loaded and under the policies of one moment.
#[derive(Default, Clone)]
pub(crate) struct Registry {
    components: BTreeMap<String, Arc<Component>>,
    refusals: BTreeMap<String, Refusal>,
    routes: Routes,
}

/// Files that are there and not served, whether or not an older state of them is.
#[derive(Clone)]
pub(crate) struct Refusal {
    /// Why not.
    pub(crate) error: Arc<LoadError>,
    /// What the files were.
    pub(crate) stamps: Stamps,
    /// Which policies held then: others may let it load.
    pub(crate) policies: u64,
}

/// Granted routes besides `/c/NAME/*`.
#[derive(Default, Clone)]
struct Routes {
    exact: HashMap<String, Vec<Target>>,
    /// Longest prefix first.
    prefixes: Vec<(String, Vec<Target>)>,
}

#[derive(Clone)]
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
    /// These components, and of the refusals those that are no other's now. A route that two have been granted is the first one's.
    fn of(components: impl IntoIterator<Item = Arc<Component>>, refusals: BTreeMap<String, Refusal>) -> Registry {
        let mut registry = Registry { refusals, ..Registry::default() };
        components.into_iter().for_each(|component| registry.add_known(component));
        registry
    }

    /// The same under other policies: requests inside go on under the one they began with. What the policies don't let run any more
    /// is out.
    pub(crate) fn govern(&self, policies: &Policies, facts: &dyn Facts, generation: u64) -> Registry {
        let (mut kept, mut refusals) = (Vec::new(), self.refusals.clone());
        for (name, component) in &self.components {
            match component.govern(policies, facts) {
                Err(error) if error.ends_service() => {
                    tracing::error!("component `{name}` is stopped: {error}");
                    let stamps = self.refusals.get(name).map_or_else(|| component.stamps(), |refusal| refusal.stamps);
                    refusals.insert(name.clone(), Refusal { error: Arc::new(error), stamps, policies: generation });
                }
                Err(error) => {
                    tracing::error!("component `{name}` keeps the policy that it had: {error}");
                    kept.push(component.clone());
                }
                Ok(()) => kept.push(component.clone()),
            }
        }
        Registry::of(kept, refusals)
    }

    /// The same with another component, in the place of the one of its name.
    ///
    /// # Errors
    /// When it has been granted a route that is somebody else's.
    pub(crate) fn with(&self, component: &Arc<Component>) -> Result<Registry, LoadError> {
        let mut next = self.without(&[component.name().as_str()]);
        next.add(component.clone())?;
        Ok(next)
    }

    /// The same without some components, and without what is known of their files.
    pub(crate) fn without(&self, names: &[&str]) -> Registry {
        let stays = |name: &&String| !names.contains(&name.as_str());
        let kept = self.components.iter().filter(|(name, _)| stays(name)).map(|(_, component)| component.clone());
        let refusals = self.refusals.iter().filter(|(name, _)| stays(name));
        Registry::of(kept.collect::<Vec<_>>(), refusals.map(|(name, refusal)| (name.clone(), refusal.clone())).collect())
    }

    /// Notes that a component's files are not served; what is served of it stays.
    pub(crate) fn refuse(&mut self, name: &str, refusal: Refusal) {
        self.refusals.insert(name.into(), refusal);
    }

    /// Forgets that a component's files were not served.
    pub(crate) fn accept(&mut self, name: &str) {
        self.refusals.remove(name);
    }

    /// A component by its name.
    pub(crate) fn component(&self, name: &str) -> Option<&Arc<Component>> {
        self.components.get(name)
    }

    /// Why the files of a component, as they are now, are not served.
    pub(crate) fn refusal(&self, name: &str) -> Option<&Refusal> {
        self.refusals.get(name)
    }

    /// A guard, if there is one of this name.
    pub(crate) fn guard(&self, name: &ComponentName) -> Option<Arc<Component>> {
        self.components.get(name.as_str()).filter(|component| component.exports.is_guard()).cloned()
    }

    /// Guards may load after what they guard, so this is looked at when all have.
    pub(crate) fn tell_missing_guards(&self) {
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

    /// Adds a component.
    ///
    /// # Errors
    /// When it has been granted a route that is somebody else's.
    pub(crate) fn add(&mut self, component: Arc<Component>) -> Result<(), LoadError> {
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
        self.components.insert(component.name().to_string(), component);
    }

    /// Records what is here and was not before, and what is not here any more.
    pub(crate) fn tell(&self, before: &Registry, audit: &Audit) {
        let told = |action: &str, record: Record| audit.note(Record { action: Some(action.into()), ..record });
        for (name, component) in &self.components {
            let action = match before.components.get(name) {
                Some(other) if Arc::ptr_eq(other, component) => continue,
                Some(_) => "replaced",
                None => "loaded",
            };
            let policy = Some(component.governance.rights().policy.hash().clone());
            told(action, Record { policy, ..component.governance.record(Kind::Component) });
        }
        for (_, component) in before.components.iter().filter(|(name, _)| !self.components.contains_key(*name)) {
            told("gone", component.governance.record(Kind::Component));
        }
        for (name, refusal) in &self.refusals {
            let error = refusal.error.to_string();
            if before.refusals.get(name).is_none_or(|known| known.error.to_string() != error) {
                let (component, reason) = (Some(shorten(name)), Some(shorten(&error)));
                told("refused", Record { component, reason, ..Record::new(Kind::Component) });
            }
        }
    }

    /// The components, in order of name.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.components.values()
    }

    /// Whether the host answers this path itself.
    pub(crate) fn is_host_path(&self, path: &str) -> bool {
        let is_models = path.strip_prefix(MODELS_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_granted =
            || self.routes.exact.contains_key(path) || self.routes.prefixes.iter().any(|(prefix, _)| prefix == MODELS_PATH);
        HOST_PATHS.contains(&path) || is_admin_path(path) || is_models && !is_granted()
    }

    /// What is there and not served, by the name of the component.
    pub(crate) fn refusals(&self) -> &BTreeMap<String, Refusal> {
        &self.refusals
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
