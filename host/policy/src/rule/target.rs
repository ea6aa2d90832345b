//! What an action is done to, as rules see it: a resource with its attributes.
//!
//! One thing has one name here, however it was written: a rule about `/admin` would mean little if `/%61dmin` or `//admin` went
//! past it.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use url::Url;

use crate::StoreVerb;
use crate::action::Action;

/// The types of entities in `schema.cedarschema`.
pub(super) struct Types {
    pub(super) action: EntityTypeName,
    pub(super) component: EntityTypeName,
    model: EntityTypeName,
    url: EntityTypeName,
    file: EntityTypeName,
    secret: EntityTypeName,
    setting: EntityTypeName,
    callee: EntityTypeName,
    store: EntityTypeName,
    container: EntityTypeName,
    collection: EntityTypeName,
    log: EntityTypeName,
}

pub(super) static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let named = |name: &str| name.parse().expect("an identifier is a name of a type");
    Types {
        action: named("Action"),
        component: named("Component"),
        model: named("Model"),
        url: named("Url"),
        file: named("File"),
        secret: named("Secret"),
        setting: named("Setting"),
        callee: named("Callee"),
        store: named("Store"),
        container: named("Container"),
        collection: named("Collection"),
        log: named("Log"),
    }
});

/// The entity of a type with an id.
pub(super) fn entity(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// What an action is done to: the entity and its attributes. None for an action that rules can't ask about.
pub(super) fn resource(action: &Action<'_>) -> Option<(EntityUid, Vec<(String, RestrictedExpression)>)> {
    let one = |kind, id: &str, attribute| (entity(kind, id), vec![text(attribute, id)]);
    Some(match action {
        Action::Classify(name)
        | Action::Embed(name)
        | Action::Rerank(name)
        | Action::Generate(name)
        | Action::Tokenize(name)
        | Action::Nn(name) => one(&TYPES.model, name, "name"),
        Action::Http { url, .. } => {
            let port = i64::from(url.port_or_known_default().unwrap_or_default());
            let attributes = vec![
                text("scheme", url.scheme()),
                text("host", host(url)),
                ("port".into(), RestrictedExpression::new_long(port)),
                text("path", &url_path(url)),
            ];
            (entity(&TYPES.url, &url_id(url)), attributes)
        }
        Action::Read(path) | Action::Write(path) => one(&TYPES.file, &file_path(path), "path"),
        Action::Secret(name) => one(&TYPES.secret, name, "name"),
        Action::Config(key) => one(&TYPES.setting, key, "key"),
        Action::Call(callee) => {
            let attributes =
                vec![text("component", callee.component().as_str()), text("interface", callee.interface().unwrap_or_default())];
            (entity(&TYPES.callee, callee.component().as_str()), attributes)
        }
        Action::Store { verb: StoreVerb::Kv(_), name } => one(&TYPES.store, name, "name"),
        Action::Store { verb: StoreVerb::Blob(_), name } => one(&TYPES.container, name, "name"),
        Action::Store { verb: StoreVerb::Vector(_), name } => one(&TYPES.collection, name, "name"),
        Action::Log => (entity(&TYPES.log, "log"), Vec::new()),
        Action::Socket(_) => return None,
    })
}

pub(super) fn text(name: &str, value: &str) -> (String, RestrictedExpression) {
    (name.into(), RestrictedExpression::new_string(value.into()))
}

/// A URL without credentials, query and fragment, its path as [`url_path`] gives it.
pub(super) fn url_id(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), host(url), url_path(url))
}

/// The host without the dot that may end a name.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_end_matches('.')
}

/// The path of a URL as a server may understand it: percent signs decoded, then `.`, `..`, `\` and empty parts resolved.
fn url_path(url: &Url) -> String {
    let decoded = percent_decoded(url.path()).replace('\\', "/");
    let path = resolved(&decoded);
    if decoded.ends_with('/') && path != "/" { path + "/" } else { path }
}

/// The path of a file without `.`, `..`, empty parts and a slash at its end.
pub(super) fn file_path(path: &str) -> String {
    resolved(path)
}

fn resolved(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn percent_decoded(text: &str) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [byte, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(high).zip(digit(low)),
            _ => None,
        };
        match escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn a_url_has_one_id_however_it_is_written() {
        for written in [
            "https://Example.com./admin/x?q=1#part",
            "https://example.com:443/admin/x",
            "https://example.com/%61dmin/x",
            "https://example.com//admin/./x",
            "https://example.com/public/..%2fadmin%2Fx",
            "https://example.com/public/%2e%2e%5cadmin/x",
            "https://example.com\\admin\\x",
            "https://user:word@example.com/admin/x",
        ] {
            assert_eq!(url_id(&url(written)), "https://example.com/admin/x", "{written}");
        }
    }

    #[test]
    fn what_differs_for_a_server_differs_for_a_rule() {
        for (written, id) in [
            ("https://example.com", "https://example.com/"),
            ("https://example.com/admin/", "https://example.com/admin/"),
            ("http://example.com:8080/admin", "http://example.com:8080/admin"),
            ("https://[::1]/%zz/100%/%c3%bc/%ff", "https://[::1]/%zz/100%/ü/\u{fffd}"),
            ("https://example.com/..%2f..%2f", "https://example.com/"),
        ] {
            assert_eq!(url_id(&url(written)), id);
        }
    }

    #[test]
    fn a_file_has_one_path_however_it_is_written() {
        for written in ["/data/x", "/data/x/", "//data/./x", "/data/y/../x", "/../data/x"] {
            assert_eq!(file_path(written), "/data/x", "{written}");
        }
        assert_eq!((file_path("/"), file_path("")), ("/".into(), "/".into()));
    }
}
