//! `policies/README.md` has every key that a policy may have, and no other.

use std::collections::BTreeMap;

use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy};

pub(super) const POLICIES: &str = "policies/README.md";
pub(super) const POLICY_FILE: &str = "host/policy/src/snapshot.rs";

#[test]
fn every_policy_key_is_documented_and_no_other() {
    assert_tidy(&check(Tree::ours()));
}

/// What the manual says of one section; the keys outside of any come under no name.
pub(super) struct Section {
    pub(super) name: String,
    line: usize,
    /// Keys with their lines.
    keys: Vec<(String, usize)>,
}

/// The sections of the manual: headings like ``## `[embed]` `` with tables whose first column is a key.
pub(super) fn sections(tree: &Tree) -> Vec<Section> {
    let mut sections = vec![Section { name: String::new(), line: 1, keys: Vec::new() }];
    for (line, text) in tree.file(POLICIES).into_iter().flat_map(|file| file.prose()) {
        let quoted = |start: &str| text.strip_prefix(start)?.split_once('`').map(|(quoted, _)| quoted.to_owned());
        if let Some(name) = text.trim_start_matches('#').strip_prefix(" `[").and_then(|rest| rest.split_once("]`")) {
            sections.push(Section { name: name.0.into(), line, keys: Vec::new() });
        } else if let (Some(key), Some(section)) = (quoted("| `"), sections.last_mut()) {
            section.keys.push((key, line));
        }
    }
    sections
}

/// Fields of `PolicyFile` that are sections.
pub(super) fn policy_sections(tree: &Tree) -> Vec<String> {
    let structs = structs(tree);
    structs.get("PolicyFile").into_iter().flatten().map(|field| field.name.clone()).collect()
}

fn check(tree: &Tree) -> Vec<Offence> {
    let (structs, sections) = (structs(tree), sections(tree));
    let Some(top) = structs.get("PolicyFile") else {
        return vec![Offence::new(POLICY_FILE, 1, "`PolicyFile` is not here: tell tests/tidy/docs.rs where it is")];
    };
    let mut offences = Vec::new();
    let mut compare = |name: &str, fields: &[&Field]| {
        let Some(section) = sections.iter().find(|section| section.name == name) else {
            offences.push(Offence::new(POLICIES, 1, format!("add a heading `[{name}]` with its keys")));
            return;
        };
        for field in fields.iter().filter(|field| section.keys.iter().all(|(key, _)| *key != field.name)) {
            let remedy = format!("key `{}` of `[{name}]` ({}) has no row: add it", field.name, field.place);
            offences.push(Offence::new(POLICIES, section.line, remedy));
        }
        for (key, line) in section.keys.iter().filter(|(key, _)| fields.iter().all(|field| *key != field.name)) {
            offences.push(Offence::new(POLICIES, *line, format!("`[{name}]` has no key `{key}`: take the row out")));
        }
    };
    let (nested, plain): (Vec<_>, Vec<_>) = top.iter().partition(|field| is_section(&field.kind));
    compare("", &plain);
    for section in &nested {
        // A section without fields is a table of the operator's own keys.
        let fields = structs.get(&section.kind).map_or(&[][..], |fields| fields);
        compare(&section.name.replace('_', "-"), &fields.iter().collect::<Vec<_>>());
    }
    let known =
        |section: &&Section| section.name.is_empty() || nested.iter().any(|field| field.name == section.name.replace('-', "_"));
    for section in sections.iter().filter(|section| !known(section)) {
        offences.push(Offence::new(POLICIES, section.line, format!("no section `[{}]` exists: take it out", section.name)));
    }
    offences
}

/// Types of `PolicyFile` that are a table of their own.
fn is_section(kind: &str) -> bool {
    kind.ends_with("Grant") || kind == "Limits"
}

/// A key: a field of a struct that serde reads.
struct Field {
    name: String,
    /// The last word of its type, or of what an `Option` holds.
    kind: String,
    /// File and line.
    place: String,
}

/// Structs of the policy crate that serde reads, with their named fields.
fn structs(tree: &Tree) -> BTreeMap<String, Vec<Field>> {
    let mut found = BTreeMap::new();
    for file in tree.below("host/policy/src/", ".rs") {
        let source = syn::parse_file(&file.text).expect("rustc has read it");
        for item in source.items {
            let syn::Item::Struct(item) = item else { continue };
            let field = |field: &syn::Field| {
                let name = field.ident.as_ref()?.to_string();
                let line = file.find(&format!("{name}:")).first().copied().unwrap_or(1);
                Some(Field { name, kind: kind(&field.ty), place: format!("{}:{line}", file.path) })
            };
            found.insert(item.ident.to_string(), item.fields.iter().filter_map(field).collect());
        }
    }
    found
}

fn kind(ty: &syn::Type) -> String {
    let syn::Type::Path(path) = ty else { return String::new() };
    let Some(last) = path.path.segments.last() else { return String::new() };
    match &last.arguments {
        syn::PathArguments::AngleBracketed(inside) if last.ident == "Option" => match inside.args.first() {
            Some(syn::GenericArgument::Type(ty)) => kind(ty),
            _ => String::new(),
        },
        _ => last.ident.to_string(),
    }
}

#[test]
fn keys_and_manual_that_differ_are_caught() {
    let snapshot = "pub struct PolicyFile {\n pub schema: u32,\n pub limits: Limits,\n pub kv: Option<crate::KvGrant>,\n pub config: Option<ConfigGrant>,\n pub log: Option<LogGrant>,\n}";
    let grants = "pub struct Limits {\n pub a: u32,\n pub b: u32,\n}\npub struct KvGrant { pub c: u8 }\npub struct ConfigGrant(Map);\nstruct LogGrant {}";
    let manual = "# Policies\n## `[limits]`\n| key |\n|---|\n| `a` | x |\n| `z` | x |\n```toml\n| `b` |\n```\n## `[kv]`\n| `c` | x |\n## `[config]`\n## `[gone]`\n";
    let tree = Tree::made_of(&[(POLICY_FILE, snapshot), ("host/policy/src/limit.rs", grants), (POLICIES, manual)]);
    let expected = [
        (POLICIES, 1, "key `schema`"),
        (POLICIES, 2, "key `b` of `[limits]` (host/policy/src/limit.rs:3)"),
        (POLICIES, 6, "no key `z`"),
        (POLICIES, 1, "add a heading `[log]`"),
        (POLICIES, 13, "no section `[gone]`"),
    ];
    assert_caught(&check(&tree), &expected);
    assert_caught(&check(&Tree::made_of(&[])), &[(POLICY_FILE, 1, "`PolicyFile` is not here")]);
}
