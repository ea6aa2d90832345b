//! The interfaces of the host as Markdown, from their doc comments.

use std::fmt::Write;

use wit_component::{OutputToString, WitPrinter};
use wit_parser::{Docs, Function, Interface, Package, Resolve, Type, TypeDef, TypeDefKind};

use super::wit;

/// What stands above the packages.
const HEAD: &str = "\
# WIT reference

Made by `tessera wit` from the doc comments in [wit/](../wit): don't edit it. Each package is a capability of the host, and needs the
section of its name in a component's policy, or it is what components give to the host.
";

/// All packages of ours, as Markdown.
///
/// # Errors
/// Never with the files that the program was built from.
pub(crate) fn markdown() -> anyhow::Result<String> {
    let resolve = wit::resolve()?;
    let mut packages: Vec<&Package> = resolve.packages.iter().map(|(_, package)| package).collect();
    packages.retain(|package| package.name.namespace == "tessera" && !package.interfaces.is_empty());
    packages.sort_by(|a, b| a.name.name.cmp(&b.name.name));
    let mut text = String::from(HEAD);
    for package in packages {
        let _ = writeln!(text, "\n## {}", package.name); // a String takes everything
        for (name, id) in &package.interfaces {
            let interface = &resolve.interfaces[*id];
            let _ = writeln!(text, "\n### Interface `{name}`");
            paragraph(&mut text, &interface.docs);
            for function in interface.functions.values() {
                let _ = writeln!(text, "\n#### `{}`", signature(&resolve, function));
                paragraph(&mut text, &function.docs);
            }
            types(&mut text, &resolve, interface);
        }
    }
    Ok(text)
}

/// The types that an interface defines; those that it takes from others stand there.
fn types(text: &mut String, resolve: &Resolve, interface: &Interface) {
    for (name, id) in &interface.types {
        let definition = &resolve.types[*id];
        let is_used = |ty: &Type| matches!(ty, Type::Id(id) if resolve.types[*id].owner != definition.owner);
        if matches!(&definition.kind, TypeDefKind::Type(ty) if is_used(ty)) {
            continue;
        }
        let _ = writeln!(text, "\n#### {} `{name}`", capitalized(definition.kind.as_str()));
        paragraph(text, &definition.docs);
        parts(text, resolve, definition);
    }
}

/// Fields and cases, as a list.
fn parts(text: &mut String, resolve: &Resolve, definition: &TypeDef) {
    let mut part = |name: &str, ty: Option<&Type>, docs: &Docs| {
        let ty = ty.map(|ty| format!(": {}", type_name(resolve, ty))).unwrap_or_default();
        let docs = docs.contents.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{}", format!("- `{name}{ty}` {docs}").trim_end());
    };
    match &definition.kind {
        TypeDefKind::Record(record) => record.fields.iter().for_each(|field| part(&field.name, Some(&field.ty), &field.docs)),
        TypeDefKind::Variant(variant) => variant.cases.iter().for_each(|case| part(&case.name, case.ty.as_ref(), &case.docs)),
        TypeDefKind::Enum(cases) => cases.cases.iter().for_each(|case| part(&case.name, None, &case.docs)),
        TypeDefKind::Flags(flags) => flags.flags.iter().for_each(|flag| part(&flag.name, None, &flag.docs)),
        _ => {}
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters = function.params.iter().map(|param| format!("{}: {}", param.name, type_name(resolve, &param.ty)));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let result = function.result.as_ref().map(|ty| format!(" -> {}", type_name(resolve, ty))).unwrap_or_default();
    let how = if function.kind.is_async() { "async func" } else { "func" };
    format!("{}: {how}({parameters}){result}", function.name)
}

fn type_name(resolve: &Resolve, ty: &Type) -> String {
    let mut printer = WitPrinter::new(OutputToString::default());
    match printer.print_type_name(resolve, ty) {
        Ok(()) => printer.output.to_string(),
        Err(_) => "a type".into(), // of no packages of ours
    }
}

fn paragraph(text: &mut String, docs: &Docs) {
    if let Some(docs) = &docs.contents {
        let _ = writeln!(text, "\n{}", docs.trim_end());
    }
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_docs_is_what_the_command_prints() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wit-reference.md");
        let written = std::fs::read_to_string(file).expect("docs/wit-reference.md is there");
        let expected = markdown().expect("resolves");
        assert!(written == expected, "docs/wit-reference.md is old: write it anew by `tessera wit > docs/wit-reference.md`");
    }

    #[test]
    fn functions_stand_with_their_signature() {
        let text = markdown().expect("resolves");
        let signature =
            "#### `rerank: async func(query: string, documents: list<string>, options: options) -> result<scores, error>`";
        assert!(text.contains(signature), "{text}");
        assert!(text.contains("- `model: option<string>` A model by its registry name"), "{text}");
        assert!(!text.contains("## wasi:"), "{text}");
    }
}
