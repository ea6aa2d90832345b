//! Sentence vectors by standard `wasi:nn`: `wstd` and plain `wit-bindgen`, nothing of ours. The model gives a vector for each
//! token; this guest makes their mean of them, of length 1.

mod bindings;

use bindings::wasi::nn::errors::Error as NnError;
use bindings::wasi::nn::graph::{self, ExecutionTarget, GraphEncoding};
use bindings::wasi::nn::tensor::{Tensor, TensorType};
use serde::Deserialize;
use serde_json::{Value, json};
use wstd::http::{Body, Error, Request, Response};

#[derive(Deserialize)]
struct Inputs {
    model: String,
    input_ids: Vec<Vec<i64>>,
    attention_mask: Option<Vec<Vec<i32>>>,
    /// Tensors to make before, of a mebibyte each.
    #[serde(default)]
    ballast: usize,
    /// Dimensions of one more tensor to make before, of one byte.
    #[serde(default)]
    dimensions: usize,
}

/// `/load` gives the host a model of the guest's own; `/raw` shows the output as it is; anything else makes sentence vectors.
#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    let body = request.body_mut().str_contents().await?.to_owned();
    let answer = match (request.uri().path(), serde_json::from_str::<Inputs>(&body)) {
        ("/load", _) => graph::load(&[body.into_bytes()], GraphEncoding::Onnx, ExecutionTarget::Cpu).map(|_| json!("loaded")),
        (_, Err(error)) => Ok(json!({"malformed": error.to_string()})),
        ("/raw", Ok(inputs)) => {
            run(&inputs).map(|output| json!({"name": output.name, "dimensions": output.dimensions, "values": output.values}))
        }
        (_, Ok(inputs)) => run(&inputs).map(|output| vectors(&inputs, &output)),
    };
    let answer = answer.unwrap_or_else(|error| json!({"error": format!("{:?}", error.code()), "data": error.data()}));
    Ok(Response::new(answer.to_string().into()))
}

struct Output {
    name: String,
    dimensions: Vec<u32>,
    values: Vec<f32>,
}

fn run(inputs: &Inputs) -> Result<Output, NnError> {
    let _ballast: Vec<Tensor> =
        (0..inputs.ballast).map(|_| Tensor::new(&[1 << 20], TensorType::U8, &vec![0; 1 << 20])).collect();
    let _odd = (inputs.dimensions > 0).then(|| Tensor::new(&vec![1; inputs.dimensions], TensorType::U8, &[0]));
    let graph = graph::load_by_name(&inputs.model)?;
    let context = graph.init_execution_context()?;
    let shape = [inputs.input_ids.len(), inputs.input_ids.first().map_or(0, Vec::len)].map(|size| size as u32);
    let ids: Vec<u8> = inputs.input_ids.iter().flatten().flat_map(|id| id.to_le_bytes()).collect();
    let mut tensors = vec![("input_ids".to_owned(), Tensor::new(&shape, TensorType::I64, &ids))];
    if let Some(mask) = &inputs.attention_mask {
        let mask: Vec<u8> = mask.iter().flatten().flat_map(|bit| bit.to_le_bytes()).collect();
        tensors.push(("attention_mask".to_owned(), Tensor::new(&shape, TensorType::I32, &mask)));
    }
    let mut outputs = context.compute(tensors)?;
    let (name, tensor) = outputs.remove(0);
    let floats = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(Output { name, dimensions: tensor.dimensions(), values: tensor.data().chunks_exact(4).map(floats).collect() })
}

fn vectors(inputs: &Inputs, output: &Output) -> Value {
    let (seq, width) = (output.dimensions[1] as usize, output.dimensions[2] as usize);
    let rows = output.values.chunks_exact(seq * width).enumerate();
    rows.map(|(row, states)| {
        let counts = |place: usize| inputs.attention_mask.as_ref().is_none_or(|mask| mask[row][place] != 0);
        let tokens: Vec<&[f32]> =
            states.chunks_exact(width).enumerate().filter(|(place, _)| counts(*place)).map(|t| t.1).collect();
        let mean = |at: usize| tokens.iter().map(|state| state[at]).sum::<f32>() / tokens.len() as f32;
        let mean: Vec<f32> = (0..width).map(mean).collect();
        let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
        mean.into_iter().map(|value| value / length).collect::<Vec<f32>>()
    })
    .collect::<Vec<_>>()
    .into()
}
