//! The host's own routes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use ::http::{Response, StatusCode, header};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use store::StoreError;

use super::request::Visitor;
use super::server::Shared;
use super::{admin, describe, error, mcp};
use crate::erase::{self, EraseError, Erased, Kept};
use crate::registry::Refusal;
use crate::{audit, auth};

const MODELS_OWNER: &str = "tessera";

/// The routes of the host; everything else goes to components.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", only(get(|| async {})))
        .route("/ready", only(get(ready)))
        .route("/metrics", only(get(metrics)))
        .route("/admin/models", only(get(admin_models)))
        .route("/admin/usage", only(get(usage)))
        .route("/admin/tenants/{tenant}", delete(erase))
        .route("/v1/models", only(get(models)))
        .route("/v1/models/{name}", only(get(model)))
        .route("/v1/health_check", only(get(health_check)))
        .route("/v1/list_service", only(get(list_service)))
        .route("/v1/statistics", only(get(statistics)))
        .merge(admin::router())
        .route("/openapi.json", only(get(describe::server)))
        .route("/docs", only(get(describe::page)))
        .route("/mcp", mcp::route(&shared))
        .fallback(|| async { error::nothing_here() })
        .with_state(shared)
}

/// A wrong method on one of these is answered in JSON too; axum adds `Allow`.
fn only(route: MethodRouter<Arc<Shared>>) -> MethodRouter<Arc<Shared>> {
    route.fallback(|| async { error::response(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This route takes GET.") })
}

/// Answers only while requests are served: a server that is shutting down takes no connections.
async fn ready() -> Json<Value> {
    Json(json!({"status": "ready"}))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let mut text = String::new();
    match shared.metrics.encode(&mut text) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(_) => error::response(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "the metrics could not be written"),
    }
}

/// What each component and each tenant has used since the start, and what policies give the components.
async fn usage(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let registry = shared.registry.load();
    let quotas = registry.components().map(|component| (component.name().as_str(), component.governance.rights()));
    let quotas: HashMap<_, _> = quotas.collect();
    let told = |(name, usage): (String, policy::Usage)| {
        let quota = quotas.get(name.as_str()).map(|rights| rights.policy.quota());
        let mut told = json!(usage);
        told["quota"] = json!(quota);
        (name, told)
    };
    let components: BTreeMap<String, Value> = shared.metrics.ledgers().usage().into_iter().map(told).collect();
    let tenants = shared.metrics.tenants().usage();
    Json(json!({"since": shared.started, "components": components, "tenants": tenants}))
}

/// Deletes what the server keeps of a tenant. The audit log says before that it begins, and after that it is done.
async fn erase(State(shared): State<Arc<Shared>>, tenant: Result<Path<String>, PathRejection>) -> Response<Body> {
    let tenant = tenant.map_or_else(|_| String::new(), |Path(tenant)| tenant);
    if let Err(refused) = tenant.parse::<policy::Tenant>() {
        return error::response(StatusCode::BAD_REQUEST, "invalid_tenant", &refused.to_string());
    }
    let audit = &shared.sandbox.audit;
    if audit.administered(erase::erasure("begin", &tenant, &[])).await.is_err() {
        return audit::unavailable();
    }
    let Some(stores) = shared.sandbox.stores.load_full() else { return audit::unavailable() };
    let (server, name) = (shared.clone(), tenant.clone());
    let erase = move || {
        let forget_keys = || {
            if let Some(auth) = &server.auth {
                auth::reload_keys(auth, &server.config.keys_file(), &server.sandbox.audit);
            }
        };
        let kept = Kept { data: &server.config.data, stores: stores.erase.as_ref(), forget_keys: &forget_keys };
        erase::erase_tenant(&kept, &name)
    };
    let failed = |status, reason: String| {
        tracing::error!(tenant, "not all of a tenant's data could be deleted: {reason}");
        audit.note(erase::erasure("failed", &tenant, &[]));
        error::response(status, "not_erased", &reason)
    };
    match tokio::task::spawn_blocking(erase).await {
        Ok(Ok(erased)) => match audit.administered(erase::erasure("done", &tenant, &erased)).await {
            Ok(()) => Json(json!({"tenant": tenant, "erased": counts(&erased)})).into_response(),
            Err(_) => audit::unavailable(),
        },
        Ok(Err(error @ EraseError::Store(StoreError::Overloaded))) => {
            failed(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        Ok(Err(error)) => failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(panicked) => failed(StatusCode::INTERNAL_SERVER_ERROR, panicked.to_string()),
    }
}

fn counts(erased: &[Erased]) -> BTreeMap<&'static str, u64> {
    erased.iter().map(|erased| (erased.place, erased.entries)).collect()
}

fn model_object(card: &engine::ModelCard, created: u64) -> Value {
    json!({
        "id": card.name, "object": "model", "created": created, "owned_by": MODELS_OWNER,
        "task": card.task, "dimensions": card.dimensions, "max_input_tokens": card.tokens_max,
        "digest": card.digest,
    })
}

/// Whether a caller may have a model run at all: to others it is not there.
fn is_for(visitor: &Visitor, card: &engine::ModelCard) -> bool {
    card.name.parse().is_ok_and(|name| visitor.caller.may_use(&name).is_ok())
}

/// The registry of models: what each is, and where it came from.
async fn admin_models(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let row = |card: &engine::ModelCard| {
        let mut row = json!(card.origin);
        if !row.is_object() {
            row = json!({});
        }
        for (key, value) in [
            ("name", json!(card.name)),
            ("task", json!(card.task)),
            ("family", json!(card.family)),
            ("digest", json!(card.digest)),
            ("is_recorded", json!(card.origin.is_some())),
        ] {
            row[key] = value;
        }
        row
    };
    let models: Vec<Value> = shared.inference.models().iter().map(row).collect();
    Json(json!({"models": models}))
}

async fn models(State(shared): State<Arc<Shared>>, Extension(visitor): Extension<Visitor>) -> Json<Value> {
    let cards = shared.inference.models();
    let listed = cards.iter().filter(|card| is_for(&visitor, card));
    let data: Vec<Value> = listed.map(|card| model_object(card, shared.started)).collect();
    Json(json!({"object": "list", "data": data}))
}

async fn model(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    name: Result<Path<String>, PathRejection>,
) -> Response<Body> {
    // A name that isn't UTF-8 is nobody's.
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    match shared.inference.model(&name).filter(|card| is_for(&visitor, card)) {
        Some(card) => Json(model_object(&card, shared.started)).into_response(),
        None => {
            let mut message = String::from("The model `");
            let _ = write!(message, "{}` does not exist.", name.chars().take(128).collect::<String>());
            error::response(StatusCode::NOT_FOUND, "model_not_found", &message)
        }
    }
}

/// OPEA's C01.
async fn health_check() -> Json<Value> {
    Json(json!({
        "Service Title": "tessera",
        "Version": env!("CARGO_PKG_VERSION"),
        "Service Description": "A self-hosted AI platform: sandboxed components, models on Burn",
    }))
}

/// What the last requests to each component that the caller may ask took, as OPEA tells it.
async fn statistics(State(shared): State<Arc<Shared>>, Extension(visitor): Extension<Visitor>) -> Json<Value> {
    let registry = shared.registry.load();
    let may_ask = |component: &&Arc<crate::component::Component>| visitor.caller.may_ask(component.name()).is_ok();
    let names = registry.components().filter(may_ask).map(|component| component.name().as_str());
    let told = names.filter_map(|name| Some((name, shared.metrics.recent.statistics(name)?)));
    Json(json!(told.collect::<BTreeMap<_, _>>()))
}

/// What OPEA's API specification promises: every service that the caller may ask, with its routes. What did not load is told to
/// operators.
async fn list_service(State(shared): State<Arc<Shared>>, Extension(visitor): Extension<Visitor>) -> Json<Value> {
    let service = |component: &Arc<crate::component::Component>| {
        let manifest = &component.manifest;
        let functions = component.exports.functions();
        let own = component.exports.serves_http().then(|| policy::Route::of_component(&manifest.name));
        let routes: Vec<String> = component.routes().iter().chain(&own).map(ToString::to_string).collect();
        json!({
            "name": manifest.name, "version": manifest.version, "description": manifest.description,
            "routes": routes, "capabilities": manifest.capabilities, "status": "ready",
            "digest": *component.digest, "signer": component.admitted.signer,
            "functions": functions.iter().map(|function| &function.path).collect::<Vec<_>>(),
            "unexposed": functions.unexposed().iter().map(|unexposed| (&unexposed.path, &unexposed.reason)).collect::<BTreeMap<_, _>>(),
        })
    };
    let registry = shared.registry.load();
    let failed = |(name, refusal): (&String, &Refusal)| {
        let reason = refusal.error.to_string();
        let status = if registry.component(name).is_some() { "replacement not loaded" } else { "not loaded" };
        json!({"name": name, "status": status, "reason": reason.lines().next().unwrap_or_default()})
    };
    let refusals = visitor.caller.is_admin().then(|| registry.refusals());
    let may_ask = |component: &&Arc<crate::component::Component>| visitor.caller.may_ask(component.name()).is_ok();
    let services = registry.components().filter(may_ask).map(service).chain(refusals.into_iter().flatten().map(failed));
    let services: Vec<Value> = services.collect();
    Json(json!({"services": services}))
}
