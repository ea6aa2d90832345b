//! What a policy has to say to allow an action.

use http::Method;
use url::Url;

use super::text::{Item, Text, appended, key, quoted};
use crate::grant::http::host;
use crate::{Access, Action, Callee, ComponentName, ModelName, PolicyFile, StoreVerb};

/// Longest target that is written into a line that people may take over, in bytes.
const TARGET_BYTES_MAX: usize = 160;

/// The text of a policy with what allows an action added; as it is where it allows that already. None where no text could, or
/// where the text is written in a way that is beyond this.
pub(super) fn granted(text: &str, component: &ComponentName, action: &Action<'_>) -> Option<String> {
    match action {
        Action::Embed(model)
        | Action::Classify(model)
        | Action::Rerank(model)
        | Action::Generate(model)
        | Action::Tokenize(model)
        | Action::Nn(model) => with_model(text, action.capability(), model),
        Action::Http { method, url } => with_request(text, method, url),
        Action::Read(path) => with_file(text, component, path, Access::Read),
        Action::Write(path) => with_file(text, component, path, Access::ReadWrite),
        Action::Secret(name) => with_secret(text, name),
        Action::Config(name) => with_setting(text, name),
        Action::Call(callee) => with_callee(text, callee),
        Action::Store { verb, name } => with_row(text, *verb, name),
        Action::Log => Some(with_section(text, "log")),
        Action::Socket(_) => None,
    }
}

/// The text with a value for a key of a section. A section that is not there is made.
pub(super) fn with_value(text: &str, section: &str, key: &str, value: &str) -> Option<String> {
    let set = Text::parse(text)?.with_value(&[section], key, value);
    Some(set.unwrap_or_else(|| appended(text, &format!("[{section}]\n{key} = {value}"))))
}

/// The text with an item in a list of a section. A section that is not there is made.
pub(super) fn with_item(text: &str, section: &str, key: &str, item: Item) -> Option<String> {
    let alone = format!("[{section}]\n{key} = [{}]", item.inline());
    let added = Text::parse(text)?.with_item(&[section], key, item);
    Some(added.unwrap_or_else(|| appended(text, &alone)))
}

fn has_section(text: &str, section: &str) -> bool {
    Text::parse(text).is_some_and(|text| text.line(&[section]).is_some())
}

/// The text with a section of a capability as one usually has it.
pub(super) fn with_section(text: &str, capability: &str) -> String {
    if has_section(text, capability) { text.into() } else { appended(text, PolicyFile::lines_to_add(capability)) }
}

fn with_model(text: &str, capability: &str, model: &str) -> Option<String> {
    let Ok(name) = model.parse::<ModelName>() else {
        // None was asked for, and there is none to be the default.
        return (model == super::DEFAULT_MODEL).then(|| with_section(text, capability)).filter(|added| added != text);
    };
    let listed = policy(text)?.models(capability).is_some_and(|grant| grant.models.iter().any(|model| model.name == name));
    if listed { Some(text.into()) } else { with_item(text, capability, "models", Item::Value(quoted(model))) }
}

fn with_request(text: &str, method: &Method, url: &Url) -> Option<String> {
    let is_allowed = |text: &str| policy(text).and_then(|policy| policy.http?.entry(method, url)).is_some();
    if is_allowed(text) {
        return Some(text.into());
    }
    let mut rule = vec![("host", quoted(host(url)))];
    if url.scheme() == "http" {
        rule.push(("schemes", "[\"http\"]".into()));
    }
    rule.extend(url.port().map(|port| ("ports", format!("[{port}]"))));
    rule.push(("methods", format!("[{}]", quoted(method.as_str()))));
    let path = Some(short(url.path())).filter(|path| *path != "/");
    let paths = path.map(|path| ("paths", format!("[{}]", quoted(path))));
    let narrow = rule.iter().cloned().chain(paths).collect();
    // A path that hides something can only be allowed together with all others.
    let texts = [narrow, rule].into_iter().filter_map(|rule| with_item(text, "http", "allow", Item::Table(rule)));
    texts.into_iter().find(|text| is_allowed(text))
}

/// A path, or the folders of it that are short enough.
fn short(path: &str) -> &str {
    let mut path = path.strip_suffix('/').unwrap_or(path);
    while path.len() > TARGET_BYTES_MAX || path.ends_with('*') {
        path = parent(path);
    }
    if path.is_empty() { "/" } else { path }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn with_file(text: &str, component: &ComponentName, path: &str, access: Access) -> Option<String> {
    let policy = policy(text)?;
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    if let Some((index, folder)) = policy.fs.as_ref().and_then(|fs| fs.folder(path)) {
        let is_enough = folder.access == Access::ReadWrite || access == Access::Read;
        let entry = ["fs", "allow", &index.to_string()];
        return if is_enough { Some(text.into()) } else { Text::parse(text)?.with_value(&entry, "access", "\"read-write\"") };
    }
    let folder = Some(short(parent(path))).filter(|folder| *folder != "/").unwrap_or(short(path));
    let place = format!("/srv/{component}{}", folder.trim_end_matches('/'));
    let access = if access == Access::Read { "read" } else { "read-write" };
    let entry = vec![("host", quoted(&place)), ("guest", quoted(folder)), ("access", quoted(access))];
    with_item(text, "fs", "allow", Item::Table(entry))
}

fn with_secret(text: &str, name: &str) -> Option<String> {
    if policy(text)?.secret.is_some_and(|secrets| secrets.contains_key(name)) {
        return Some(text.into());
    }
    let lines = PolicyFile::lines_to_add("secret").replace("[secret.API_KEY]", &format!("[secret.{}]", key(name)));
    let lines = lines.replace("\"API_KEY\"", &quoted(name));
    (name.len() <= TARGET_BYTES_MAX).then(|| appended(text, &lines))
}

fn with_callee(text: &str, callee: &Callee) -> Option<String> {
    let is_allowed = policy(text)?.call.is_some_and(|call| call.entry(callee).is_some());
    if is_allowed { Some(text.into()) } else { with_item(text, "call", "allow", Item::Value(quoted(callee.as_str()))) }
}

fn with_row(text: &str, verb: StoreVerb, name: &str) -> Option<String> {
    let (capability, written) = (verb.capability(), quoted(verb.written()));
    match policy(text)?.store_row(verb, name) {
        Some((_, true)) => Some(text.into()),
        Some((index, false)) => {
            Text::parse(text)?.with_item(&[capability, "allow", &index.to_string()], "verbs", Item::Value(written))
        }
        None => {
            let row = vec![(verb.noun(), quoted(name)), ("verbs", format!("[{written}]"))];
            with_item(text, capability, "allow", Item::Table(row))
        }
    }
}

fn with_setting(text: &str, name: &str) -> Option<String> {
    if has_section(text, "config") {
        return Some(text.into());
    }
    match name {
        "*" => Some(with_section(text, "config")),
        _ => (name.len() <= TARGET_BYTES_MAX).then(|| appended(text, &format!("[config]\n{} = \"value\"", key(name)))),
    }
}

fn policy(text: &str) -> Option<PolicyFile> {
    PolicyFile::parse("".as_ref(), text).ok()
}
