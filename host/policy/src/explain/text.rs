//! The text of a policy: where its keys are, and how it reads with something added.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A TOML text that knows where its keys and values are.
pub(super) struct Text<'t> {
    text: &'t str,
    document: DeValue<'t>,
}

/// What is added to a list.
pub(super) enum Item {
    /// A value, as it is written.
    Value(String),
    /// A table of keys and values, as they are written.
    Table(Vec<(&'static str, String)>),
}

impl<'t> Text<'t> {
    /// Reads a text; none if it is no TOML.
    pub(super) fn parse(text: &'t str) -> Option<Text<'t>> {
        let document = DeTable::parse(text).ok()?.into_inner();
        Some(Text { text, document: DeValue::Table(document) })
    }

    /// The line of a key, from 1. A path goes through tables by their keys, and through lists by numbers from 0.
    pub(super) fn line(&self, path: &[&str]) -> Option<usize> {
        Some(self.line_at(self.find(path)?.key.start))
    }

    /// The text with something at the end of a list. A list that is not there is made; the table above it has to be there.
    pub(super) fn with_item(&self, table: &[&str], key: &str, item: Item) -> Option<String> {
        let Some(list) = self.find(&[table, &[key]].concat()) else {
            return self.with_value(table, key, &format!("[{}]", item.inline()));
        };
        let DeValue::Array(items) = list.value else { return None };
        let range = list.range;
        if self.text[range.clone()].starts_with("[[") && items.first().is_some_and(|first| first.span() == range) {
            return Some(appended(self.text, &item.block(&[table, &[key]].concat())?));
        }
        let Some(last) = items.last().map(|last| last.span()) else {
            return Some(self.replaced(range, &format!("[{}]", item.inline())));
        };
        // In a list of a line for each, it gets a line of its own.
        let line = self.text[..last.start].rfind('\n').map_or(0, |end| end + 1);
        let before = &self.text[line..last.start];
        let separator = if before.trim().is_empty() { format!(",\n{before}") } else { ", ".into() };
        Some(self.replaced(last.end..last.end, &format!("{separator}{}", item.inline())))
    }

    /// The text with another value for a key of a table that is there.
    pub(super) fn with_value(&self, table: &[&str], key: &str, value: &str) -> Option<String> {
        if let Some(present) = self.find(&[table, &[key]].concat()) {
            return Some(self.replaced(present.range, value));
        }
        let place = self.find(table)?;
        let DeValue::Table(entries) = place.value else { return None };
        let range = place.range;
        if self.text[range.clone()].starts_with('{') {
            let last = entries.values().map(|value| value.span().end).max();
            return Some(match last {
                Some(end) => self.replaced(end..end, &format!(", {key} = {value}")),
                None => self.replaced(range, &format!("{{ {key} = {value} }}")),
            });
        }
        // Below the header; a table without one is spread over dotted keys.
        let header = self.text[range.clone()].starts_with('[').then_some(range.end)?;
        let end = self.text[header..].find('\n').map_or(self.text.len(), |end| header + end);
        Some(self.replaced(end..end, &format!("\n{key} = {value}")))
    }

    fn find(&self, path: &[&str]) -> Option<Place<'_, 't>> {
        let mut place = Place { key: 0..0, range: 0..self.text.len(), value: &self.document };
        for step in path {
            place = match place.value {
                DeValue::Table(entries) => {
                    let (key, value) = entries.iter().find(|(key, _)| key.get_ref() == step)?;
                    Place { key: key.span(), range: value.span(), value: value.get_ref() }
                }
                DeValue::Array(items) => {
                    let item = items.get(step.parse::<usize>().ok()?)?;
                    Place { key: item.span(), range: item.span(), value: item.get_ref() }
                }
                _ => return None,
            };
        }
        Some(place)
    }

    fn line_at(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    fn replaced(&self, range: Range<usize>, by: &str) -> String {
        format!("{}{by}{}", &self.text[..range.start], &self.text[range.end..])
    }
}

struct Place<'p, 't> {
    key: Range<usize>,
    range: Range<usize>,
    value: &'p DeValue<'t>,
}

impl Item {
    /// As it is written inside of a list.
    pub(super) fn inline(&self) -> String {
        match self {
            Item::Value(value) => value.clone(),
            Item::Table(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key} = {value}"));
                format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// As it is written in a list of tables that each have a header.
    fn block(&self, path: &[&str]) -> Option<String> {
        let Item::Table(entries) = self else { return None };
        let lines = entries.iter().map(|(key, value)| format!("{key} = {value}\n"));
        Some(format!("[[{}]]\n{}", path.join("."), lines.collect::<String>()))
    }
}

/// A text with lines at its end, and an empty line before them.
pub(super) fn appended(text: &str, lines: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { format!("{}\n", lines.trim_end()) } else { format!("{text}\n\n{}\n", lines.trim_end()) }
}

/// A text as TOML writes it, in printable ASCII: it came from a guest and goes to a log.
pub(super) fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        ' '..='~' => c.into(),
        c => format!("\\U{:08X}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// A key as TOML writes it.
pub(super) fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_bare { name.into() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_item(text: &str, table: &[&str], key: &str) -> Option<String> {
        let item = || Item::Value("\"c\"".into());
        let added = Text::parse(text).expect("TOML").with_item(table, key, item())?;
        toml::from_str::<toml::Table>(&added).expect("what is added to TOML is TOML");
        Some(added)
    }

    #[test]
    fn an_item_is_added_to_a_list_as_the_list_is_written() {
        let cases = [
            ("[t]\na = [\"x\"] # why", "[t]\na = [\"x\", \"c\"] # why"),
            ("[t]\na = []", "[t]\na = [\"c\"]"),
            ("[t]\na = [\n  \"x\", # one\n  \"y\",\n]\n", "[t]\na = [\n  \"x\", # one\n  \"y\",\n  \"c\",\n]\n"),
            ("[t]\na = [\n  \"x\"\n]\n", "[t]\na = [\n  \"x\",\n  \"c\"\n]\n"),
            ("t = { a = [\"x\"] }", "t = { a = [\"x\", \"c\"] }"),
            ("t = { b = 1 }", "t = { b = 1, a = [\"c\"] }"),
            ("t = {}", "t = { a = [\"c\"] }"),
            ("[t]\nb = 1\n[u]", "[t]\na = [\"c\"]\nb = 1\n[u]"),
            ("[t] # the last line", "[t] # the last line\na = [\"c\"]"),
            ("t.a = [\"x\"]", "t.a = [\"x\", \"c\"]"),
        ];
        for (before, after) in cases {
            assert_eq!(with_item(before, &["t"], "a").as_deref(), Some(after), "{before}");
        }
        assert_eq!(with_item("t.b = 1", &["t"], "a"), None, "a table without a place of its own");
        assert_eq!(with_item("a = 1", &["t"], "a"), None);
    }

    #[test]
    fn a_list_of_tables_with_headers_gets_another_header() {
        let text = "[[t.a]]\nx = 1\n\n[t]\nb = 1\n";
        let item = Item::Table(vec![("x", "2".into()), ("y", "\"z\"".into())]);
        let added = Text::parse(text).and_then(|text| text.with_item(&["t"], "a", item)).expect("a list");
        assert_eq!(added, "[[t.a]]\nx = 1\n\n[t]\nb = 1\n\n[[t.a]]\nx = 2\ny = \"z\"\n");
        let read: toml::Table = toml::from_str(&added).expect("TOML");
        assert_eq!(read["t"]["a"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn keys_are_found_with_their_lines() {
        let text = "a = 1\n\n[t]\n# why\nb = [\n { c = 1 },\n { c = 2 },\n]\n[u.v]\n";
        let text = Text::parse(text).expect("TOML");
        let lines = [&["a"][..], &["t"], &["t", "b"], &["t", "b", "1"], &["t", "b", "1", "c"], &["u", "v"], &["t", "x"]];
        assert_eq!(lines.map(|path| text.line(path)), [Some(1), Some(3), Some(5), Some(7), Some(7), Some(9), None]);
    }

    #[test]
    fn what_a_guest_says_is_written_so_that_nothing_follows_from_it() {
        assert_eq!(quoted("a\"]\n[http]\u{202e}é\\"), r#""a\"]\U0000000A[http]\U0000202E\U000000E9\\""#);
        let read: toml::Table = toml::from_str(&format!("{} = {}", key("a b.\n"), quoted("\u{202e}\""))).expect("TOML");
        assert_eq!(read["a b.\n"].as_str(), Some("\u{202e}\""));
        assert_eq!((key("API_KEY-1"), key("")), ("API_KEY-1".into(), "\"\"".into()));
    }
}
