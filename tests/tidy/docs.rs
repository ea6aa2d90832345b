//! `policies/README.md` and `PolicyFile` name the same sections. That each has all its keys is tested where the tables are made,
//! in `host/policy/src/reference.rs`.

use super::tree::Tree;

pub(super) const POLICIES: &str = "policies/README.md";
pub(super) const POLICY_FILE: &str = "host/policy/src/snapshot.rs";

/// The sections of the manual: names in headings like ``## `[embed]` ``.
pub(super) fn sections(tree: &Tree) -> Vec<String> {
    let lines = tree.file(POLICIES).into_iter().flat_map(|file| file.prose());
    let named = |text: &str| Some(text.trim_start_matches('#').strip_prefix(" `[")?.split_once("]`")?.0.to_owned());
    lines.filter_map(|(_, text)| named(text)).collect()
}

/// Fields of `PolicyFile`, those among them that are sections.
pub(super) fn policy_sections(tree: &Tree) -> Vec<String> {
    let Some(file) = tree.file(POLICY_FILE) else { return Vec::new() };
    let source = syn::parse_file(&file.text).expect("rustc has read it");
    let structs = source.items.into_iter().filter_map(|item| match item {
        syn::Item::Struct(item) if item.ident == "PolicyFile" => Some(item),
        _ => None,
    });
    structs.flat_map(|item| item.fields).filter_map(|field| Some(field.ident?.to_string())).collect()
}
