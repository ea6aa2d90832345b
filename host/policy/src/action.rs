//! What a component may be allowed to do.

use std::fmt;

use http::Method;
use url::Url;

use crate::{Callee, StoreVerb};

/// One thing that a component wants to do, and to what.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Embed with a model.
    Embed(&'a str),
    /// Classify with a model.
    Classify(&'a str),
    /// Rerank with a model.
    Rerank(&'a str),
    /// Have a model generate.
    Generate(&'a str),
    /// Use a model's tokens.
    Tokenize(&'a str),
    /// Run a model on tensors.
    Nn(&'a str),
    /// Send a request to another host.
    Http {
        /// With this method.
        method: &'a Method,
        /// To there.
        url: &'a Url,
    },
    /// Look at a file or folder.
    Read(&'a str),
    /// Change a file or folder.
    Write(&'a str),
    /// Use a credential.
    Secret(&'a str),
    /// Call functions of another component.
    Call(&'a Callee),
    /// Use a place where data is kept.
    Store {
        /// To do this there.
        verb: StoreVerb,
        /// The place.
        name: &'a str,
    },
    /// Read a setting.
    Config(&'a str),
    /// Write to the log.
    Log,
    /// Open a socket to an address, or look a name up for one. No policy can grant it: `http` is the way out.
    Socket(&'a str),
}

impl Action<'_> {
    /// The names of actions that can be granted, as rules and `tessera policy explain` write them, in order.
    #[rustfmt::skip]
    pub const NAMES: [&'static str; 25] = [
        "blob-delete", "blob-get", "blob-list", "blob-put", "call", "classify", "config", "embed", "generate", "http", "kv-delete", "kv-get",
        "kv-list", "kv-set", "log", "nn", "read", "rerank", "secret", "tokenize", "vector-delete", "vector-find", "vector-list",
        "vector-upsert", "write",
    ];

    /// Its name, as in rules.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Embed(_) => "embed",
            Action::Classify(_) => "classify",
            Action::Rerank(_) => "rerank",
            Action::Generate(_) => "generate",
            Action::Tokenize(_) => "tokenize",
            Action::Nn(_) => "nn",
            Action::Http { .. } => "http",
            Action::Read(_) => "read",
            Action::Write(_) => "write",
            Action::Secret(_) => "secret",
            Action::Call(_) => "call",
            Action::Store { verb, .. } => verb.name(),
            Action::Config(_) => "config",
            Action::Log => "log",
            Action::Socket(_) => "socket",
        }
    }

    /// The capability it belongs to, as in `component.toml` and the sections of a policy.
    pub fn capability(&self) -> &'static str {
        match self {
            Action::Read(_) | Action::Write(_) => "fs",
            Action::Store { verb, .. } => verb.capability(),
            _ => self.name(),
        }
    }
}

impl<'a> Action<'a> {
    /// Its target, where that is a name or a path.
    pub(crate) fn target(&self) -> &'a str {
        match self {
            Action::Embed(target)
            | Action::Classify(target)
            | Action::Rerank(target)
            | Action::Generate(target)
            | Action::Tokenize(target)
            | Action::Nn(target)
            | Action::Read(target)
            | Action::Write(target)
            | Action::Secret(target)
            | Action::Config(target)
            | Action::Socket(target) => target,
            Action::Store { name, .. } => name,
            Action::Call(callee) => callee.as_str(),
            Action::Http { .. } | Action::Log => "",
        }
    }
}

impl fmt::Display for Action<'_> {
    /// Its name and target, shortened and escaped: for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self {
            Action::Http { method, url } => {
                write!(f, "http {} ", shown(method.as_str()))?;
                // Without the query, which may hold what people wrote.
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let place = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
                return write!(f, "{}", shown(&place));
            }
            Action::Log => return f.write_str("log"),
            _ => self.target(),
        };
        write!(f, "{} {}", self.name(), shown(target))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(160).flat_map(char::escape_default).collect()
}
