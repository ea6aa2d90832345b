//! What is different between two policies, as it matters to who reads it: what is granted, revoked or changed.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::PolicyFile;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it does.
    pub kind: ChangeKind,
    /// What is different, with the section and key.
    pub text: String,
}

/// What a difference does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The component may do more.
    Grants,
    /// The component may do less.
    Revokes,
    /// A value is another.
    Changes,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.kind {
            ChangeKind::Grants => "+ grants ",
            ChangeKind::Revokes => "- revokes",
            ChangeKind::Changes => "~ changes",
        };
        write!(f, "{mark} {}", self.text)
    }
}

/// What the second policy says otherwise than the first. Defaults count as written.
pub fn diff(old: &PolicyFile, new: &PolicyFile) -> Vec<Change> {
    let mut changes = Vec::new();
    let (old, new) = (table(old), table(new));
    for (key, before, after) in both(&old, &new) {
        match (before, after) {
            (before, after) if before == after => {}
            (Value::Object(before), Value::Object(after)) => sections(&mut changes, key, before, after),
            // Labels say what the component is; rules decide what follows from that.
            (before, after) if key == "labels" => value(&mut changes, key, before, after),
            (Value::Null, after) => granted(&mut changes, key, after),
            (before, Value::Null) => changes.push(revoked(&format!("[{key}]"), before)),
            (before, after) => value(&mut changes, key, before, after),
        }
    }
    changes
}

/// A section that is new; of secrets each is one.
fn granted(changes: &mut Vec<Change>, section: &str, value: &Value) {
    match (section, value) {
        ("secret", Value::Object(secrets)) => {
            let grants = |(name, secret): (&String, &Value)| grant(&format!("[secret.{name}]"), secret);
            changes.extend(secrets.iter().map(grants));
        }
        _ => changes.push(grant(&format!("[{section}]"), value)),
    }
}

/// A section that is in both.
fn sections(changes: &mut Vec<Change>, section: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
    for (key, before, after) in both(old, new) {
        let (of_secret, name) = (format!("secret.{key}"), format!("[{section}] {key}"));
        match (before, after) {
            (before, after) if before == after => {}
            (Value::Object(before), Value::Object(after)) if section == "secret" => {
                sections(changes, &of_secret, before, after)
            }
            (Value::Null, after) if section == "secret" => changes.push(grant(&format!("[{of_secret}]"), after)),
            (before, Value::Null) if section == "secret" => changes.push(revoked(&format!("[{of_secret}]"), before)),
            // Digests and keys narrow what may run, and guards take away: neither is a list of grants.
            (Value::Array(before), Value::Array(after)) if !["component", "guard"].contains(&section) => {
                list(changes, &name, before, after);
            }
            (Value::Object(before), Value::Object(after)) if key == "values" => {
                for (key, before, after) in both(before, after).filter(|(_, before, after)| before != after) {
                    value(changes, &format!("{name} {key}"), before, after);
                }
            }
            (before, after) => value(changes, &name, before, after),
        }
    }
}

/// A list of grants. The order matters where the first is the default.
fn list(changes: &mut Vec<Change>, name: &str, old: &[Value], new: &[Value]) {
    let (removed, added) = (minus(old, new), minus(new, old));
    changes.extend(removed.iter().map(|item| revoked(name, item)));
    changes.extend(added.iter().map(|item| grant(name, item)));
    if let (Some(before), Some(after)) = (old.first(), new.first())
        && name.ends_with("] models")
        && before != after
    {
        let text = format!("{name}: the default is {} instead of {}", written(after), written(before));
        changes.push(Change { kind: ChangeKind::Changes, text });
    }
}

fn minus<'v>(these: &'v [Value], others: &[Value]) -> Vec<&'v Value> {
    these.iter().filter(|item| !others.contains(item)).collect()
}

/// One value. A key that is only in one of the policies is a setting of the operator's own, or means something by its absence.
fn value(changes: &mut Vec<Change>, name: &str, old: &Value, new: &Value) {
    let is_setting = name.starts_with("[config] ") || name.starts_with("[env] ");
    changes.push(match (old, new) {
        (Value::Null, new) if is_setting => grant(name, new),
        (old, Value::Null) if is_setting => revoked(name, old),
        (old, new) => {
            let wider = match is_wider(name, old, new) {
                Some(true) => " (wider)",
                Some(false) => " (narrower)",
                None => "",
            };
            let text = format!("{name} from {} to {}{wider}", written(old), written(new));
            Change { kind: ChangeKind::Changes, text }
        }
    });
}

/// Whether the new value allows more; none where neither does.
fn is_wider(name: &str, old: &Value, new: &Value) -> Option<bool> {
    const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];
    let level = |value: &Value| LEVELS.iter().position(|level| Some(*level) == value.as_str());
    match (name, old, new) {
        (_, Value::Number(old), Value::Number(new)) if name.ends_with("_max") => Some(new.as_u64() > old.as_u64()),
        ("mode", _, new) => Some(new == "observe"),
        ("[guard] input" | "[guard] output", Value::Array(old), Value::Array(new)) => narrowed(old, new).map(|less| !less),
        ("[guard] except", Value::Array(old), Value::Array(new)) => narrowed(new, old).map(|less| !less),
        ("[guard] hold_back_chars", old, new) => Some(new.as_u64() < old.as_u64()),
        ("[guard] on_failure" | "[guard] uninspectable", _, new) => Some(new == "pass"),
        ("[log] level_min", old, new) => Some(level(new) > level(old)),
        (_, Value::Bool(_), Value::Bool(new)) => Some(*new),
        // No digests or keys at all mean any.
        (_, Value::Array(old), Value::Array(new)) if old.is_empty() != new.is_empty() => Some(new.is_empty()),
        // A list of devices that is missing means any.
        (_, Value::Null, Value::Array(_)) if name.ends_with(" devices") => Some(false),
        (_, Value::Array(_), Value::Null) if name.ends_with(" devices") => Some(true),
        _ => None,
    }
}

/// Whether the longer of two lists of guards is the new one; none where each has some that the other lacks.
fn narrowed(old: &[Value], new: &[Value]) -> Option<bool> {
    match (minus(old, new).is_empty(), minus(new, old).is_empty()) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

fn grant(name: &str, value: &Value) -> Change {
    Change { kind: ChangeKind::Grants, text: named(name, value) }
}

fn revoked(name: &str, value: &Value) -> Change {
    Change { kind: ChangeKind::Revokes, text: named(name, value) }
}

fn named(name: &str, value: &Value) -> String {
    // A section shows what it lets in; limits have their defaults and are many.
    match value {
        Value::Object(keys) if name.ends_with(']') && !name.contains("] ") => {
            let keys = keys.iter().filter(|(key, value)| !(key.ends_with("_max") || value.is_null()));
            let keys: Vec<String> = keys.map(|(key, value)| format!("{key} = {}", written(value))).collect();
            if keys.is_empty() { name.into() } else { format!("{name} {}", keys.join(", ")) }
        }
        value => format!("{name} {}", written(value)),
    }
}

/// A value as TOML has it.
pub(crate) fn written(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "(none)".into(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(written).collect())),
        Value::Object(keys) => {
            let keys = keys.iter().filter(|(_, value)| !value.is_null());
            format!("{{ {} }}", joined(keys.map(|(key, value)| format!("{key} = {}", written(value))).collect()))
        }
        value => value.to_string(),
    }
}

fn table(policy: &PolicyFile) -> Map<String, Value> {
    let value = serde_json::to_value(policy).expect("a policy has text as keys and finite numbers");
    value.as_object().cloned().unwrap_or_default()
}

/// All keys of two tables with the value of each, `null` where it has none.
fn both<'v>(old: &'v Map<String, Value>, new: &'v Map<String, Value>) -> impl Iterator<Item = (&'v str, &'v Value, &'v Value)> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let of = |table: &'v Map<String, Value>, key: &str| table.get(key).unwrap_or(&Value::Null);
    keys.into_iter().map(move |key| (key.as_str(), of(old, key), of(new, key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(old: &str, new: &str) -> Vec<String> {
        let parse = |text: &str| PolicyFile::parse("p.toml".as_ref(), &format!("schema = 1\n{text}")).expect("a policy");
        diff(&parse(old), &parse(new)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_policy_written_otherwise_is_no_difference() {
        assert_eq!(changes("", ""), [""; 0]);
        assert_eq!(changes("[log]", "[log]\nlevel_min = \"info\"\n[limits]\nqueue_max = 64"), [""; 0]);
        let text = "[http]\nallow = [{ host = \"A.example.\", schemes = [\"https\"] }]";
        assert_eq!(changes(text, "[http]\nallow = [{ host = \"a.example\" }]"), [""; 0]);
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("", "[embed]\nmodels = [\"m\"]", &["+ grants  [embed] models = [\"m\"]"]),
            ("[log]", "", &["- revokes [log] level_min = \"info\""]),
            (
                "[embed]\nmodels = [\"a\", \"b\"]",
                "[embed]\nmodels = [\"b\", \"c\"]",
                &[
                    "- revokes [embed] models \"a\"",
                    "+ grants  [embed] models \"c\"",
                    "~ changes [embed] models: the default is \"b\" instead of \"a\"",
                ],
            ),
            (
                "[nn]\nmodels = []",
                "[nn]\nmodels = []\ndevices = [\"flex\"]",
                &["~ changes [nn] devices from (none) to [\"flex\"] (narrower)"],
            ),
            (
                "[nn]\nmodels = []\ndevices = [\"flex\"]",
                "[nn]\nmodels = []\ndevices = [\"flex\", \"cuda\"]",
                &["+ grants  [nn] devices \"cuda\""],
            ),
            (
                "[limits]\nqueue_max = 3",
                "[limits]\nqueue_max = 2\ncpu_ms_max = 20000",
                &[
                    "~ changes [limits] cpu_ms_max from 10000 to 20000 (wider)",
                    "~ changes [limits] queue_max from 3 to 2 (narrower)",
                ],
            ),
            ("mode = \"observe\"", "", &["~ changes mode from \"observe\" to \"enforce\" (narrower)"]),
            ("labels = [\"pii\"]", "labels = [\"eu\"]", &["~ changes labels from [\"pii\"] to [\"eu\"]"]),
            ("labels = [\"pii\"]", "", &["~ changes labels from [\"pii\"] to (none)"]),
            (
                "[log]",
                "[log]\nlevel_min = \"debug\"\nbytes_per_min_max = 1",
                &[
                    "~ changes [log] bytes_per_min_max from 65536 to 1 (narrower)",
                    "~ changes [log] level_min from \"info\" to \"debug\" (wider)",
                ],
            ),
            ("[routes]\nallow = [\"GET /a\"]", "", &["- revokes [routes] allow \"GET /a\""]),
            (
                "[config]\na = \"1\"\nb = \"2\"",
                "[config]\nb = \"3\"\nc = \"4\"",
                &["- revokes [config] a \"1\"", "~ changes [config] b from \"2\" to \"3\"", "+ grants  [config] c \"4\""],
            ),
            (
                "[env]\nvalues = { A = \"1\" }",
                "[env]\nvalues = { B = \"1\" }\nfrom_server = [\"C\"]",
                &["+ grants  [env] from_server \"C\"", "- revokes [env] values A \"1\"", "+ grants  [env] values B \"1\""],
            ),
            (
                "[fs]\nallow = [{ host = \"a\", guest = \"/a\" }]",
                "[fs]\nallow = [{ host = \"a\", guest = \"/a\", access = \"read-write\" }]",
                &[
                    "- revokes [fs] allow { host = \"a\", guest = \"/a\", access = \"read\" }",
                    "+ grants  [fs] allow { host = \"a\", guest = \"/a\", access = \"read-write\" }",
                ],
            ),
            (
                "[http]",
                "[http]\nprivate_networks = [\"10.0.0.0/8\"]\nredirects_max = 0",
                &["+ grants  [http] private_networks \"10.0.0.0/8\"", "~ changes [http] redirects_max from 5 to 0 (narrower)"],
            ),
        ];
        for (old, new, expected) in cases {
            assert_eq!(&changes(old, new), expected, "{old} to {new}");
        }
    }

    #[test]
    fn guards_take_away() {
        let told = changes(
            "[guard]\ninput = [\"a\"]\noutput = [\"a\"]\nexcept = [\"GET /a\"]",
            "[guard]\ninput = [\"a\", \"b\"]\noutput = [\"c\"]\nhold_back_chars = 64\non_failure = \"pass\"",
        );
        let expected = [
            "~ changes [guard] except from [\"GET /a\"] to [] (narrower)",
            "~ changes [guard] hold_back_chars from 256 to 64 (wider)",
            "~ changes [guard] input from [\"a\"] to [\"a\", \"b\"] (narrower)",
            "~ changes [guard] on_failure from \"block\" to \"pass\" (wider)",
            "~ changes [guard] output from [\"a\"] to [\"c\"]",
        ];
        assert_eq!(told, expected);
        assert_eq!(changes("[guard]\ninput = [\"a\"]", ""), ["~ changes [guard] input from [\"a\"] to [] (wider)"]);
    }

    #[test]
    fn what_may_run_at_all_is_narrowed_and_not_granted() {
        let pins = "[component]\nsigners = [\"ops\"]\nversion_min = \"1.0.0\"";
        let expected = [
            "~ changes [component] signers from [] to [\"ops\"] (narrower)",
            "~ changes [component] version_min from (none) to \"1.0.0\"",
        ];
        assert_eq!(changes("", pins), expected);
        let more = "[component]\nsigners = [\"ops\", \"lab\"]\nversion_min = \"1.0.0\"";
        assert_eq!(changes(pins, more), ["~ changes [component] signers from [\"ops\"] to [\"ops\", \"lab\"]"]);
        assert_eq!(changes(pins, "")[0], "~ changes [component] signers from [\"ops\"] to [] (wider)");
    }

    #[test]
    fn each_secret_is_told_by_itself() {
        let secret = |name: &str, host: &str, rest: &str| {
            format!("[secret.{name}]\nsource = {{ env = \"{name}\" }}\nhosts = [\"{host}\"]\nheaders = [\"x\"]\n{rest}")
        };
        let old = format!("{}{}", secret("A", "a.example", ""), secret("B", "a.example", ""));
        let new = format!("{}{}", secret("B", "b.example", "plaintext = true\n"), secret("C", "a.example", ""));
        let expected = [
            "- revokes [secret.A] source = { env = \"A\" }, hosts = [\"a.example\"], headers = [\"x\"], plaintext = false",
            "- revokes [secret.B] hosts \"a.example\"",
            "+ grants  [secret.B] hosts \"b.example\"",
            "~ changes [secret.B] plaintext from false to true (wider)",
            "+ grants  [secret.C] source = { env = \"C\" }, hosts = [\"a.example\"], headers = [\"x\"], plaintext = false",
        ];
        assert_eq!(changes(&old, &new), expected);
        assert_eq!(changes("", &secret("C", "a.example", "")), expected[4..]);
    }
}
