//! The packages in `wit/`, resolved; and that each of their items is documented for a stranger.

use wit_parser::{Docs, Interface, PackageId, Resolve, SourceMap, Span, Type, TypeDefKind, UnresolvedPackageGroup, WorldItem};

use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy};

/// Packages of WASI, as their authors published them; a tree leaves them out.
const VENDORED: [&str; 2] = ["wit/deps/io.wit", "wit/deps/nn.wit"];

#[test]
fn every_wit_item_is_documented() {
    assert_tidy(&check(Tree::ours()));
}

/// The packages, or where they are broken.
pub(super) fn resolve(tree: &Tree) -> Result<Resolve, Offence> {
    let mut waiting: Vec<(&str, UnresolvedPackageGroup)> = Vec::new();
    for path in VENDORED {
        let text = std::fs::read_to_string(tests::root().join(path)).expect("is in the repository");
        waiting.push((path, parse(path, &text)?));
    }
    for file in tree.below("wit/", ".wit") {
        waiting.push((&file.path, parse(&file.path, &file.text)?));
    }
    let mut resolve = Resolve::default();
    // A package may be pushed once all that it uses are there.
    while !waiting.is_empty() {
        let is_ready = |(_, group): &(&str, UnresolvedPackageGroup)| {
            group.main.foreign_deps.keys().all(|name| resolve.package_names.contains_key(name))
        };
        let Some(ready) = waiting.iter().position(is_ready) else {
            return Err(Offence::new(waiting[0].0, 1, "uses a package that is not in wit/"));
        };
        let (path, group) = waiting.remove(ready);
        resolve.push_group(group).map_err(|cause| Offence::new(path, 1, format!("does not resolve: {cause}")))?;
    }
    Ok(resolve)
}

fn parse(path: &str, text: &str) -> Result<UnresolvedPackageGroup, Offence> {
    let mut source = SourceMap::default();
    source.push_str(path, text);
    source.parse().map_err(|(_, cause)| Offence::new(path, 1, format!("is no WIT: {cause}")))
}

/// Whether a package is of ours.
fn is_ours(resolve: &Resolve, package: Option<PackageId>) -> bool {
    package.is_none_or(|id| resolve.packages[id].name.namespace != "wasi")
}

/// Capabilities, by name: the imports of `world service` that have functions. Types alone grant nothing.
pub(super) fn capabilities(tree: &Tree) -> Result<Vec<String>, Offence> {
    const FILE: &str = "wit/service.wit";
    let resolve = resolve(tree)?;
    let worlds = &mut resolve.worlds.iter().map(|(_, world)| world);
    let world = worlds.find(|world| world.name == "service").ok_or_else(|| Offence::new(FILE, 1, "has no `world service`"))?;
    let name = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => {
            let interface = &resolve.interfaces[*id];
            let package = interface.package.map(|id| resolve.packages[id].name.name.clone());
            (!interface.functions.is_empty() && is_ours(&resolve, interface.package)).then_some(package?)
        }
        _ => None,
    };
    let mut names: Vec<String> = world.imports.values().filter_map(name).collect();
    names.sort();
    names.dedup(); // a capability may have several interfaces
    Ok(names)
}

fn check(tree: &Tree) -> Vec<Offence> {
    let resolve = match resolve(tree) {
        Ok(resolve) => resolve,
        Err(offence) => return vec![offence],
    };
    let mut offences = Vec::new();
    let mut want = |what: &str, name: &str, docs: &Docs, span: Span| {
        if docs.contents.as_deref().is_none_or(|docs| docs.trim().is_empty()) {
            let place = resolve.render_location(span);
            let mut parts = place.split(':');
            let (file, line) = (parts.next().unwrap_or_default(), parts.next().and_then(|line| line.parse().ok()));
            offences.push(Offence::new(file, line.unwrap_or(1), format!("{what} `{name}`: say in `///` what it is")));
        }
    };
    for (_, world) in resolve.worlds.iter().filter(|(_, world)| is_ours(&resolve, world.package)) {
        want("world", &world.name, &world.docs, world.span);
    }
    for (_, interface) in resolve.interfaces.iter().filter(|(_, interface)| is_ours(&resolve, interface.package)) {
        want("interface", interface.name.as_deref().unwrap_or_default(), &interface.docs, interface.span);
        for (name, function) in &interface.functions {
            want("function", name, &function.docs, function.span);
        }
        types(&resolve, interface, &mut want);
    }
    offences
}

/// Types and their parts. A field whose type is documented under its own name may stay without.
fn types(resolve: &Resolve, interface: &Interface, want: &mut impl FnMut(&str, &str, &Docs, Span)) {
    for (name, &id) in &interface.types {
        let definition = &resolve.types[id];
        let used = |ty: &Type| matches!(ty, Type::Id(id) if resolve.types[*id].owner != definition.owner);
        if matches!(&definition.kind, TypeDefKind::Type(ty) if used(ty)) {
            continue; // `use`d from another interface
        }
        want("type", name, &definition.docs, definition.span);
        match &definition.kind {
            TypeDefKind::Record(record) => {
                for field in record.fields.iter().filter(|field| !has_name(resolve, &field.ty)) {
                    want("field", &field.name, &field.docs, field.span);
                }
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().for_each(|case| want("case", &case.name, &case.docs, case.span));
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().for_each(|case| want("case", &case.name, &case.docs, case.span));
            }
            TypeDefKind::Flags(flags) => {
                flags.flags.iter().for_each(|flag| want("flag", &flag.name, &flag.docs, flag.span));
            }
            _ => {}
        }
    }
}

/// Whether a type, or what a list or an option of it holds, has a name of its own.
fn has_name(resolve: &Resolve, ty: &Type) -> bool {
    let Type::Id(id) = ty else { return false };
    let definition = &resolve.types[*id];
    match &definition.kind {
        TypeDefKind::List(inner) | TypeDefKind::Option(inner) if definition.name.is_none() => has_name(resolve, inner),
        _ => definition.name.is_some(),
    }
}

/// A package with nothing documented.
const BARE: &str = "\
package tessera:bare@0.1.0;

interface bare {
  use tessera:types/types@0.1.0.{error};
  record one { failed: error, all: list<error>, count: u32, names: list<string> }
  variant two { a(u32) }
  enum three { b }
  flags four { c }
  resource five;
  run: func() -> error;
}
";

#[test]
fn an_item_without_docs_is_caught() {
    let types =
        "package tessera:types@0.1.0;\n/// T.\ninterface types {\n  /// E.\n  enum error {\n    /// No.\n    no\n  }\n}\n";
    let service = "package tessera:service@0.1.0;\nworld service {\n  import tessera:bare/bare@0.1.0;\n  import tessera:types/types@0.1.0;\n}\n";
    let tree = Tree::made_of(&[("wit/bare.wit", BARE), ("wit/service.wit", service), ("wit/types.wit", types)]);
    let expected = [
        ("wit/service.wit", 2, "world `service`"),
        ("wit/bare.wit", 3, "interface `bare`"),
        ("wit/bare.wit", 5, "type `one`"),
        ("wit/bare.wit", 5, "field `count`"),
        ("wit/bare.wit", 5, "field `names`"),
        ("wit/bare.wit", 6, "type `two`"),
        ("wit/bare.wit", 6, "case `a`"),
        ("wit/bare.wit", 7, "type `three`"),
        ("wit/bare.wit", 7, "case `b`"),
        ("wit/bare.wit", 8, "type `four`"),
        ("wit/bare.wit", 8, "flag `c`"),
        ("wit/bare.wit", 9, "type `five`"),
        ("wit/bare.wit", 10, "function `run`"),
    ];
    assert_caught(&check(&tree), &expected);
    assert_eq!(capabilities(&tree).expect("resolves"), ["bare"]);
}

#[test]
fn a_broken_package_is_caught() {
    assert_caught(&check(&Tree::made_of(&[("wit/a.wit", "package a:a;\ninterface {")])), &[("wit/a.wit", 1, "no WIT")]);
    let tree = Tree::made_of(&[("wit/a.wit", "package a:a;\nworld w { import b:b/b; }")]);
    assert_caught(&check(&tree), &[("wit/a.wit", 1, "not in wit/")]);
}
