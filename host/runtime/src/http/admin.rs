//! What operators see and change of components: `/admin/components`.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ::http::{Request, Response, StatusCode, Uri};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt, Limited};
use policy::ComponentName;
use policy::audit::{Kind, Record, shorten};
use serde_json::{Value, json};

use super::error;
use super::server::Shared;
use crate::audit;
use crate::component::files::Contents;
use crate::component::{Component, Manifest};
use crate::lifecycle::{ChangeError, Lifecycle};
use crate::package::{Package, PackageError, PackageLimits};

/// Lines of a journal in one answer, where nobody says how many.
const LINES_USUAL: usize = 100;

type App = State<Arc<Shared>>;

/// The routes of this file.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/admin/components", get(list).post(hand_in))
        .route("/admin/components/{name}", get(one).put(put).delete(remove))
        .route("/admin/components/{name}/versions", get(versions))
        .route("/admin/components/{name}/rollback", post(roll_back))
        .route("/admin/components/{name}/enable", post(enable))
        .route("/admin/components/{name}/disable", post(disable))
        .route("/admin/components/{name}/logs", get(logs))
        .route("/admin/components/{name}/metrics", get(metrics))
        .method_not_allowed_fallback(|| async {
            let message = "This route does not take that method.";
            error::response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
}

/// Every component that is served, refused or turned off.
async fn list(State(shared): App) -> Json<Value> {
    let registry = shared.registry.load();
    let disabled = shared.lifecycle.disabled();
    let served = registry.components().map(|component| component.name().to_string());
    let names: std::collections::BTreeSet<String> =
        served.chain(registry.refusals().keys().cloned()).chain(disabled.iter().cloned()).collect();
    let components: Vec<Value> = names.iter().map(|name| report(&shared, name)).collect();
    Json(json!({"components": components}))
}

async fn one(State(shared): App, Path(name): Path<String>) -> Response<Body> {
    match report(&shared, &name) {
        Value::Null => failed(&ChangeError::Unknown(name)),
        report => Json(report).into_response(),
    }
}

/// What is known of a component; null if nothing is.
fn report(shared: &Shared, name: &str) -> Value {
    let registry = shared.registry.load();
    let is_disabled = shared.lifecycle.disabled().contains(name);
    let (component, refusal) = (registry.component(name), registry.refusal(name));
    let state = match (component, refusal) {
        _ if is_disabled => "disabled",
        (Some(_), _) => "serving",
        (None, Some(_)) => "refused",
        (None, None) => return Value::Null,
    };
    let mut report = component.map_or_else(|| json!({"name": name}), served);
    report["state"] = json!(state);
    if let Some(refusal) = refusal.filter(|_| !is_disabled) {
        let (key, reason) = (if component.is_some() { "replacement_refused" } else { "refused" }, refusal.error.to_string());
        report[key] = json!(reason);
    }
    report
}

fn served(component: &Arc<Component>) -> Value {
    let manifest = &component.manifest;
    let rights = component.governance.rights();
    let (granted, _) = rights.policy.routes(component.routes());
    let own = component.exports.serves_http().then(|| policy::Route::of_component(&manifest.name));
    let routes: Vec<String> = granted.into_iter().chain(&own).map(ToString::to_string).collect();
    let since = component.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "name": manifest.name, "version": manifest.version, "description": manifest.description,
        "id": component.identity.id(), "digest": *component.digest, "signer": component.admitted.signer,
        "routes": routes, "capabilities": manifest.capabilities, "is_guard": component.exports.is_guard(),
        "policy": {"origin": rights.policy.origin(), "hash": **rights.policy.hash()}, "since": since,
    })
}

/// A parameter of the query.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A number of the query, or the usual one; none if it is no number.
fn number<T: std::str::FromStr>(uri: &Uri, name: &str, usual: T) -> Option<T> {
    parameter(uri, name).map_or(Some(usual), |text| text.parse().ok())
}

async fn hand_in(State(shared): App, request: Request<Body>) -> Response<Body> {
    let name = parameter(request.uri(), "name");
    deploy(shared, name, request).await
}

async fn put(State(shared): App, Path(name): Path<String>, request: Request<Body>) -> Response<Body> {
    deploy(shared, Some(name), request).await
}

/// Serves what the body holds.
async fn deploy(shared: Arc<Shared>, name: Option<String>, request: Request<Body>) -> Response<Body> {
    let bytes_max = PackageLimits::of(&shared.config).archive_bytes_max();
    let limited = Limited::new(request.into_body(), usize::try_from(bytes_max).unwrap_or(usize::MAX));
    let Ok(body) = limited.collect().await else { return error::body_too_large(bytes_max) };
    let limits = PackageLimits::of(&shared.config);
    let read = tokio::task::spawn_blocking(move || read(&body.to_bytes(), &limits)).await;
    let contents = match read {
        Ok(Ok(contents)) => contents,
        Ok(Err(error)) => return error::response(StatusCode::BAD_REQUEST, "invalid_package", &error.to_string()),
        Err(error) => return stopped(&error),
    };
    let named = match (&contents.manifest, name) {
        (Some(manifest), name) => name_of(manifest, name.as_deref()),
        (None, Some(name)) => name.parse().map_err(|cause: policy::NameError| cause.to_string()),
        (None, None) => Err("code without a manifest has no name: say ?name=NAME".into()),
    };
    let name: ComponentName = match named {
        Ok(name) => name,
        Err(reason) => return error::response(StatusCode::BAD_REQUEST, "invalid_component", &reason),
    };
    let is_new = shared.registry.load().component(name.as_str()).is_none();
    let deployed =
        change(&shared, "deploy", &name, move |lifecycle, shared, name| lifecycle.deploy(shared, name, contents)).await;
    match deployed {
        Ok(()) if is_new => (StatusCode::CREATED, Json(report(&shared, name.as_str()))).into_response(),
        Ok(()) => Json(report(&shared, name.as_str())).into_response(),
        Err(refused) => refused,
    }
}

/// What a body holds: a package, or code alone.
fn read(body: &[u8], limits: &PackageLimits) -> Result<Contents, PackageError> {
    match Package::is_package(body) {
        true => Ok(Package::read(body, limits)?.into()),
        false => Ok(Contents { manifest: None, code: body.into(), signature: None }),
    }
}

/// The name that a manifest says, which is also the one that was asked for.
fn name_of(manifest: &[u8], asked: Option<&str>) -> Result<ComponentName, String> {
    let text = std::str::from_utf8(manifest).map_err(|error| format!("component.toml is no text: {error}"))?;
    let manifest: Manifest = toml::from_str(text).map_err(|error| format!("component.toml is refused: {error}"))?;
    match asked.filter(|asked| *asked != manifest.name.as_str()) {
        Some(asked) => Err(format!("component.toml says `{}` and the request says `{asked}`", manifest.name)),
        None => Ok(manifest.name),
    }
}

async fn remove(State(shared): App, Path(name): Path<String>) -> Response<Body> {
    let changed = change_named(&shared, "remove", &name, |lifecycle, shared, name| lifecycle.remove(shared, name.as_str()));
    done(&shared, &name, changed.await)
}

async fn enable(State(shared): App, Path(name): Path<String>) -> Response<Body> {
    let changed = change_named(&shared, "enable", &name, |lifecycle, shared, name| lifecycle.disable(shared, name, false));
    done(&shared, &name, changed.await)
}

async fn disable(State(shared): App, Path(name): Path<String>) -> Response<Body> {
    let changed = change_named(&shared, "disable", &name, |lifecycle, shared, name| lifecycle.disable(shared, name, true));
    done(&shared, &name, changed.await)
}

/// Goes back to the version `to`, or else to the one before this.
async fn roll_back(State(shared): App, Path(name): Path<String>, uri: Uri) -> Response<Body> {
    let to = parameter(&uri, "to");
    let changed = change_named(&shared, "rollback", &name, move |lifecycle, shared, name| {
        lifecycle.roll_back(shared, name, to.as_deref())
    });
    done(&shared, &name, changed.await)
}

/// What has run of a component, the latest first.
async fn versions(State(shared): App, Path(name): Path<String>) -> Response<Body> {
    let told = tokio::task::spawn_blocking(move || told_versions(&shared, &name)).await;
    told.unwrap_or_else(|error| stopped(&error))
}

/// The same, on a thread that may read files.
fn told_versions(shared: &Shared, name: &str) -> Response<Body> {
    let runs = match shared.lifecycle.runs(shared, name) {
        Ok(runs) if runs.is_empty() => return failed(&ChangeError::Unknown(name.into())),
        Ok(runs) => runs,
        Err(error) => return failed(&error),
    };
    let current = shared.registry.load().component(name).map(|component| component.identity.id());
    let row = |run: &crate::component::record::Run| {
        json!({
            "id": run.id(), "version": run.version, "digest": run.digest, "signer": run.signer, "since": run.first_unix_s,
            "is_current": current.as_ref() == Some(&run.id()), "is_kept": shared.lifecycle.is_kept(name, run),
        })
    };
    let versions: Vec<Value> = runs.iter().rev().map(row).collect();
    Json(json!({"name": name, "versions": versions})).into_response()
}

/// The last lines of a component's journal: those after the number `after`, at most `limit`.
async fn logs(State(shared): App, Path(name): Path<String>, uri: Uri) -> Response<Body> {
    let (Some(after), Some(limit)) = (number(&uri, "after", 0), number(&uri, "limit", LINES_USUAL)) else {
        return error::response(StatusCode::BAD_REQUEST, "invalid_parameter", "`after` and `limit` are numbers");
    };
    match shared.sandbox.journals.find(&name) {
        Some(journal) => Json(json!({"name": name, "lines": journal.after(after, limit)})).into_response(),
        None => failed(&ChangeError::Unknown(name)),
    }
}

/// What a component has used since the start.
async fn metrics(State(shared): App, Path(name): Path<String>) -> Response<Body> {
    match shared.metrics.ledgers().usage().remove(&name) {
        Some(usage) => Json(json!({"name": name, "since": shared.started, "usage": usage})).into_response(),
        None => failed(&ChangeError::Unknown(name)),
    }
}

/// Makes a change on a thread that may block, recorded before it is made.
async fn change(
    shared: &Arc<Shared>,
    action: &str,
    name: &ComponentName,
    make: impl FnOnce(&Lifecycle, &Shared, &ComponentName) -> Result<(), ChangeError> + Send + 'static,
) -> Result<(), Response<Body>> {
    let record =
        Record { action: Some(action.into()), component: Some(shorten(name.as_str())), ..Record::new(Kind::Component) };
    shared.sandbox.audit.administered(record).await.map_err(|_| audit::unavailable())?;
    let (shared, name) = (shared.clone(), name.clone());
    let made = tokio::task::spawn_blocking(move || make(&shared.lifecycle, &shared, &name)).await;
    match made {
        Ok(made) => made.map_err(|error| failed(&error)),
        Err(error) => Err(stopped(&error)),
    }
}

async fn change_named(
    shared: &Arc<Shared>,
    action: &str,
    name: &str,
    make: impl FnOnce(&Lifecycle, &Shared, &ComponentName) -> Result<(), ChangeError> + Send + 'static,
) -> Result<(), Response<Body>> {
    match name.parse() {
        Ok(name) => change(shared, action, &name, make).await,
        Err(_) => Err(failed(&ChangeError::Unknown(name.into()))),
    }
}

/// What a component is after a change.
fn done(shared: &Shared, name: &str, changed: Result<(), Response<Body>>) -> Response<Body> {
    match changed {
        Err(refused) => refused,
        Ok(()) => match report(shared, name) {
            Value::Null => Json(json!({"name": name, "state": "removed"})).into_response(),
            report => Json(report).into_response(),
        },
    }
}

/// The work for a request stopped half-way: a mistake of the server's own.
fn stopped(error: &tokio::task::JoinError) -> Response<Body> {
    tracing::error!(%error, "an operator's request could not be finished");
    error::response(StatusCode::INTERNAL_SERVER_ERROR, "change_failed", "the request could not be finished")
}

fn failed(error: &ChangeError) -> Response<Body> {
    let (status, code) = match error {
        ChangeError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_component"),
        ChangeError::NoVersion(_) => (StatusCode::NOT_FOUND, "unknown_version"),
        ChangeError::Busy(_) => (StatusCode::CONFLICT, "component_busy"),
        ChangeError::Disabled(_) => (StatusCode::CONFLICT, "component_disabled"),
        ChangeError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "component_refused"),
        ChangeError::Folder(_) => (StatusCode::CONFLICT, "components_folder"),
        ChangeError::Record(_) => (StatusCode::INTERNAL_SERVER_ERROR, "record"),
    };
    error::response(status, code, &error.to_string())
}
