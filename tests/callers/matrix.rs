//! Every kind of caller at every kind of route.

use policy::NewKey;
use serde_json::{Value, json};
use tests::TestServer;

use super::issuer::Issuer;
use super::{Guarded, TestKey, add, get, new_key, now};

/// What a caller's credential is worth.
#[derive(Clone, Copy)]
enum Worth {
    /// It is none.
    Nothing,
    /// It is refused.
    Refused,
    /// It lets in: to these components, with these models, and as an operator or not.
    Good { components: &'static [&'static str], models: &'static [&'static str], is_admin: bool },
}

const ALL: Worth = Worth::Good { components: &["echo", "probe"], models: &["fake", "other"], is_admin: false };

struct Visitor {
    name: &'static str,
    credential: Option<String>,
    worth: Worth,
}

/// What a route needs.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// Any good credential.
    Credential,
    Component(&'static str),
    /// The right to ask `probe`, and to this model.
    Model(&'static str),
    Admin,
    /// It is not there.
    Unknown,
}

const ROUTES: [(&str, &str, Needs); 21] = [
    ("GET", "/health", Needs::Nothing),
    ("HEAD", "/ready", Needs::Nothing),
    ("GET", "/headers", Needs::Nothing), // public, and granted to echo
    ("POST", "/health", Needs::Unknown),
    ("GET", "/v1/models", Needs::Credential),
    ("GET", "/v1/list_service", Needs::Credential),
    ("GET", "/v1/statistics", Needs::Credential),
    ("GET", "/v1/health_check", Needs::Credential),
    ("GET", "/c/echo/hello", Needs::Component("echo")),
    ("GET", "/hello", Needs::Component("echo")),
    ("GET", "/c/echo/headers", Needs::Component("echo")),
    ("GET", "/c/probe/config", Needs::Component("probe")),
    ("POST fake", "/c/probe/embed", Needs::Model("fake")),
    ("POST other", "/c/probe/embed", Needs::Model("other")),
    ("GET", "/metrics", Needs::Admin),
    ("GET", "/admin/usage", Needs::Admin),
    ("GET", "/admin/nothing", Needs::Admin),
    ("GET", "/nothing", Needs::Unknown),
    ("GET", "/c/nobody/x", Needs::Unknown),
    ("GET", "//health", Needs::Unknown),
    ("GET", "/%68ealth", Needs::Unknown),
];

/// The status that is due.
fn expected(worth: Worth, method: &str, path: &str, needs: Needs) -> u16 {
    let Worth::Good { components, models, is_admin } = worth else {
        let is_let_in = matches!((worth, needs), (Worth::Nothing, Needs::Nothing));
        return if is_let_in { 200 } else { 401 };
    };
    let of = |component| if components.contains(&component) { 200 } else { 403 };
    match needs {
        // Public for who has nothing; who comes with a key is held to what the key allows.
        Needs::Nothing if path == "/headers" => of("echo"),
        Needs::Nothing | Needs::Credential => 200,
        Needs::Component(component) => of(component),
        Needs::Model(model) if of("probe") == 200 && !models.contains(&model) => 404,
        Needs::Model(_) => of("probe"),
        Needs::Admin if !is_admin => 403,
        Needs::Admin if path == "/admin/nothing" => 404,
        Needs::Admin => 200,
        Needs::Unknown if method == "POST" => 405,
        Needs::Unknown => 404,
    }
}

fn ask(server: &TestServer, method: &str, path: &str, credential: Option<&str>) -> u16 {
    let bearer = credential.map(|credential| format!("Bearer {credential}"));
    let mut headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    let (method, model) = method.split_once(' ').unwrap_or((method, ""));
    let body = match model {
        "" => Vec::new(),
        model => json!({"text": "abc", "model": model}).to_string().into_bytes(),
    };
    headers.push(("content-type", "application/json"));
    server.send(method, path, &headers, &body).status
}

fn with_keys(guarded: &Guarded) -> Vec<Visitor> {
    let list = |names: &str| names.parse().expect("a list");
    let models = |names: &str| names.parse().expect("a list");
    let of = |name, key: &TestKey, worth| Visitor { name, credential: Some(key.text.clone()), worth };
    let expired = add(&guarded.keys, NewKey { seconds: Some(60), ..new_key("acme") }, now() - 61);
    let revoked = guarded.key(new_key("acme"));
    policy::Keys::change(&guarded.keys, |keys| keys.revoke(&revoked.id, now())).expect("revoked");
    let good = guarded.key(new_key("acme"));
    let one_component = guarded.key(NewKey { components: list("echo"), ..new_key("acme") });
    let one_model = guarded.key(NewKey { models: models("fake"), ..new_key("acme") });
    let narrow = guarded.key(new_key("narrow"));
    let narrower = guarded.key(NewKey { models: models("other"), ..new_key("narrow") });
    let admin = guarded.key(NewKey { is_admin: true, ..new_key("ops") });
    let altered = format!("{}x", &good.text[..good.text.len() - 1]);
    let garbage = |name, text: &str| Visitor { name, credential: Some(text.into()), worth: Worth::Refused };
    vec![
        Visitor { name: "nobody", credential: None, worth: Worth::Nothing },
        garbage("garbage", "garbage"),
        garbage("an id alone", &format!("tessera_{}_", good.id)),
        garbage("an altered key", &altered),
        garbage("a long one", &"x".repeat(20_000)),
        of("an expired key", &expired, Worth::Refused),
        of("a revoked key", &revoked, Worth::Refused),
        of("a key", &good, ALL),
        of(
            "a key for echo",
            &one_component,
            Worth::Good { components: &["echo"], models: &["fake", "other"], is_admin: false },
        ),
        of("a key for fake", &one_model, Worth::Good { components: &["echo", "probe"], models: &["fake"], is_admin: false }),
        of("a key of a narrow tenant", &narrow, Worth::Good { components: &["probe"], models: &["fake"], is_admin: false }),
        of("a key that is narrower", &narrower, Worth::Good { components: &["probe"], models: &[], is_admin: false }),
        of("an operator", &admin, Worth::Good { components: &["echo", "probe"], models: &["fake", "other"], is_admin: true }),
    ]
}

fn with_tokens(issuer: &Issuer) -> Vec<Visitor> {
    let changed = |claim: &'static str, value: Value| issuer.token("ES256", "ec", |claims| claims[claim] = value);
    let good = issuer.good();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{message}.{first}{}", &signature[1..]);
    let other = Issuer::start();
    let foreign = other.token("ES256", "ec", |claims| claims["iss"] = json!(issuer.url));
    let echo = Worth::Good { components: &["echo"], models: &[], is_admin: false };
    let ops = Worth::Good { components: &["echo", "probe"], models: &["fake"], is_admin: true };
    [
        ("ES256", good.clone(), ALL),
        ("EdDSA", issuer.token("EdDSA", "ed", |_| ()), ALL),
        ("RS256", issuer.token("RS256", "rsa", |_| ()), ALL),
        ("PS256", issuer.token("PS256", "rsa", |_| ()), ALL),
        ("a token with a scope", changed("scope", json!("openid component:echo")), echo),
        ("an operator's token", changed("scope", json!(["component:*", "model:fake", "admin"])), ops),
        ("an expired token", changed("exp", json!(now() - 120)), Worth::Refused),
        ("a token of tomorrow", changed("nbf", json!(now() + 3600)), Worth::Refused),
        ("another audience", changed("aud", json!("other")), Worth::Refused),
        ("another issuer", changed("iss", json!("https://id.example/")), Worth::Refused),
        ("no tenant", changed("tenant", json!(null)), Worth::Refused),
        ("a tenant with a path", changed("tenant", json!("../acme")), Worth::Refused),
        ("alg none", issuer.token("none", "ec", |_| ()), Worth::Refused),
        ("HMAC with the public key", issuer.token("HS256", "rsa", |_| ()), Worth::Refused),
        ("a key for another algorithm", issuer.token("ES256", "rsa", |_| ()), Worth::Refused),
        ("an altered signature", altered, Worth::Refused),
        ("no signature", format!("{message}."), Worth::Refused),
        ("signed by another issuer", foreign, Worth::Refused),
    ]
    .map(|(name, token, worth)| Visitor { name, credential: Some(token), worth })
    .into()
}

#[test]
fn every_caller_gets_what_is_due_at_every_route() {
    let issuer = Issuer::start();
    let guarded = Guarded::new().tenant("narrow", "schema = 1\ncomponents = [\"probe\"]\nmodels = [\"fake\"]\n");
    let guarded = guarded.configure(|config| {
        config.auth.public.push("GET /headers".parse().expect("a route"));
        config.auth.oidc.push(issuer.config());
    });
    let visitors: Vec<Visitor> = with_keys(&guarded).into_iter().chain(with_tokens(&issuer)).collect();
    let server = guarded.start();
    let mut wrong = Vec::new();
    for Visitor { name, credential, worth } in &visitors {
        for (method, path, needs) in ROUTES {
            let (due, status) = (expected(*worth, method, path, needs), ask(&server, method, path, credential.as_deref()));
            if status != due {
                wrong.push(format!("{name}: {method} {path} answers {status}, not {due}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), visitors.len() * ROUTES.len(), wrong.join("\n"));
    assert_eq!(issuer.fetches(), 1, "its keys were fetched once for all of them");
}

#[test]
fn a_key_that_the_issuer_has_since_is_fetched_at_once_and_others_are_not_asked_for_again_and_again() {
    let issuer = Issuer::start();
    let server = Guarded::new().configure(|config| config.auth.oidc.push(issuer.config())).start();
    let old = issuer.good();
    assert_eq!(get(&server, "/c/echo/hello", &old).status, 200);
    issuer.rotate("-2");
    let new = issuer.token("ES256", "ec-2", |_| ());
    assert_eq!(get(&server, "/c/echo/hello", &new).status, 200, "the new key is there at once");
    assert_eq!(get(&server, "/c/echo/hello", &old).status, 401, "the old one is taken back with what it has signed");
    for number in 0..20 {
        let unknown = issuer.token("ES256", &format!("unknown-{number}"), |_| ());
        assert_eq!(get(&server, "/c/echo/hello", &unknown).status, 401);
    }
    assert_eq!(issuer.fetches(), 2, "one look in ten seconds");
}

#[test]
fn callers_at_once_share_one_fetch() {
    let issuer = Issuer::start();
    let server = Guarded::new().configure(|config| config.auth.oidc.push(issuer.config())).start();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (server, token) =
                (&server, issuer.token("EdDSA", "ed", |claims| claims["sub"] = json!(format!("user {number}"))));
            scope.spawn(move || assert_eq!(get(server, "/c/echo/hello", &token).status, 200));
        }
    });
    assert_eq!(issuer.fetches(), 1);
}

#[test]
fn an_issuer_that_is_away_lets_nobody_in_and_harms_no_keys() {
    let issuer = Issuer::start();
    let guarded = Guarded::new().configure(|config| {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let mut oidc = issuer.config();
        oidc.issuer = format!("http://{nobody}");
        config.auth.oidc.push(oidc);
    });
    let key = guarded.key(new_key("acme"));
    let away = guarded.setup.config.auth.oidc[0].issuer.clone();
    let server = guarded.start();
    let token = issuer.token("ES256", "ec", |claims| claims["iss"] = json!(away));
    assert_eq!(get(&server, "/c/echo/hello", &token).status, 401);
    assert_eq!(get(&server, "/c/echo/hello", &key.text).status, 200);
}
