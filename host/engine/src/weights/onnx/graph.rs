//! Which parameter of the model each tensor of a graph is.
//!
//! Exporters keep the names of parameters that the graph uses as they are: tables, norms, biases. A linear layer's weight is
//! transposed, quantised or both and then has a name of its own; it is found by the operation that reads it, and named by
//! the bias that is added to its product.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::message::{self, Node, fields};
use super::quantized::{self, Floats};
use super::tensor::{Array, Type};
use crate::kernel::block::BlockType;
use crate::weights::Entry;

/// Fields of `ModelProto` and `GraphProto`.
const GRAPH: usize = 7;
const NODE: usize = 1;
const INITIALIZER: usize = 5;
const SPARSE_INITIALIZER: usize = 15;

/// Operations of one graph, and tensors: several times those of the largest encoders.
const NODES_MAX: usize = 1 << 16;
const TENSORS_MAX: usize = 1 << 16;
/// A longer node holds a tensor of its own, and is no operation on parameters.
const NODE_BYTES_MAX: usize = 4096;

/// Floats that are made of a file, for each of its bytes: there are two numbers of 4 bits in one, and some weights are read twice.
const NUMBERS_OF_A_BYTE: usize = 4;

/// What quantisers put behind the name of what they replace.
const SUFFIXES: [&str; 4] = ["_quantized", "_Q4", "_Q8", "_Q4G32"];

/// The operations of a model and its tensors.
pub(super) struct Graph {
    /// The file's length.
    bytes: usize,
    nodes: Vec<Node>,
    tensors: BTreeMap<String, message::Tensor>,
}

impl Graph {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is damaged or too large.
    pub(super) fn read(file: Bytes) -> Result<Graph, String> {
        let mut graph = Graph { bytes: file.len(), nodes: Vec::new(), tensors: BTreeMap::new() };
        fields(file, |field, bytes| if field == GRAPH { graph.add(bytes) } else { Ok(()) })?;
        match graph.tensors.is_empty() {
            true => Err("it has no graph with tensors; is it an ONNX file?".into()),
            false => Ok(graph),
        }
    }

    fn add(&mut self, graph: Bytes) -> Result<(), String> {
        fields(graph, |field, bytes| match field {
            NODE if bytes.len() > NODE_BYTES_MAX => Ok(()),
            NODE if self.nodes.len() == NODES_MAX => Err(format!("its graph has more than {NODES_MAX} operations")),
            NODE => {
                self.nodes.push(Node::decode(bytes).map_err(|error| format!("an operation is damaged: {error}"))?);
                Ok(())
            }
            INITIALIZER if self.tensors.len() == TENSORS_MAX => Err(format!("it has more than {TENSORS_MAX} tensors")),
            INITIALIZER => {
                let tensor = message::Tensor::decode(bytes).map_err(|error| format!("a tensor is damaged: {error}"))?;
                match self.tensors.insert(tensor.name.clone(), tensor) {
                    Some(twice) => Err(format!("tensor `{}` is there twice", twice.name)),
                    None => Ok(()),
                }
            }
            SPARSE_INITIALIZER => Err("it has sparse tensors, which are not supported".into()),
            _ => Ok(()),
        })
    }

    /// The tensors under the names of the parameters.
    ///
    /// # Errors
    /// When a tensor is damaged or elsewhere, or what reads it is not supported.
    pub(super) fn parameters(&self) -> Result<BTreeMap<String, Entry>, String> {
        let mut reader = Reader {
            graph: self,
            biases: self.biases(),
            tables: self.tables(),
            made: BTreeMap::new(),
            used: BTreeSet::new(),
            numbers_left: self.bytes.saturating_mul(NUMBERS_OF_A_BYTE),
        };
        let mut parameters = BTreeMap::new();
        for node in &self.nodes {
            let Some((name, floats)) = reader.read(node)? else { continue };
            if parameters.insert(name.clone(), entry(floats)).is_some() {
                return Err(format!("its graph has two weights for `{name}`"));
            }
        }
        let used = reader.used;
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| !used.contains(name.as_str())) {
            let Some(Type::Plain(ty)) = Type::of(tensor.data_type) else { continue };
            let Array { shape, bytes, .. } = Array::new(tensor)?;
            parameters.entry(name.clone()).or_insert(Entry { ty: Ok(ty), shape, bytes });
        }
        Ok(parameters)
    }

    /// The biases, by what they are added to.
    fn biases(&self) -> BTreeMap<&str, &str> {
        let mut biases = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.op_type == "Add") {
            let Some((a, b)) = node.input(0).zip(node.input(1)) else { continue };
            let pairs = [(a, b), (b, a)].into_iter().filter(|(bias, _)| self.tensors.contains_key(*bias));
            biases.extend(pairs.map(|(bias, product)| (product, bias)));
        }
        biases
    }

    /// The tables that rows are gathered of, by what comes of it.
    fn tables(&self) -> BTreeMap<&str, &str> {
        let gathers = self.nodes.iter().filter(|node| node.op_type == "Gather");
        let tables = gathers.filter_map(|node| Some((node.output.first()?.as_str(), node.input(0)?)));
        tables.filter(|(_, table)| self.tensors.contains_key(*table)).collect()
    }

    /// What an operation reads. Only if it has numbers is their count as much as the file is long.
    fn tensor(&self, name: &str) -> Result<Array, String> {
        let tensor = self.tensors.get(name).ok_or_else(|| format!("`{name}` is no tensor of the file"))?;
        let array = Array::new(tensor)?;
        if array.len() == 0 { Err(format!("`{name}` is empty")) } else { Ok(array) }
    }
}

/// A graph being read, operation by operation in their order.
struct Reader<'a> {
    graph: &'a Graph,
    biases: BTreeMap<&'a str, &'a str>,
    tables: BTreeMap<&'a str, &'a str>,
    /// Weights that an operation has made floats of, by the name of its output, with the name of what they were.
    made: BTreeMap<&'a str, (&'a str, Floats)>,
    /// Tensors that are part of a parameter under another name.
    used: BTreeSet<&'a str>,
    /// Numbers that may still be made floats of.
    numbers_left: usize,
}

impl<'a> Reader<'a> {
    /// The parameter that an operation reads under a name of its own, if it does.
    fn read(&mut self, node: &'a Node) -> Result<Option<(String, Floats)>, String> {
        match node.op_type.as_str() {
            "DequantizeLinear" => self.dequantize(node),
            "MatMulNBits" => self.blocks(node).map(Some),
            "MatMul" => self.matrix(node, true),
            "Gemm" => self.gemm(node),
            "Gather" | "Constant" => Ok(None),
            other => match node.input.iter().find(|name| self.is_quantized(name)) {
                Some(name) => Err(format!(
                    "`{other}` reads the quantised tensor `{name}`; such weights are read for MatMulNBits and DequantizeLinear"
                )),
                None => Ok(None),
            },
        }
    }

    /// Makes floats of a quantised weight, to be read by an operation that follows, or of a table whose rows are gathered.
    fn dequantize(&mut self, node: &'a Node) -> Result<Option<(String, Floats)>, String> {
        let (Some(x), Some(scale)) = (node.input(0), node.input(1)) else {
            return Err("a DequantizeLinear lacks its operands".into());
        };
        let source = if self.graph.tensors.contains_key(x) { Some(x) } else { self.tables.get(x).copied() };
        let Some(source) = source else { return Ok(None) }; // what it reads is computed, no weight
        let scales = self.graph.tensor(scale)?;
        if source != x && scales.len() != 1 {
            return Err(format!("the rows of `{source}` have several scales, which is not supported"));
        }
        let zero = node.input(2).map(|name| self.graph.tensor(name)).transpose()?;
        let floats = quantized::linear(node, &self.take(source)?, &scales, zero.as_ref())?;
        self.used.extend([Some(scale), node.input(2)].into_iter().flatten());
        if source != x {
            return Ok(Some((plain(source).into(), floats)));
        }
        let output = node.output.first().ok_or("a DequantizeLinear has no output")?;
        self.made.insert(output, (source, floats));
        Ok(None)
    }

    fn blocks(&mut self, node: &'a Node) -> Result<(String, Floats), String> {
        let (Some(packed), Some(scales)) = (node.input(1), node.input(2)) else {
            return Err("a MatMulNBits lacks its operands".into());
        };
        if node.input(4).is_some() {
            return Err(format!("`{packed}` has its groups in an order of their own, which is not supported"));
        }
        let zeros = node.input(3).map(|name| self.graph.tensor(name)).transpose()?;
        let floats = quantized::blocks(node, &self.take(packed)?, &self.graph.tensor(scales)?, zeros.as_ref())?;
        self.used.extend([Some(scales), node.input(3)].into_iter().flatten());
        Ok((self.name(node, packed, node.input(5)), floats))
    }

    /// The weight of a matrix product, transposed if the graph has it the other way than a linear layer does.
    fn matrix(&mut self, node: &'a Node, is_transposed: bool) -> Result<Option<(String, Floats)>, String> {
        let Some(weight) = node.input(1) else { return Ok(None) };
        let (source, floats) = match self.made.remove(weight) {
            Some(made) => made,
            None if self.graph.tensors.contains_key(weight) => {
                let array = self.take(weight)?;
                let values = array.floats().ok_or_else(|| format!("the weight `{weight}` has no floats"))?;
                (weight, Floats { shape: array.shape, values })
            }
            None => return Ok(None), // both factors are computed
        };
        let bias = node.input(2).filter(|_| node.op_type == "Gemm");
        let floats = if is_transposed { floats.transposed() } else { Some(floats) };
        let floats = floats.ok_or_else(|| format!("the weight `{source}` is no matrix"))?;
        Ok(Some((self.name(node, source, bias), floats)))
    }

    /// A weight that floats are about to be made of. A file can name one often, which is to cost no more than its size allows.
    fn take(&mut self, name: &'a str) -> Result<Array, String> {
        let array = self.graph.tensor(name)?;
        let left = self.numbers_left.checked_sub(array.len());
        self.numbers_left = left.ok_or_else(|| format!("too many operations read the weight `{name}` or others"))?;
        self.used.insert(name);
        Ok(array)
    }

    fn gemm(&mut self, node: &'a Node) -> Result<Option<(String, Floats)>, String> {
        let is_one = |name: &str| node.attribute(name).is_none_or(|attribute| attribute.f == 1.0);
        if node.int("transA", 0) != 0 || !is_one("alpha") || !is_one("beta") {
            return Err("a Gemm has a transposed input or factors, which is not supported".into());
        }
        self.matrix(node, node.int("transB", 0) == 0)
    }

    /// The parameter that a weight is.
    fn name(&self, node: &Node, weight: &str, bias: Option<&str>) -> String {
        let plain = plain(weight);
        let added = || self.biases.get(node.output.first()?.as_str()).copied();
        let layer = bias.or_else(added).and_then(|bias| bias.strip_suffix(".bias"));
        match layer {
            Some(layer) if !plain.ends_with(".weight") => format!("{layer}.weight"),
            _ => plain.into(),
        }
    }

    fn is_quantized(&self, name: &str) -> bool {
        let is_integer = |tensor: &message::Tensor| !matches!(Type::of(tensor.data_type), None | Some(Type::Plain(_)));
        self.graph.tensors.get(name).is_some_and(|tensor| tensor.dims.len() > 1 && is_integer(tensor))
    }
}

/// The name of a tensor before it was quantised.
fn plain(name: &str) -> &str {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

fn entry(Floats { shape, values }: Floats) -> Entry {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Entry { ty: Ok(BlockType::F32), shape, bytes: bytes.into() }
}
