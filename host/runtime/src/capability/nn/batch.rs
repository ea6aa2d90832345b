//! Tensors of token ids to the engine's inputs, and its outputs to tensors.

use engine::{Forward, ModelCard, ModelTask, Outputs};
use wasmtime_wasi_nn::Tensor;
use wasmtime_wasi_nn::backend::NamedTensor;
use wasmtime_wasi_nn::wit::TensorType;

/// Rows of one `compute`: what one call may put before others in the engine's queue.
const ROWS_MAX: usize = 64;

/// Inputs of one length, as a guest gives them: `input_ids` and, if there is one, `attention_mask`.
///
/// # Shapes
/// Both `[batch, seq]`, of `I64` or `I32`. Positions whose mask is 0 are left out. A `token_type_ids` may be there if it is
/// all zeros, which is what the engine takes for a single text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    seq: usize,
    /// Places and ids of each row's tokens that count.
    rows: Vec<Vec<(usize, u32)>>,
}

impl Batch {
    /// Reads and checks the inputs of one `compute`; an error says what they should be.
    pub(super) fn read(inputs: &[NamedTensor]) -> Result<Batch, String> {
        const KNOWN: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];
        if let Some(unknown) = inputs.iter().find(|input| !KNOWN.contains(&input.name.as_str())) {
            let name: String = unknown.name.chars().take(64).collect();
            return Err(format!("there is no input `{name}`; there are {}", KNOWN.join(", ")));
        }
        let count = |name: &str| inputs.iter().filter(|input| input.name == name).count();
        if let Some(name) = KNOWN.iter().find(|name| count(name) > 1) {
            return Err(format!("the input `{name}` is there twice"));
        }
        let find = |name: &str| inputs.iter().find(|input| input.name == name);
        let numbers = |name: &str| find(name).map(|input| integers(name, &input.tensor)).transpose();
        let (shape, ids) = numbers(KNOWN[0])?.ok_or("the input `input_ids` is missing")?;
        if shape[0] > ROWS_MAX {
            return Err(format!("`input_ids` has {} rows; there may be {ROWS_MAX} at once", shape[0]));
        }
        let optional = |name: &str| match numbers(name)? {
            Some((other, _)) if other != shape => Err(format!("`{name}` must have the shape of `input_ids`")),
            found => Ok(found.map(|(_, numbers)| numbers)),
        };
        let mask = optional(KNOWN[1])?;
        if optional(KNOWN[2])?.is_some_and(|types| types.iter().any(|ty| *ty != 0)) {
            return Err("`token_type_ids` other than 0 are not supported".into());
        }
        let seq = shape[1];
        let counts = |place: usize| mask.as_ref().is_none_or(|mask| mask[place] != 0);
        let row = |(row, ids): (usize, &[i64])| {
            let tokens = ids.iter().enumerate().filter(|(place, _)| counts(row * seq + place));
            let tokens = tokens.map(|(place, id)| u32::try_from(*id).map(|id| (place, id)));
            match tokens.collect::<Result<Vec<_>, _>>() {
                Ok(tokens) if tokens.is_empty() => Err(format!("row {row} is masked out as a whole")),
                Ok(tokens) => Ok(tokens),
                Err(_) => Err(format!("row {row} of `input_ids` has a number that is no token id")),
            }
        };
        let rows = ids.chunks_exact(seq).enumerate().map(row).collect::<Result<Vec<_>, String>>()?;
        Ok(Batch { seq, rows })
    }

    /// Token ids of each row, without what is masked.
    pub(super) fn rows(&self) -> Vec<Vec<u32>> {
        self.rows.iter().map(|row| row.iter().map(|(_, id)| *id).collect()).collect()
    }

    /// Length of the [`output`](Self::output) that a model will give, known before it runs; none if no machine holds so much.
    pub(super) fn output_bytes(&self, model: &ModelCard) -> Option<usize> {
        let (places, width) = match model.task {
            ModelTask::Generate => (1, model.vocabulary),
            ModelTask::Embed | ModelTask::Rerank | ModelTask::Classify | ModelTask::ClassifyTokens => {
                (self.seq, model.dimensions)
            }
        };
        self.rows.len().checked_mul(places)?.checked_mul(width)?.checked_mul(size_of::<f32>())
    }

    /// The engine's numbers as a tensor of `FP32`.
    ///
    /// # Shapes
    /// `last_hidden_state`: `[batch, seq, width]`, zeros where the mask is 0; or `logits` after the last token of each row:
    /// `[batch, width]`.
    pub(super) fn output(&self, forward: &Forward) -> NamedTensor {
        let width = forward.width;
        let dimension = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let (name, dimensions, values) = match forward.outputs {
            Outputs::Logits => ("logits", vec![self.rows.len(), width], forward.values.concat()),
            Outputs::Hidden => {
                let mut padded = vec![0.0; self.rows.len() * self.seq * width];
                let rows = padded.chunks_exact_mut((self.seq * width).max(1)).zip(&self.rows).zip(&forward.values);
                for ((padded, tokens), values) in rows {
                    for ((place, _), state) in tokens.iter().zip(values.chunks_exact(width.max(1))) {
                        padded[place * width..][..width].copy_from_slice(state);
                    }
                }
                ("last_hidden_state", vec![self.rows.len(), self.seq, width], padded)
            }
        };
        let data = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let tensor = Tensor::new(dimensions.into_iter().map(dimension).collect(), TensorType::Fp32, data);
        NamedTensor { name: name.into(), tensor }
    }
}

/// The numbers of a tensor of shape `[batch, seq]`, neither of them 0.
fn integers(name: &str, tensor: &Tensor) -> Result<([usize; 2], Vec<i64>), String> {
    let size = match tensor.ty {
        TensorType::I64 => 8,
        TensorType::I32 => 4,
        _ => return Err(format!("`{name}` must be of I64 or I32")),
    };
    let shape: Vec<usize> = tensor.dimensions.iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect();
    let length = |batch: usize, seq: usize| batch.checked_mul(seq)?.checked_mul(size);
    let shape = match shape[..] {
        [batch, seq] if length(batch, seq).is_some_and(|length| length > 0 && length == tensor.data.len()) => [batch, seq],
        _ => return Err(format!("`{name}` must be of the shape [batch, seq] and have data of that length")),
    };
    let number = |bytes: &[u8]| {
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide[..size].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    };
    Ok((shape, tensor.data.chunks_exact(size).map(number).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn i64s(name: &str, dimensions: &[u32], numbers: &[i64]) -> NamedTensor {
        let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        NamedTensor { name: name.into(), tensor: Tensor::new(dimensions.into(), TensorType::I64, data) }
    }

    fn i32s(name: &str, dimensions: &[u32], numbers: &[i32]) -> NamedTensor {
        let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        NamedTensor { name: name.into(), tensor: Tensor::new(dimensions.into(), TensorType::I32, data) }
    }

    fn card(task: ModelTask) -> ModelCard {
        ModelCard {
            name: "m".into(),
            family: "f".into(),
            task,
            dimensions: 4,
            layers: 1,
            vocabulary: 100,
            tokens_max: 256,
            labels: 0,
            prompts: Vec::new(),
            chat: false,
            digest: String::new(),
            origin: None,
        }
    }

    fn floats(tensor: &Tensor) -> Vec<f32> {
        tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four"))).collect()
    }

    #[test]
    fn masked_positions_are_left_out_and_come_back_as_zeros() {
        let inputs = [i64s("input_ids", &[2, 3], &[1, 2, 0, 3, 0, 4]), i32s("attention_mask", &[2, 3], &[1, 1, 0, 1, 0, 1])];
        let batch = Batch::read(&inputs).expect("good inputs");
        assert_eq!(batch.rows(), [vec![1, 2], vec![3, 4]]);
        let values = vec![vec![1.0, 1.5, 2.0, 2.5], vec![3.0, 3.5, 4.0, 4.5]];
        let forward = Forward { outputs: Outputs::Hidden, width: 2, values };
        let NamedTensor { name, tensor } = batch.output(&forward);
        assert_eq!((name.as_str(), &tensor.dimensions[..]), ("last_hidden_state", &[2, 3, 2][..]));
        assert_eq!(floats(&tensor), [1.0, 1.5, 2.0, 2.5, 0.0, 0.0, 3.0, 3.5, 0.0, 0.0, 4.0, 4.5]);
    }

    #[test]
    fn logits_are_one_row_for_each_input() {
        let batch = Batch::read(&[i32s("input_ids", &[2, 1], &[7, 8])]).expect("good inputs");
        let forward = Forward { outputs: Outputs::Logits, width: 3, values: vec![vec![0.0, 1.0, 2.0], vec![3.0, 4.0, 5.0]] };
        let NamedTensor { name, tensor } = batch.output(&forward);
        assert_eq!((name.as_str(), &tensor.dimensions[..]), ("logits", &[2, 3][..]));
        assert_eq!(floats(&tensor), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn bad_tensors_are_refused_with_what_they_should_be() {
        let ids = || i64s("input_ids", &[1, 2], &[1, 2]);
        let float = Tensor::new(vec![1, 1], TensorType::Fp32, vec![0; 4]);
        for (inputs, words) in [
            (vec![], "`input_ids` is missing"),
            (vec![ids(), ids()], "`input_ids` is there twice"),
            (vec![i64s("input_ids", &[65, 1], &[1; 65])], "has 65 rows"),
            (vec![ids(), i64s("pixels", &[1, 2], &[1, 2])], "no input `pixels`"),
            (vec![i64s("input_ids", &[2], &[1, 2])], "shape [batch, seq]"),
            (vec![i64s("input_ids", &[1, 3], &[1, 2])], "shape [batch, seq]"),
            (vec![i64s("input_ids", &[0, 3], &[])], "shape [batch, seq]"),
            (vec![i64s("input_ids", &[u32::MAX, u32::MAX], &[1])], "shape [batch, seq]"),
            (vec![NamedTensor { name: "input_ids".into(), tensor: float }], "I64 or I32"),
            (vec![i64s("input_ids", &[1, 1], &[-1])], "no token id"),
            (vec![i32s("input_ids", &[1, 1], &[-1])], "no token id"),
            (vec![i64s("input_ids", &[1, 1], &[1 << 32])], "no token id"),
            (vec![ids(), i64s("attention_mask", &[2, 1], &[1, 1])], "shape of `input_ids`"),
            (vec![ids(), i64s("attention_mask", &[1, 2], &[0, 0])], "masked out"),
            (vec![ids(), i64s("token_type_ids", &[1, 2], &[0, 1])], "`token_type_ids`"),
        ] {
            let refusal = Batch::read(&inputs).expect_err(words);
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn the_length_of_an_output_is_known_before_the_model_runs() {
        let batch = |seq| Batch { seq, rows: vec![vec![(0, 1)]; 2] };
        assert_eq!(batch(3).output_bytes(&card(ModelTask::Embed)), Some(2 * 3 * 4 * 4));
        assert_eq!(batch(3).output_bytes(&card(ModelTask::Generate)), Some(2 * 100 * 4));
        assert_eq!(batch(usize::MAX / 2).output_bytes(&card(ModelTask::Embed)), None, "no machine holds so much");
    }
}
