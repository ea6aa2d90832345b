use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::message::{Attribute, Node, Tensor};
use super::*;

#[derive(Clone, PartialEq, prost::Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const FLOAT16: i32 = 10;
const INT4: i32 = 22;

fn node(op_type: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Node {
    let attribute = |&(name, i): &(&str, i64)| Attribute { name: name.into(), i, f: 0.0 };
    Node {
        op_type: op_type.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        attribute: attributes.iter().map(attribute).collect(),
    }
}

fn tensor(name: &str, data_type: i32, dims: &[i64], bytes: &[u8]) -> Tensor {
    let raw_data = Bytes::copy_from_slice(bytes);
    Tensor { name: name.into(), data_type, dims: dims.into(), raw_data, ..Tensor::default() }
}

fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> Tensor {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    tensor(name, FLOAT, dims, &bytes)
}

fn encode(node: Vec<Node>, initializer: Vec<Tensor>) -> Vec<u8> {
    ModelProto { ir_version: 8, graph: Some(GraphProto { node, initializer }) }.encode_to_vec()
}

fn weights(nodes: Vec<Node>, tensors: Vec<Tensor>) -> Result<Weights, String> {
    read(encode(nodes, tensors).into())
}

#[track_caller]
fn refusal(nodes: Vec<Node>, tensors: Vec<Tensor>) -> String {
    weights(nodes, tensors).expect_err("refused")
}

/// The numbers of the only parameter, after its name and shape.
#[track_caller]
fn assert_parameter(weights: &Weights, name: &str, shape: &[usize], numbers: &[f32]) {
    assert_eq!(weights.values(name, shape).expect("a parameter"), numbers, "{name}");
}

#[test]
fn a_factor_of_a_product_is_the_weight_of_the_layer_whose_bias_is_added() {
    let nodes = vec![
        node("MatMul", &["x", "onnx::MatMul_7"], "y", &[]),
        node("Add", &["a.dense.bias", "y"], "z", &[]),
        node("Gemm", &["z", "b.weight", "b.bias"], "u", &[("transB", 1)]),
        node("MatMul", &["u", "z"], "v", &[]),
    ];
    let tensors = vec![
        floats("onnx::MatMul_7", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        floats("a.dense.bias", &[3], &[7.0, 8.0, 9.0]),
        floats("b.weight", &[1, 3], &[1.0, 2.0, 3.0]),
        tensor("b.bias", FLOAT16, &[1], &[0x00, 0x3e]),
    ];
    let weights = weights(nodes, tensors).expect("reads");
    assert_eq!(weights.entries.keys().collect::<Vec<_>>(), ["a.dense.bias", "a.dense.weight", "b.bias", "b.weight"]);
    assert_parameter(&weights, "a.dense.weight", &[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_parameter(&weights, "b.weight", &[1, 3], &[1.0, 2.0, 3.0]);
    assert_parameter(&weights, "b.bias", &[1], &[1.5]);
}

const SHAPE: [(&str, i64); 3] = [("K", 4), ("N", 2), ("block_size", 2)];

fn blocks(bits: i64, zeros: Option<Tensor>, packed: &[u8]) -> Result<Weights, String> {
    let mut inputs = vec!["x", "w_Q4", "w_scales"];
    inputs.extend(zeros.as_ref().map(|_| "w_zeros"));
    let nodes = vec![
        node("MatMulNBits", &inputs, "y", &[&SHAPE[..], &[("bits", bits)]].concat()),
        node("Add", &["y", "l.bias"], "z", &[]),
    ];
    let mut tensors = vec![
        tensor("w_Q4", UINT8, &[2, 2, packed.len() as i64 / 4], packed),
        floats("w_scales", &[4], &[1.0, 0.5, 2.0, 10.0]),
        floats("l.bias", &[2], &[0.0, 0.0]),
    ];
    tensors.extend(zeros);
    weights(nodes, tensors)
}

#[test]
fn blocks_of_4_and_8_bits_are_as_onnxruntime_reads_them() {
    let four = blocks(4, None, &[0x80, 0x1f, 0x97, 0x08]).expect("reads");
    assert_parameter(&four, "l.weight", &[2, 4], &[-8.0, 0.0, 3.5, -3.5, -2.0, 2.0, 0.0, -80.0]);
    assert_eq!(four.entries.len(), 2, "what the weight was made of is no parameter");
    let zeros = tensor("w_zeros", UINT8, &[2], &[0x10, 0x98]); // of the first row 0 and 1, of the second 8 and 9
    let four = blocks(4, Some(zeros), &[0x80, 0x1f, 0x97, 0x08]).expect("reads");
    assert_parameter(&four, "l.weight", &[2, 4], &[0.0, 8.0, 7.0, 0.0, -2.0, 2.0, -10.0, -90.0]);
    let eight = blocks(8, None, &[0, 128, 255, 129, 127, 1, 128, 130]).expect("reads");
    assert_parameter(&eight, "l.weight", &[2, 4], &[-128.0, 0.0, 63.5, 0.5, -2.0, -254.0, 0.0, 20.0]);
    let zeros = floats("w_zeros", &[4], &[0.5, 0.0, 0.0, 0.0]);
    let eight = blocks(8, Some(zeros), &[1, 2, 3, 4, 5, 6, 7, 8]).expect("reads");
    assert_parameter(&eight, "l.weight", &[2, 4], &[0.5, 1.5, 1.5, 2.0, 10.0, 12.0, 70.0, 80.0]);
}

#[test]
fn blocks_that_do_not_fit_are_refused() {
    assert!(blocks(4, None, &[0; 8]).expect_err("too many").contains("K = 4"));
    assert!(blocks(3, None, &[0; 4]).expect_err("unknown").contains("3 bits"));
    assert!(blocks(4, Some(tensor("w_zeros", UINT8, &[1], &[0])), &[0; 4]).is_err());
    let huge = [("K", i64::MAX), ("N", i64::MAX), ("block_size", 2)];
    let tensors = vec![tensor("w", UINT8, &[4], &[0; 4]), floats("s", &[1], &[1.0])];
    assert!(refusal(vec![node("MatMulNBits", &["x", "w", "s"], "y", &huge)], tensors).contains("other operands"));
    let tensors = vec![tensor("w", UINT8, &[4], &[0; 4]), floats("s", &[4], &[1.0; 4])];
    assert!(refusal(vec![node("MatMulNBits", &["x", "w", "s"], "y", &[])], tensors).contains("lacks"));
}

#[test]
fn rows_that_are_gathered_and_then_dequantised_make_a_table() {
    let nodes = vec![
        node("Gather", &["words.weight_quantized", "ids"], "rows", &[]),
        node("DequantizeLinear", &["rows", "scale", "zero"], "x", &[]),
        node("Gather", &["types.weight", "ids"], "t", &[]),
    ];
    let scale = Tensor { name: "scale".into(), data_type: FLOAT, float_data: vec![0.5], ..Tensor::default() };
    let zero = Tensor { name: "zero".into(), data_type: UINT8, int32_data: vec![3], ..Tensor::default() };
    let tensors = vec![
        tensor("words.weight_quantized", UINT8, &[2, 2], &[3, 5, 0, 255]),
        scale,
        zero,
        floats("types.weight", &[1, 2], &[1.0, 2.0]),
    ];
    let weights = weights(nodes, tensors).expect("reads");
    assert_eq!(weights.entries.keys().collect::<Vec<_>>(), ["types.weight", "words.weight"]);
    assert_parameter(&weights, "words.weight", &[2, 2], &[0.0, 1.0, -1.5, 126.0]);
}

fn dequantized(x: Tensor, scale: Tensor, attributes: &[(&str, i64)]) -> Result<Weights, String> {
    let nodes = vec![
        node("DequantizeLinear", &["w_quantized", "scale"], "w", attributes),
        node("MatMul", &["x", "w"], "y", &[]),
        node("Add", &["y", "l.bias"], "z", &[]),
    ];
    weights(nodes, vec![x, scale, floats("l.bias", &[2], &[0.0, 0.0])])
}

#[test]
fn scales_may_be_one_or_of_an_axis_or_of_blocks_along_it() {
    let x = || tensor("w_quantized", INT8, &[2, 2], &[1, 2, 255, 4]);
    let one = dequantized(x(), floats("scale", &[], &[2.0]), &[]).expect("reads");
    assert_parameter(&one, "l.weight", &[2, 2], &[2.0, -2.0, 4.0, 8.0]);
    let columns = dequantized(x(), floats("scale", &[2], &[1.0, 10.0]), &[]).expect("reads");
    assert_parameter(&columns, "l.weight", &[2, 2], &[1.0, -1.0, 20.0, 40.0]);
    let rows = dequantized(x(), floats("scale", &[2], &[1.0, 10.0]), &[("axis", -2)]).expect("reads");
    assert_parameter(&rows, "l.weight", &[2, 2], &[1.0, -10.0, 2.0, 40.0]);
    let x = tensor("w_quantized", INT4, &[3, 2], &[0x21, 0xf3, 0x84]); // rows 1 2, 3 -1, 4 -8
    let scale = floats("scale", &[2, 2], &[1.0, 10.0, 2.0, 20.0]);
    let blocks = dequantized(x, scale, &[("axis", 0), ("block_size", 2)]).expect("reads");
    assert_parameter(&blocks, "l.weight", &[2, 3], &[1.0, 3.0, 8.0, 20.0, -10.0, -160.0]);
    let x = tensor("w_quantized", INT8, &[2, 2], &[0; 4]);
    assert!(dequantized(x, floats("scale", &[3], &[1.0; 3]), &[]).expect_err("refused").contains("[3]"));
}

#[test]
fn a_small_file_makes_no_large_weights() {
    let endless = tensor("w", FLOAT, &[0, i64::MAX], &[]);
    assert!(refusal(vec![node("MatMul", &["x", "w"], "y", &[])], vec![endless]).contains("`w` is empty"));
    let x = tensor("w_quantized", INT8, &[0, 1 << 40, 1 << 40], &[]);
    assert!(dequantized(x, floats("scale", &[0], &[]), &[("axis", 0)]).is_err());
    let outputs: Vec<String> = (0..1000).map(|number| format!("y{number}")).collect();
    let often = outputs.iter().map(|output| node("DequantizeLinear", &["w_quantized", "scale"], output, &[]));
    let tensors = vec![tensor("w_quantized", INT8, &[1 << 16], &[1; 1 << 16]), floats("scale", &[], &[1.0])];
    assert!(refusal(often.collect(), tensors).contains("too many operations"));
}

#[test]
fn what_is_not_supported_is_named() {
    let x = || vec![tensor("w_quantized", INT8, &[2, 2], &[0; 4])];
    let error = refusal(vec![node("MatMulInteger", &["x", "w_quantized"], "y", &[])], x());
    assert!(error.contains("`MatMulInteger`") && error.contains("`w_quantized`"), "{error}");
    let elsewhere = Tensor { data_location: 1, ..floats("w", &[2], &[]) };
    assert!(refusal(Vec::new(), vec![elsewhere]).contains("another file"));
    assert!(refusal(Vec::new(), vec![floats("w", &[3], &[0.0])]).contains("`w`"));
    assert!(refusal(Vec::new(), vec![floats("w", &[-1], &[])]).contains("`w`"));
    assert!(refusal(Vec::new(), vec![floats("w", &[i64::MAX, i64::MAX], &[0.0])]).contains("`w`"));
    assert!(refusal(Vec::new(), vec![floats("w", &[1; 9], &[0.0])]).contains("dimensions"));
    assert!(refusal(Vec::new(), vec![floats("w", &[1], &[0.0]), floats("w", &[1], &[0.0])]).contains("twice"));
    assert!(refusal(Vec::new(), Vec::new()).contains("no graph"));
    let twice = vec![node("MatMul", &["x", "a.weight"], "y", &[]), node("MatMul", &["y", "a.weight"], "z", &[])];
    assert!(refusal(twice, vec![floats("a.weight", &[1, 1], &[0.0])]).contains("two weights"));
}

#[test]
fn the_file_is_found_in_the_folder_or_below_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = encode(Vec::new(), vec![floats("w", &[1], &[2.0])]);
    assert!(find(folder.path()).expect("lists").is_none());
    std::fs::create_dir(folder.path().join(FOLDER)).expect("a folder");
    std::fs::write(folder.path().join("onnx/model_q4.onnx"), &bytes).expect("writes");
    assert_eq!(Weights::open(folder.path()).expect("opens").values("w", &[1]).expect("reads"), [2.0]);
    std::fs::write(folder.path().join("onnx/model_int8.onnx"), &bytes).expect("writes");
    assert!(matches!(find(folder.path()), Err(WeightsError::Several { extension: "onnx", .. })));
    std::fs::write(folder.path().join("onnx/model.onnx"), &bytes).expect("writes");
    assert!(find(folder.path()).expect("lists").expect("one").ends_with("onnx/model.onnx"));
}

proptest! {
    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic(
        cut in 0usize..200,
        flips in prop::collection::vec((0usize..800, any::<u8>()), 0..8),
    ) {
        let nodes = vec![
            node("MatMulNBits", &["x", "w_Q4", "s"], "y", &[&SHAPE[..], &[("bits", 4)]].concat()),
            node("Add", &["y", "l.bias"], "z", &[]),
            node("Gather", &["t_quantized", "ids"], "rows", &[]),
            node("DequantizeLinear", &["rows", "one"], "x", &[("axis", 0), ("block_size", 2)]),
            node("DequantizeLinear", &["t_quantized", "one"], "t", &[("axis", 0), ("block_size", 2)]),
            node("Gemm", &["z", "t", "l.bias"], "u", &[("transB", 1)]),
        ];
        let tensors = vec![
            tensor("w_Q4", UINT8, &[2, 2, 1], &[1, 2, 3, 4]),
            floats("s", &[4], &[1.0; 4]),
            floats("l.bias", &[2], &[0.0; 2]),
            tensor("t_quantized", INT8, &[2, 2], &[1; 4]),
            floats("one", &[1], &[1.0]),
        ];
        let mut bytes = encode(nodes, tensors);
        for (at, value) in flips {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(weights) = read(bytes.into()) {
            for parameter in weights.summary() {
                let _ = weights.values(&parameter.name, &parameter.shape);
            }
        }
    }
}
