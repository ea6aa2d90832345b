//! The functions of the WIT that the host links.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cargo_metadata::{Metadata, MetadataCommand};
use wit_parser::{FunctionKind, Resolve, SourceMap, TypeId, UnresolvedPackageGroup};

/// Crates that link interfaces of WASI, and where in them its WIT is. Some packages are in several.
const CRATES: [(&str, &str); 5] = [
    ("wasmtime-wasi", "src/p2/wit/deps"),
    ("wasmtime-wasi", "src/p3/wit/deps"),
    ("wasmtime-wasi-http", "wit/deps"),
    ("wasmtime-wasi-http", "src/p3/wit/deps"),
    ("wasmtime-wasi-nn", "wit"),
];

/// One function of an interface.
pub(super) struct Function {
    /// With the whole version: `wasi:cli/environment@0.2.12`.
    interface: String,
    /// With the first two numbers of the version, as rows have it.
    short: String,
    /// As components name it: `[method]descriptor.stat`.
    name: String,
    /// The resource whose method, static function or constructor it is.
    resource: Option<String>,
    is_constructor: bool,
}

impl Function {
    /// As rows name it.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.short, self.name)
    }

    /// Whether a component may import it that wants nothing in its manifest.
    pub(super) fn is_free(&self) -> bool {
        self.interface.starts_with("wasi:") && !self.interface.starts_with("wasi:nn/")
    }

    /// A component that imports it under a type that fits none: the host tells apart what it has under another type and what
    /// it does not have.
    pub(super) fn importer(&self) -> String {
        let Function { interface, name, resource, .. } = self;
        let own = resource.as_ref().map(|resource| format!("(export \"{resource}\" (type $r (sub resource)))"));
        let ty = match () {
            () if self.is_constructor => "(result (own $r))",
            () if name.starts_with("[method]") => "(param \"self\" (borrow $r))",
            () => "",
        };
        let export = format!("(export \"{name}\" (func {ty}))");
        format!("(component (import \"{interface}\" (instance {} {export})))", own.unwrap_or_default())
    }
}

/// All functions, those that only components export as well.
pub(super) fn functions() -> &'static [Function] {
    static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| read(&resolve()))
}

fn read(resolve: &Resolve) -> Vec<Function> {
    let mut functions = Vec::new();
    for (_, interface) in &resolve.interfaces {
        let package = &resolve.packages[interface.package.expect("an interface is of a package")].name;
        let version = package.version.as_ref().expect("a package has a version");
        let of = |version: String| {
            format!("{}:{}/{}@{version}", package.namespace, package.name, interface.name.as_deref().unwrap_or_default())
        };
        let resource = |id: TypeId| resolve.types[id].name.clone();
        functions.extend(interface.functions.iter().map(|(name, function)| Function {
            interface: of(version.to_string()),
            short: of(format!("{}.{}", version.major, version.minor)),
            name: name.clone(),
            resource: function.kind.resource().and_then(resource),
            is_constructor: matches!(function.kind, FunctionKind::Constructor(_)),
        }));
    }
    functions
}

fn resolve() -> Resolve {
    let metadata = metadata();
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|(name, folder)| crate_folder(&metadata, name).join(folder)).collect();
    folders.push(tests::root().join("wit"));
    let mut groups: Vec<UnresolvedPackageGroup> = Vec::new();
    for file in folders.iter().flat_map(|folder| wit_files(folder)) {
        let group = parse(&file);
        if groups.iter().all(|other| other.main.name != group.main.name) {
            groups.push(group);
        }
    }
    let main = groups.pop().expect("there is WIT");
    let mut resolve = Resolve::default();
    resolve.push_groups(main, groups).unwrap_or_else(|error| panic!("the WIT does not resolve: {error}"));
    resolve
}

fn parse(file: &Path) -> UnresolvedPackageGroup {
    let mut source = SourceMap::default();
    source.push_str(&file.display().to_string(), std::fs::read_to_string(file).expect("can be read"));
    source.parse().unwrap_or_else(|(_, error)| panic!("{}: {error}", file.display()))
}

/// The WIT files in a folder, sorted.
fn wit_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("lists").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wit"));
    assert!(!files.is_empty(), "{} holds no WIT", folder.display());
    files.sort();
    files
}

/// All crates that are built, with where they are.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(tests::root().join("Cargo.toml"))
        .other_options(["--offline", "--filter-platform", "host-tuple"].map(String::from))
        .exec()
        .expect("cargo metadata reads the workspace")
}

fn crate_folder(metadata: &Metadata, name: &str) -> PathBuf {
    let package = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let package = package.unwrap_or_else(|| panic!("the host is built without {name}"));
    package.manifest_path.parent().expect("a manifest is in a folder").into()
}
