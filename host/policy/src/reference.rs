//! The reference of every key of a policy, made from the types that read it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::PolicyFile;
use crate::diff::written;

/// The JSON Schema of policy files, for editors.
pub fn schema() -> String {
    serde_json::to_string_pretty(&schemars::schema_for!(PolicyFile)).expect("a schema is JSON")
}

/// A table of keys for every section, in Markdown.
pub fn reference() -> String {
    let schema = schemars::schema_for!(PolicyFile).to_value();
    let mut page = Page { text: String::new(), types: schema.get("$defs").unwrap_or(&Value::Null), shown: BTreeMap::new() };
    let (sections, keys): (Vec<_>, Vec<_>) = entries(&schema).partition(|(_, key)| page.section(key).is_some());
    let top = required(&schema);
    page.table(keys.iter().map(|(name, key)| (*name, *key, top.contains(name))));
    for (name, key) in sections {
        page.line(&format!("\n### `[{name}]`\n\n{}", description(key)));
        if let Some(section) = page.section(key) {
            page.keys(name, section);
        }
    }
    page.text.trim_end().to_owned() + "\n"
}

struct Page<'s> {
    text: String,
    /// Types by name.
    types: &'s Value,
    /// Sections whose keys were shown, by the name of their type.
    shown: BTreeMap<&'s str, &'s str>,
}

impl<'s> Page<'s> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The type of a section: that of its keys, or of each of its tables.
    fn section(&self, key: &'s Value) -> Option<Type<'s>> {
        let of = match self.resolve(key) {
            found if found.is_table() => found,
            found => self.resolve(found.value.get("additionalProperties")?),
        };
        of.is_table().then_some(of)
    }

    /// The type behind a reference, optional or not.
    fn resolve(&self, value: &'s Value) -> Type<'s> {
        let options = value.get("anyOf").and_then(Value::as_array);
        let value = options.and_then(|options| options.first()).unwrap_or(value);
        let name = value.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        let named = name.and_then(|name| Some((name, self.types.get(name)?)));
        named.map_or(Type { name: "", value }, |(name, value)| Type { name, value })
    }

    /// The keys of a section, and those of the entries of its lists.
    fn keys(&mut self, section: &'s str, of: Type<'s>) {
        if let Some(other) = self.shown.get(of.name) {
            return self.line(&format!("\nThe keys are those of `[{other}]`."));
        }
        self.shown.insert(of.name, section);
        if entries(of.value).next().is_none() {
            return;
        }
        let must = required(of.value);
        self.line("");
        self.table(entries(of.value).map(|(name, key)| (name, key, must.contains(&name))));
        for (name, key) in entries(of.value) {
            let Some(entry) = key.get("items").map(|items| self.resolve(items)).filter(Type::is_table) else { continue };
            let must = required(entry.value);
            self.line(&format!("\nEach entry of `{name}`:\n"));
            self.table(entries(entry.value).map(|(name, key)| (name, key, must.contains(&name))));
        }
    }

    fn table(&mut self, keys: impl Iterator<Item = (&'s str, &'s Value, bool)>) {
        self.line("| key | type | default | what |\n|---|---|---|---|");
        for (name, key, is_required) in keys {
            let default = match key.get("default") {
                _ if is_required => "required".into(),
                None | Some(Value::Null) => "none".into(),
                Some(default) => shown(name, default),
            };
            let line = format!("| `{name}` | {} | {default} | {} |", self.type_of(name, key), description(key));
            self.line(&line);
        }
    }

    fn type_of(&self, name: &str, key: &'s Value) -> String {
        let of = self.resolve(key);
        match of.name {
            "Callee" => return "component".into(),
            "Digest" => return "digest".into(),
            "HostPattern" => return "host".into(),
            "ModelRef" => return "model".into(),
            "Route" => return "route".into(),
            "StorePattern" => return "name".into(),
            _ => {}
        }
        if let Some(options) = of.value.get("oneOf").and_then(Value::as_array) {
            return options.iter().map(option).collect::<Vec<_>>().join(" or ");
        }
        let is = |kind: &str| match of.value.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|found| found == kind),
            found => found.is_some_and(|found| found == kind),
        };
        match of.value {
            value if is("array") => self.list(name, &value["items"]),
            value if is("object") && value.get("additionalProperties").is_some_and(Value::is_object) => "table of texts".into(),
            _ if is("integer") => unit(name).into(),
            _ if is("boolean") => "true or false".into(),
            _ => "text".into(),
        }
    }

    fn list(&self, name: &str, items: &'s Value) -> String {
        match self.type_of(name, items).as_str() {
            _ if self.resolve(items).is_table() => "list of tables".into(),
            choice if choice.starts_with('`') => format!("list of {choice}"),
            one => format!("list of {one}s"),
        }
    }
}

/// A type with its name, if it has one.
#[derive(Clone, Copy)]
struct Type<'s> {
    name: &'s str,
    value: &'s Value,
}

impl Type<'_> {
    fn is_table(&self) -> bool {
        self.value.get("properties").is_some()
            || self.value.get("type").is_some_and(|kind| kind == "object") && self.name.ends_with("Grant")
    }
}

/// One of the values that a key may have.
fn option(option: &Value) -> String {
    let constant = option.get("const").map(|constant| format!("`{constant}`"));
    let table = || entries(option).map(|(key, _)| format!("`{{ {key} = \"…\" }}`")).collect::<String>();
    constant.unwrap_or_else(table)
}

/// What a number counts, as the key's name says.
fn unit(key: &str) -> &'static str {
    match (key.contains("_per_min"), key) {
        (true, key) if key.contains("bytes") => "bytes a minute",
        (true, key) if key.contains("_ms_") => "milliseconds a minute",
        (true, key) if key.contains("tokens") => "tokens a minute",
        (true, _) => "requests a minute",
        (false, key) if key.contains("bytes") => "bytes",
        (false, key) if key.contains("_ms_") => "milliseconds",
        (false, _) => "number",
    }
}

/// A default as one writes it; round numbers of bytes in their unit as well.
fn shown(key: &str, default: &Value) -> String {
    let Some(number) = default.as_u64().filter(|_| key.contains("bytes")) else { return format!("`{}`", written(default)) };
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| number >= *size && number % size == 0);
    unit.map_or(format!("`{number}`"), |(size, unit)| format!("`{number}` ({} {unit})", number / size))
}

fn description(value: &Value) -> String {
    value.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

fn entries(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let keys = schema.get("properties").and_then(Value::as_object);
    keys.into_iter().flatten().map(|(name, key)| (name.as_str(), key))
}

fn required(schema: &Value) -> Vec<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines around the generated part of the page.
    const MARKS: [&str; 2] =
        ["<!-- generated: by `tessera policy reference`, from the types that read policies -->\n", "<!-- end -->"];

    #[test]
    fn the_page_on_policies_has_this_reference() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/README.md");
        let page = std::fs::read_to_string(file).expect("the page");
        let (_, rest) = page.split_once(MARKS[0]).expect("a first mark");
        let (generated, _) = rest.split_once(MARKS[1]).expect("a last mark");
        std::fs::write("/tmp/plumb-ref.md", reference()).expect("x");
        assert!(generated.trim() == reference().trim(), "policies/README.md: put `tessera policy reference` between the marks");
    }
}
