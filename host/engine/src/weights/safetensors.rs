//! The safetensors format: <https://github.com/huggingface/safetensors#format>, single files and sharded ones with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;

use super::{BlockType, Entry, Weights, WeightsError, map};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The index beside sharded weights; its metadata is not needed.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Whether a folder holds weights of this format.
pub(super) fn is_in(folder: &Path) -> bool {
    folder.join(SINGLE).is_file() || folder.join(INDEX).is_file()
}

/// Maps a file, or a folder's single file, or the shards that its index names.
pub(super) fn open(path: &Path) -> Result<Weights, WeightsError> {
    let files = if path.is_file() {
        vec![path.to_path_buf()]
    } else if path.join(SINGLE).is_file() {
        vec![path.join(SINGLE)]
    } else if path.join(INDEX).is_file() {
        shards(path)?
    } else {
        return Err(WeightsError::Missing(path.into()));
    };
    let mut weights = Weights { entries: BTreeMap::new(), metadata: None, random: None };
    for file in files {
        add(&mut weights, &file)?;
    }
    Ok(weights)
}

fn shards(folder: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    let file = folder.join(INDEX);
    let malformed = |reason: String| WeightsError::Malformed { file: file.clone(), reason };
    let text = std::fs::read(&file).map_err(|cause| WeightsError::Unreadable { file: file.clone(), cause })?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let path_of = |name: String| match Path::new(&name).file_name() {
        Some(only) if only == name.as_str() => Ok(folder.join(name)),
        _ => Err(malformed(format!("shard `{name}` is outside the model's folder"))),
    };
    names.into_iter().map(path_of).collect()
}

fn add(weights: &mut Weights, path: &Path) -> Result<(), WeightsError> {
    let malformed = |reason: String| WeightsError::Malformed { file: path.into(), reason };
    let mapped = map::open(path)?;
    let (header_bytes, metadata) = SafeTensors::read_metadata(&mapped).map_err(|error| malformed(error.to_string()))?;
    let data = header_bytes.checked_add(8).ok_or_else(|| malformed("the header is too long".into()))?;
    for (name, tensor) in metadata.tensors() {
        let (start, end) = tensor.data_offsets;
        let range = data.checked_add(start).zip(data.checked_add(end)).map(|(start, end)| start..end);
        let bytes = range
            .filter(|range| mapped.get(range.clone()).is_some())
            .map(|range| mapped.slice(range))
            .ok_or_else(|| malformed(format!("tensor `{name}` lies beyond the end of the file")))?;
        let ty = match tensor.dtype {
            Dtype::F32 => Ok(BlockType::F32),
            Dtype::F16 => Ok(BlockType::F16),
            Dtype::BF16 => Ok(BlockType::Bf16),
            other => Err(format!("{other:?}")),
        };
        let entry = Entry { ty, shape: tensor.shape.clone(), bytes };
        if weights.entries.insert(name.clone(), entry).is_some() {
            return Err(malformed(format!("tensor `{name}` is in two files")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::tensor::TensorView;
    use proptest::prelude::*;

    fn write(path: &Path, name: &str, dtype: Dtype, bytes: &[u8]) {
        let size = match dtype {
            Dtype::F32 | Dtype::I32 => 4,
            _ => 2,
        };
        let view = TensorView::new(dtype, vec![bytes.len() / size], bytes).expect("a good view");
        let file = ::safetensors::serialize([(name, view)], None).expect("serialises");
        std::fs::write(path, file).expect("writes");
    }

    #[test]
    fn every_number_type_is_read_as_f32() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(SINGLE);
        write(&file, "x", Dtype::F32, &[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat());
        assert_eq!(open(&file).expect("opens").values("x", &[2]).expect("reads"), [1.5, -2.0]);
        write(&file, "x", Dtype::F16, &half::f16::from_f32(1.5).to_le_bytes());
        assert_eq!(open(folder.path()).expect("opens").values("x", &[1]).expect("reads"), [1.5]);
        write(&file, "x", Dtype::BF16, &half::bf16::from_f32(-1.5).to_le_bytes());
        assert_eq!(open(folder.path()).expect("opens").values("x", &[1]).expect("reads"), [-1.5]);
    }

    #[test]
    fn a_wrong_shape_name_or_type_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join(SINGLE), "x", Dtype::I32, &[0; 8]);
        let weights = open(folder.path()).expect("opens");
        let text = |result: Result<Vec<f32>, WeightsError>| result.expect_err("refused").to_string();
        assert!(text(weights.values("y", &[2])).contains("`y`"));
        assert!(text(weights.values("x", &[3])).contains("[3]"));
        assert!(text(weights.values("x", &[2])).contains("I32"));
    }

    #[test]
    fn an_index_that_points_outside_its_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(INDEX), r#"{"weight_map":{"x":"../secret"}}"#).expect("writes");
        assert!(open(folder.path()).expect_err("refused").to_string().contains("outside"));
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_an_error_and_never_a_panic(cut in 0usize..200, flips in prop::collection::vec((0usize..200, any::<u8>()), 0..8)) {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join(SINGLE);
            write(&file, "x", Dtype::F32, &[0; 64]);
            let mut bytes = std::fs::read(&file).expect("reads");
            for (at, value) in flips {
                let len = bytes.len();
                bytes[at % len] = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            std::fs::write(&file, bytes).expect("writes");
            if let Ok(weights) = open(&file) {
                for tensor in weights.summary() {
                    let _ = weights.values(&tensor.name, &tensor.shape);
                }
            }
        }
    }
}
