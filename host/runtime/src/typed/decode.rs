//! Finds a component's functions and their types in its code.

mod imports;

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wit_parser::decoding::DecodedWasm;
use wit_parser::{FunctionKind, InterfaceId, Resolve, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem, WorldKey};

use super::docs::Docs;
use super::schema::{Schemas, Way};
use super::stream::Element;
use super::types::{self, Case, Field, Integer, Kind, Label, Named, Type};
use super::{Answers, End, Function, Functions, Outcome, Streamed, Success, Unexposed};

/// Levels of types in a value.
const DEPTH_MAX: usize = 64;
/// Types and names that one type unfolds to, where each named type counts as one.
const SIZE_MAX: usize = 20_000;
/// Functions of one component.
const FUNCTIONS_MAX: usize = 1_000;
/// Bytes of the schemas of all functions of a component, about.
const SCHEMA_BYTES_MAX: usize = 8 << 20;

/// Interfaces whose functions other parts of the host call.
const KNOWN: [&str; 4] = ["tessera:handler/", "tessera:guard/", "wasi:http/", "wasi:cli/"];

/// A function that streams what the host can't read: the component can't be served as its author means it.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The function's path.
    pub(crate) path: String,
    /// What can't be read.
    pub(crate) reason: String,
}

impl Functions {
    /// Finds the functions of a component's code. Code that exports none is not looked at further.
    ///
    /// # Errors
    /// When one of them streams what can't be read.
    pub(crate) fn read(wasm: &[u8], code: &Component, engine: &Engine) -> Result<Functions, Unreadable> {
        if !has_functions(code, engine) {
            return Ok(Functions::default());
        }
        let (docs, wasm) = Docs::split(wasm);
        let (resolve, world) = match wit_parser::decoding::decode(&wasm) {
            Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
            Ok(DecodedWasm::WitPackage(..)) => return Ok(Functions::default()),
            Err(error) => {
                let unexposed = Unexposed { path: "*".into(), reason: format!("its interfaces can't be read: {error:#}") };
                return Ok(Functions::new(Vec::new(), vec![unexposed]));
            }
        };
        Decoder::new(&resolve, &docs, world).functions(code)
    }
}

/// What componentize-qjs and componentize-py export to set a guest up as it is built: in JavaScript it runs any script.
const SET_UP: [&str; 2] = ["init", "exports"];

/// Whether a name is of an interface that the host knows otherwise.
fn is_known(export: &str) -> bool {
    KNOWN.iter().any(|known| export.starts_with(known))
}

fn has_functions(code: &Component, engine: &Engine) -> bool {
    code.component_type().exports(engine).any(|(name, item)| match item.ty {
        _ if is_known(name) || SET_UP.contains(&name) => false,
        ComponentItem::ComponentFunc(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            let mut items = instance.exports(engine);
            items.any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        }
        _ => false,
    })
}

/// Why a function is not called from outside.
enum Obstacle {
    /// Others of its component may be.
    Unexposed(String),
    /// It streams what the host can't read.
    Unreadable(String),
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Obstacle {
        Obstacle::Unexposed(reason)
    }
}

struct Decoder<'d> {
    resolve: &'d Resolve,
    docs: &'d Docs,
    world: WorldId,
    /// Paths of the exported interfaces.
    paths: HashMap<InterfaceId, String>,
    known: HashMap<TypeId, Result<Arc<Type>, String>>,
    /// Bytes that more schemas may have, about.
    schema_bytes: usize,
}

impl<'d> Decoder<'d> {
    fn new(resolve: &'d Resolve, docs: &'d Docs, world: WorldId) -> Self {
        let exports = &resolve.worlds[world].exports;
        let ids = exports.iter().filter_map(|(key, item)| match item {
            WorldItem::Interface { id, .. } => Some((*id, plain_name(resolve, key, *id))),
            _ => None,
        });
        let plain: Vec<(InterfaceId, String, String)> = ids.map(|(id, (plain, long))| (id, plain, long)).collect();
        let is_alone = |name: &str| plain.iter().filter(|(_, other, _)| other == name).count() == 1;
        let paths = plain.iter().map(|(id, name, long)| (*id, if is_alone(name) { name.clone() } else { long.clone() }));
        Decoder { resolve, docs, world, paths: paths.collect(), known: HashMap::new(), schema_bytes: SCHEMA_BYTES_MAX }
    }

    fn functions(mut self, code: &Component) -> Result<Functions, Unreadable> {
        let (mut list, mut unexposed) = (Vec::new(), Vec::new());
        let resolve = self.resolve;
        for (key, item) in &resolve.worlds[self.world].exports {
            let export = resolve.name_world_key(key);
            let (interface, functions): (_, Vec<&wit_parser::Function>) = match item {
                WorldItem::Interface { id, .. } if !is_known(&export) => {
                    (Some(*id), resolve.interfaces[*id].functions.values().collect())
                }
                WorldItem::Function(function) => (None, vec![function]),
                _ => continue,
            };
            if SET_UP.contains(&export.as_str()) {
                let reason = "it is there for the tool that made the component".into();
                unexposed.push(Unexposed { path: export, reason });
                continue;
            }
            for function in functions {
                let path = match interface {
                    Some(id) => format!("{}/{}", self.path(id), function.name),
                    None => function.name.clone(),
                };
                let at = Place { code, export: &export, interface };
                match self.function(&at, function, path.clone()) {
                    Ok(_) if list.len() >= FUNCTIONS_MAX => {
                        unexposed.push(Unexposed { path, reason: format!("there are {FUNCTIONS_MAX} before it") });
                    }
                    Ok(function) => list.push(Arc::new(function)),
                    Err(Obstacle::Unexposed(reason)) => unexposed.push(Unexposed { path, reason }),
                    Err(Obstacle::Unreadable(reason)) => return Err(Unreadable { path, reason }),
                }
            }
        }
        Ok(Functions::new(list, unexposed))
    }

    fn path(&self, id: InterfaceId) -> String {
        self.paths.get(&id).cloned().unwrap_or_default()
    }

    fn function(&mut self, at: &Place<'_>, function: &wit_parser::Function, path: String) -> Result<Function, Obstacle> {
        let (parameters, outcome) = self.signature(function)?;
        let (input_schema, output_schema) = schemas(&parameters, &outcome, &mut self.schema_bytes)
            .ok_or_else(|| format!("its types, with those before it, take more than {SCHEMA_BYTES_MAX} bytes to describe"))?;
        let docs = function.docs.contents.clone().or_else(|| match at.interface {
            Some(id) => self.docs.interface(self.interface_name(id)?)?.function(&function.name),
            None => self.docs.function(&function.name),
        });
        let instance = at.interface.and_then(|_| at.code.get_export_index(None, at.export));
        let export = at.code.get_export_index(instance.as_ref(), function.name.as_str());
        Ok(Function {
            interface: at.interface.map(|_| at.export.into()),
            name: function.name.clone(),
            path,
            docs,
            input_schema,
            output_schema,
            answers: if matches!(outcome.success, Success::Stream(_)) { Answers::Stream } else { Answers::Whole },
            parameters,
            outcome,
            export: export.ok_or_else(|| "it is not found in the code".to_owned())?,
        })
    }

    /// What a function takes and gives.
    fn signature(&mut self, function: &wit_parser::Function) -> Result<(Named<Field>, Outcome), Obstacle> {
        if !matches!(function.kind, FunctionKind::Freestanding | FunctionKind::AsyncFreestanding) {
            return Err(Obstacle::Unexposed("it belongs to a resource, which has no form in JSON".into()));
        }
        let mut parameters = Vec::new();
        for parameter in &function.params {
            let ty = self.ty(&parameter.ty).map_err(|reason| match self.stream(&parameter.ty) {
                Some(_) => Obstacle::Unreadable(format!("its parameter `{}` is a stream", parameter.name)),
                None => Obstacle::Unexposed(format!("its parameter `{}` has {reason}", parameter.name)),
            })?;
            parameters.push(Field { label: Label::new(&parameter.name, None), ty });
        }
        Ok((Named::new(parameters), self.outcome(function.result.as_ref())?))
    }

    /// An interface's own name, by which authors' docs are found.
    fn interface_name(&self, id: InterfaceId) -> Option<&'d str> {
        let resolve = self.resolve;
        resolve.interfaces[id].name.as_deref().or_else(|| {
            let mut exports = resolve.worlds[self.world].exports.iter();
            exports.find_map(|(key, item)| match (key, item) {
                (WorldKey::Name(name), WorldItem::Interface { id: other, .. }) if *other == id => Some(name.as_str()),
                _ => None,
            })
        })
    }

    fn outcome(&mut self, result: Option<&wit_parser::Type>) -> Result<Outcome, Obstacle> {
        let Some(result) = result else { return Ok(Outcome { success: Success::Nothing, failure: None }) };
        let Some(TypeDefKind::Result(cases)) = self.definition(result).cloned() else {
            return Ok(Outcome { success: self.success(result)?, failure: None });
        };
        let failure = cases.err.map(|err| self.ty(&err)).transpose().map_err(|reason| format!("its error has {reason}"))?;
        let success = match cases.ok {
            Some(ok) => self.success(&ok)?,
            None => Success::Nothing,
        };
        Ok(Outcome { success, failure: Some(failure) })
    }

    fn success(&mut self, ty: &wit_parser::Type) -> Result<Success, Obstacle> {
        if let Some(item) = self.stream(ty) {
            return Ok(Success::Stream(Streamed { end: None, ..self.streamed(item)? }));
        }
        if let Some(TypeDefKind::Tuple(tuple)) = self.definition(ty)
            && let [first, second] = tuple.types[..]
            && let Some(item) = self.stream(&first)
        {
            let streamed = self.streamed(item)?;
            let end = match self.definition(&second) {
                Some(TypeDefKind::Future(Some(end))) => self.end(&end.clone())?,
                _ => return Err(Obstacle::Unreadable("beside its stream it gives no future of a result".into())),
            };
            return Ok(Success::Stream(Streamed { end: Some(end), ..streamed }));
        }
        Ok(Success::Value(self.ty(ty).map_err(|reason| format!("its result has {reason}"))?))
    }

    fn streamed(&mut self, item: Option<wit_parser::Type>) -> Result<Streamed, Obstacle> {
        let unreadable = || Obstacle::Unreadable(format!("it streams items that the host can't read: {}", Element::READABLE));
        let (ty, element) = self.element(&item.ok_or_else(unreadable)?).ok_or_else(unreadable)?;
        // Bytes come in pieces.
        let ty = if element == Element::U8 { Arc::new(Type::new(Kind::Bytes)) } else { ty };
        Ok(Streamed { ty, element, end: None })
    }

    /// How a stream ends.
    fn end(&mut self, ty: &wit_parser::Type) -> Result<End, Obstacle> {
        let reason = "the future beside its stream must hold a result of nothing or a value that could be streamed";
        let unreadable = || Obstacle::Unreadable(format!("{reason}: {}", Element::READABLE));
        let Some(TypeDefKind::Result(cases)) = self.definition(ty).cloned() else { return Err(unreadable()) };
        let mut side = |ty: Option<wit_parser::Type>| match ty {
            Some(ty) => self.element(&ty).map(Some).ok_or_else(unreadable),
            None => Ok(None),
        };
        let end = End { ok: side(cases.ok)?, err: side(cases.err)? };
        let elements = (end.ok.as_ref().map(|(_, element)| *element), end.err.as_ref().map(|(_, element)| *element));
        if Element::may_end(elements.0, elements.1) { Ok(end) } else { Err(unreadable()) }
    }

    /// A type that the host can read from streams.
    fn element(&mut self, ty: &wit_parser::Type) -> Option<(Arc<Type>, Element)> {
        let read = self.ty(ty).ok()?;
        let element = match self.origin(ty).as_deref() {
            Some("tessera:generate/types.event") => Element::Event,
            Some("tessera:generate/types.outcome") => Element::Outcome,
            Some("tessera:inference/types.error") => Element::Error,
            _ => Element::of(&read.kind)?,
        };
        Some((read, element))
    }

    /// Where a named type comes from: `tessera:generate/types.event`.
    fn origin(&self, ty: &wit_parser::Type) -> Option<String> {
        let wit_parser::Type::Id(mut id) = *ty else { return None };
        while let TypeDefKind::Type(wit_parser::Type::Id(next)) = self.resolve.types[id].kind {
            id = next;
        }
        let def = &self.resolve.types[id];
        let TypeOwner::Interface(interface) = def.owner else { return None };
        let interface = &self.resolve.interfaces[interface];
        let package = &self.resolve.packages[interface.package?].name;
        Some(format!("{}:{}/{}.{}", package.namespace, package.name, interface.name.as_ref()?, def.name.as_ref()?))
    }

    /// The items' type of a stream.
    fn stream(&self, ty: &wit_parser::Type) -> Option<Option<wit_parser::Type>> {
        match self.definition(ty) {
            Some(TypeDefKind::Stream(item)) => Some(*item),
            _ => None,
        }
    }

    /// What a type is behind its names.
    fn definition(&self, ty: &wit_parser::Type) -> Option<&'d TypeDefKind> {
        let mut ty = *ty;
        while let wit_parser::Type::Id(id) = ty {
            match &self.resolve.types[id].kind {
                TypeDefKind::Type(next) => ty = *next,
                kind => return Some(kind),
            }
        }
        None
    }
}

/// Where a function stands.
struct Place<'a> {
    code: &'a Component,
    /// Name of the export that it is, or is in.
    export: &'a str,
    interface: Option<InterfaceId>,
}

fn plain_name(resolve: &Resolve, key: &WorldKey, id: InterfaceId) -> (String, String) {
    let plain = match key {
        WorldKey::Name(name) => name.clone(),
        WorldKey::Interface(_) => resolve.interfaces[id].name.clone().unwrap_or_default(),
    };
    let long = resolve.name_world_key(key).replace([':', '/', '@'], "-");
    (plain, long)
}

fn schemas(parameters: &Named<Field>, outcome: &Outcome, left: &mut usize) -> Option<(serde_json::Value, serde_json::Value)> {
    let mut whole = |make: &dyn Fn(&mut Schemas) -> serde_json::Value| {
        let mut schemas = Schemas::at("#/$defs/", "").within(*left);
        let mut schema = make(&mut schemas);
        *left = schemas.left();
        let kept = schemas.kept();
        if !kept.is_empty() {
            schema["$defs"] = kept.into_iter().collect();
        }
        (*left > 0).then_some(schema)
    };
    let output = whole(&|schemas| match &outcome.success {
        Success::Nothing => serde_json::json!({"type": "null"}),
        Success::Value(ty) => schemas.of(ty, Way::Out),
        Success::Stream(streamed) => schemas.of(&streamed.ty, Way::Out),
    })?;
    Some((whole(&|schemas| schemas.of_arguments(parameters))?, output))
}

impl Decoder<'_> {
    /// Reads a type.
    ///
    /// # Errors
    /// What in it has no form in JSON.
    fn ty(&mut self, ty: &wit_parser::Type) -> Result<Arc<Type>, String> {
        let kind = match ty {
            wit_parser::Type::Bool => Kind::Bool,
            wit_parser::Type::U8 => Kind::Integer(Integer::U8),
            wit_parser::Type::U16 => Kind::Integer(Integer::U16),
            wit_parser::Type::U32 => Kind::Integer(Integer::U32),
            wit_parser::Type::U64 => Kind::Integer(Integer::U64),
            wit_parser::Type::S8 => Kind::Integer(Integer::S8),
            wit_parser::Type::S16 => Kind::Integer(Integer::S16),
            wit_parser::Type::S32 => Kind::Integer(Integer::S32),
            wit_parser::Type::S64 => Kind::Integer(Integer::S64),
            wit_parser::Type::F32 => Kind::Float32,
            wit_parser::Type::F64 => Kind::Float64,
            wit_parser::Type::Char => Kind::Char,
            wit_parser::Type::String => Kind::String,
            wit_parser::Type::ErrorContext => return Err("an `error-context`, which has no form in JSON".into()),
            wit_parser::Type::Id(id) => return self.defined(*id),
        };
        Ok(Arc::new(Type::new(kind)))
    }

    fn defined(&mut self, id: TypeId) -> Result<Arc<Type>, String> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let resolve = self.resolve;
        let def = &resolve.types[id];
        let read = match &def.kind {
            TypeDefKind::Type(other) => self.ty(other),
            kind => self.kind(id, kind).and_then(|kind| {
                let mut ty = Type::new(kind);
                if ty.depth > DEPTH_MAX {
                    return Err(format!("more than {DEPTH_MAX} levels of types"));
                }
                if ty.size > SIZE_MAX {
                    return Err(format!("more than {SIZE_MAX} types and names"));
                }
                if let Some(name) = &def.name {
                    ty.name = Some(match def.owner {
                        TypeOwner::Interface(owner) => format!("{}.{name}", self.owner(owner)),
                        _ => name.clone(),
                    });
                    ty.docs = def.docs.contents.clone().or_else(|| self.docs_of(id)?.ty(name));
                }
                Ok(Arc::new(ty))
            }),
        };
        self.known.insert(id, read.clone());
        read
    }

    /// What the names of an interface's types begin with.
    fn owner(&self, id: InterfaceId) -> String {
        if let Some(path) = self.paths.get(&id) {
            return path.clone();
        }
        let interface = &self.resolve.interfaces[id];
        let name = interface.name.clone().unwrap_or_default();
        match interface.package.map(|package| &self.resolve.packages[package].name) {
            Some(package) => format!("{}-{}-{name}", package.namespace, package.name),
            None => name,
        }
    }

    fn docs_of(&self, id: TypeId) -> Option<&super::docs::Interface> {
        let TypeOwner::Interface(owner) = self.resolve.types[id].owner else { return None };
        self.docs.interface(self.interface_name(owner)?)
    }

    fn kind(&mut self, id: TypeId, kind: &TypeDefKind) -> Result<Kind, String> {
        let none = |what: &str| Err(format!("a {what}, which has no form in JSON"));
        let name = self.resolve.types[id].name.clone().unwrap_or_default();
        let label = |decoder: &Self, item: &str, docs: &wit_parser::Docs| {
            let docs = docs.contents.clone().or_else(|| decoder.docs_of(id)?.item(&name, item));
            Label::new(item, docs)
        };
        Ok(match kind {
            TypeDefKind::List(wit_parser::Type::U8) => Kind::Bytes,
            TypeDefKind::List(inner) => match self.ty(inner)? {
                inner if inner.kind == Kind::Integer(Integer::U8) => Kind::Bytes,
                inner => Kind::List(inner),
            },
            TypeDefKind::Option(inner) => Kind::Option(self.ty(inner)?),
            TypeDefKind::Tuple(tuple) => Kind::Tuple(tuple.types.iter().map(|ty| self.ty(ty)).collect::<Result<Vec<_>, _>>()?),
            TypeDefKind::Result(cases) => {
                let ok = cases.ok.map(|ty| self.ty(&ty)).transpose()?;
                types::result(ok, cases.err.map(|ty| self.ty(&ty)).transpose()?)
            }
            TypeDefKind::Record(record) => {
                let mut fields = Vec::new();
                for field in &record.fields {
                    fields.push(Field { label: label(self, &field.name, &field.docs), ty: self.ty(&field.ty)? });
                }
                Kind::Record(Named::new(fields))
            }
            TypeDefKind::Variant(variant) => {
                let mut cases = Vec::new();
                for case in &variant.cases {
                    let ty = case.ty.map(|ty| self.ty(&ty)).transpose()?;
                    cases.push(Case { label: label(self, &case.name, &case.docs), ty });
                }
                Kind::Variant(Named::new(cases))
            }
            TypeDefKind::Enum(cases) => {
                Kind::Enum(Named::new(cases.cases.iter().map(|case| label(self, &case.name, &case.docs)).collect()))
            }
            TypeDefKind::Flags(flags) => {
                Kind::Flags(Named::new(flags.flags.iter().map(|flag| label(self, &flag.name, &flag.docs)).collect()))
            }
            TypeDefKind::Resource | TypeDefKind::Handle(_) => return none("resource"),
            TypeDefKind::Future(_) => return none("future"),
            TypeDefKind::Stream(_) => return none("stream"),
            TypeDefKind::Map(..) => return none("map"),
            TypeDefKind::FixedLengthList(..) => return none("list of fixed length"),
            TypeDefKind::Type(_) | TypeDefKind::Unknown => return none("type that is not known"),
        })
    }
}
