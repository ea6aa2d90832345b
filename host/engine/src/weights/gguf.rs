//! The GGUF format, versions 2 and 3, little-endian: `docs/gguf.md` of ggml; `ggml/src/gguf.cpp` is the reference reader.
//!
//! Nothing in a file is believed: counts and lengths are held against the bytes that are left before anything is made of
//! them, so that reading takes memory in proportion to the file whatever it says.

mod cursor;
mod metadata;
#[cfg(test)]
mod writer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub(crate) use metadata::Metadata;
#[cfg(test)]
pub(crate) use metadata::Value;

use cursor::Cursor;

use super::{BlockType, Entry, Weights, WeightsError, files, map};

const EXTENSION: &str = "gguf";
const ALIGNMENT_KEY: &str = "general.alignment";
const ALIGNMENT_DEFAULT: usize = 32;
/// In how many files the tensors are: each has its own part of them and all the metadata is in the first.
const PARTS_KEY: &str = "split.count";
/// As in the reference.
const DIMENSIONS_MAX: usize = 4;
/// Name, number of dimensions, one dimension, type, offset: no tensor is described in less.
const TENSOR_BYTES_MIN: usize = 8 + 4 + 8 + 4 + 8;
/// Key, type and one byte.
const KEY_BYTES_MIN: usize = 8 + 4 + 1;

/// The GGUF file that a path means.
pub(super) fn find(path: &Path) -> Result<Option<PathBuf>, WeightsError> {
    files::find(path, EXTENSION)
}

/// Maps a file and reads what it says of itself; the tensors' bytes are not touched.
pub(super) fn open(path: &Path) -> Result<Weights, WeightsError> {
    let file = map::open(path)?;
    read(&file).map_err(|reason| WeightsError::Malformed { file: path.into(), reason })
}

fn read(file: &Bytes) -> Result<Weights, String> {
    let cursor = &mut Cursor::new(file);
    version(cursor)?;
    let tensors = cursor.count(TENSOR_BYTES_MIN)?;
    let keys = cursor.count(KEY_BYTES_MIN)?;
    let metadata = Metadata::read(cursor, keys)?;
    if metadata.has(PARTS_KEY) && metadata.unsigned(PARTS_KEY).map_err(|error| error.to_string())? > 1 {
        return Err("it is one part of several: join them into one file with `llama-gguf-split --merge`".into());
    }
    let alignment = alignment(&metadata)?;
    let tensors = (0..tensors).map(|_| Tensor::read(cursor, alignment)).collect::<Result<Vec<_>, _>>()?;
    let data = cursor.at().checked_next_multiple_of(alignment).ok_or("the alignment is too large")?;
    let mut entries = BTreeMap::new();
    for tensor in tensors {
        let (name, entry) = tensor.place(file, data)?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(format!("tensor `{name}` is there twice"));
        }
    }
    Ok(Weights { entries, metadata: Some(metadata), random: None })
}

/// Checks the magic bytes and the version.
fn version(cursor: &mut Cursor<'_>) -> Result<(), String> {
    if cursor.take(4)? != b"GGUF" {
        return Err("it does not begin with `GGUF`".into());
    }
    match cursor.u32()? {
        2 | 3 => Ok(()),
        swapped @ 1.. if swapped.trailing_zeros() >= 16 => {
            Err("it is a big-endian GGUF file; only little-endian ones are supported".into())
        }
        other => Err(format!("it is of GGUF version {other}; supported are 2 and 3")),
    }
}

fn alignment(metadata: &Metadata) -> Result<usize, String> {
    if !metadata.has(ALIGNMENT_KEY) {
        return Ok(ALIGNMENT_DEFAULT);
    }
    let alignment = metadata.unsigned(ALIGNMENT_KEY).map_err(|error| error.to_string())?;
    let power_of_two = usize::try_from(alignment).ok().filter(|alignment| alignment.is_power_of_two());
    power_of_two.ok_or_else(|| format!("the alignment {alignment} is not a power of two"))
}

/// One tensor as the file describes it.
struct Tensor {
    name: String,
    /// In row-major order: the file has the row's length first.
    shape: Vec<usize>,
    ty: u32,
    /// Where its bytes begin, from the start of all tensors' bytes.
    offset: usize,
}

impl Tensor {
    fn read(cursor: &mut Cursor<'_>, alignment: usize) -> Result<Tensor, String> {
        let name = cursor.text()?.to_owned();
        let dimensions = cursor.u32()? as usize;
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(format!("tensor `{name}` has {dimensions} dimensions; supported are 1 to {DIMENSIONS_MAX}"));
        }
        let mut shape = (0..dimensions).map(|_| cursor.size()).collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        if shape.contains(&0) {
            return Err(format!("tensor `{name}` is empty"));
        }
        let (ty, offset) = (cursor.u32()?, cursor.size()?);
        if !offset.is_multiple_of(alignment) {
            return Err(format!("tensor `{name}` is not aligned to {alignment} bytes"));
        }
        Ok(Tensor { name, shape, ty, offset })
    }

    /// The entry, its bytes checked to lie in the file. A type that is not supported is refused only when it is used.
    fn place(self, file: &Bytes, data: usize) -> Result<(String, Entry), String> {
        let (ty, bytes) = match BlockType::from_ggml(self.ty) {
            Some(ty) => (Ok(ty), file.slice(self.bytes(ty, data, file.len())?)),
            None => (Err(unsupported(self.ty)), Bytes::new()),
        };
        Ok((self.name, Entry { ty, shape: self.shape, bytes }))
    }

    fn bytes(&self, ty: BlockType, data: usize, file_bytes: usize) -> Result<Range<usize>, String> {
        let name = &self.name;
        let row = self.shape.last().and_then(|&numbers| ty.bytes_of(numbers));
        let row = row.ok_or_else(|| format!("a row of tensor `{name}` is not whole blocks of {}", ty.name()))?;
        let mut rows = self.shape.iter().rev().skip(1);
        let len = rows.try_fold(row, |bytes, &dimension| bytes.checked_mul(dimension));
        let start = data.checked_add(self.offset);
        let range = start.zip(len).and_then(|(start, len)| Some(start..start.checked_add(len)?));
        let inside = range.filter(|range| range.end <= file_bytes);
        inside.ok_or_else(|| format!("tensor `{name}` lies beyond the end of the file"))
    }
}

/// The name of a type of `ggml.h` that is not supported.
fn unsupported(ty: u32) -> String {
    let name = match ty {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0",
        _ => return format!("number {ty} of GGML"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::writer::Writer;
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Writer {
        let numbers: Vec<u8> = (0..8u8).flat_map(|number| f32::from(number).to_le_bytes()).collect();
        Writer::default()
            .key("general.architecture", &Value::Text("llama".into()))
            .key("llama.block_count", &Value::Unsigned(2))
            .key("offset", &Value::Signed(-2))
            .key("scale", &Value::Float(0.5))
            .key("flag", &Value::Bool(true))
            .key("tokens", &Value::Texts(vec!["a".into(), "▁b".into()]))
            .key("scores", &Value::Numbers(vec![-1.0, 2.5]))
            .tensor("x", &[2, 4], 0, &numbers)
            .tensor("q", &[1, 32], 8, &[1; 34])
            .tensor("i", &[256], 16, &[0; 66])
    }

    fn open_bytes(bytes: &[u8]) -> Result<Weights, WeightsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.gguf");
        std::fs::write(&path, bytes).expect("writes");
        Weights::open(&path)
    }

    fn refusal(bytes: &[u8]) -> String {
        open_bytes(bytes).expect_err("refused").to_string()
    }

    #[test]
    fn what_was_written_is_read() {
        let weights = open_bytes(&sample().bytes()).expect("opens");
        let metadata = weights.metadata.as_ref().expect("metadata");
        assert_eq!(metadata.text("general.architecture").expect("a text"), "llama");
        assert_eq!(metadata.unsigned("llama.block_count").expect("a number"), 2);
        assert_eq!(metadata.float("scale").expect("a number"), 0.5);
        assert!(metadata.bool("flag").expect("a flag"));
        assert_eq!(metadata.texts("tokens").expect("texts"), ["a", "▁b"]);
        assert_eq!(metadata.numbers("scores").expect("numbers"), [-1.0, 2.5]);
        assert_eq!(weights.entries.keys().collect::<Vec<_>>(), ["i", "q", "x"]);
        assert_eq!(weights.values("x", &[2, 4]).expect("reads"), [0., 1., 2., 3., 4., 5., 6., 7.]);
        let stored = weights.stored("q", &[1, 32]).expect("reads");
        drop(weights);
        assert_eq!((stored.ty, stored.bytes()), (BlockType::Q8_0, [1; 34].as_slice()));
    }

    #[test]
    fn unsupported_types_are_listed_and_refused_by_name() {
        let weights = open_bytes(&sample().bytes()).expect("opens");
        let types: Vec<String> = weights.summary().into_iter().map(|tensor| tensor.dtype).collect();
        assert_eq!(types, ["IQ2_XXS", "Q8_0", "F32"]);
        assert!(weights.values("i", &[256]).expect_err("refused").to_string().contains("IQ2_XXS"));
    }

    #[test]
    fn a_missing_key_and_one_of_another_kind_are_named() {
        let weights = open_bytes(&sample().bytes()).expect("opens");
        let metadata = weights.metadata.as_ref().expect("metadata");
        let text = |error: Option<WeightsError>| error.expect("refused").to_string();
        assert_eq!(text(metadata.text("absent").err()), "the metadata's `absent` must be a text; it is missing");
        assert_eq!(
            text(metadata.unsigned("offset").err()),
            "the metadata's `offset` must be a whole number from 0; it is a negative number"
        );
        assert!(text(metadata.texts("scores").err()).ends_with("a list of numbers"));
    }

    #[test]
    fn other_versions_and_byte_orders_are_refused_by_name() {
        let with_version = |version: [u8; 4]| {
            let mut bytes = sample().bytes();
            bytes[4..8].copy_from_slice(&version);
            bytes
        };
        assert!(open_bytes(&with_version([2, 0, 0, 0])).is_ok());
        assert!(refusal(&with_version([0, 0, 0, 3])).contains("big-endian"));
        assert!(refusal(&with_version([1, 0, 0, 0])).contains("version 1;"));
        assert!(refusal(&with_version([0, 0, 0, 0])).contains("version 0;"));
        assert!(refusal(b"PK\x03\x04").contains("does not begin"));
    }

    #[test]
    fn contradictions_are_refused() {
        let writer = || Writer::default();
        assert!(refusal(&writer().tensor("x", &[2], 0, &[0; 8]).tensor("x", &[1], 0, &[0; 4]).bytes()).contains("twice"));
        assert!(refusal(&writer().key("k", &Value::Bool(true)).key("k", &Value::Bool(true)).bytes()).contains("twice"));
        assert!(refusal(&writer().tensor("x", &[33], 8, &[0; 68]).bytes()).contains("whole blocks of Q8_0"));
        assert!(refusal(&writer().tensor("x", &[0, 8], 0, &[]).bytes()).contains("empty"));
        assert!(refusal(&writer().tensor("x", &[1; 5], 0, &[0; 4]).bytes()).contains("5 dimensions"));
        assert!(refusal(&writer().tensor("x", &[3], 0, &[0; 8]).bytes()).contains("beyond the end"));
        assert!(refusal(&writer().tensor("x", &[1 << 40, 1 << 40], 0, &[0; 8]).bytes()).contains("beyond the end"));
        assert!(refusal(&writer().key(ALIGNMENT_KEY, &Value::Unsigned(24)).bytes()).contains("power of two"));
        assert!(refusal(&writer().key(PARTS_KEY, &Value::Unsigned(2)).bytes()).contains("llama-gguf-split"));
    }

    #[test]
    fn a_hostile_count_takes_no_memory() {
        let mut bytes = sample().bytes();
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(refusal(&bytes).contains("ends"));
        let array = [b"GGUF\x03\0\0\0".as_slice(), &[0; 8], &1u64.to_le_bytes(), &1u64.to_le_bytes(), b"k"].concat();
        let of = |kind: u32, count: u64| [&array, &9u32.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes()].concat();
        assert!(refusal(&of(8, 1 << 60)).contains("ends"));
        assert!(refusal(&of(0, u64::MAX)).contains("ends"));
        assert!(refusal(&of(12, 1 << 61)).contains("ends"));
        assert!(refusal(&of(9, 1)).contains("nested"));
    }

    #[test]
    fn a_folder_means_its_preferred_or_only_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str| std::fs::write(folder.path().join(name), sample().bytes()).expect("writes");
        assert!(matches!(Weights::open(folder.path()), Err(WeightsError::Missing(_))));
        write("a.gguf");
        assert!(Weights::open(folder.path()).is_ok());
        write("b.gguf");
        assert!(matches!(Weights::open(folder.path()), Err(WeightsError::Several { .. })));
        write("model.gguf");
        assert!(Weights::open(folder.path()).is_ok());
    }

    #[test]
    fn rows_are_taken_in_the_order_that_is_asked_for() {
        let stored = open_bytes(&sample().bytes()).expect("opens").stored("x", &[2, 4]).expect("reads");
        let turned = stored.with_rows(&[1, 0, 1]);
        assert_eq!(turned.shape, [3, 4]);
        assert_eq!(turned.values(), [4., 5., 6., 7., 0., 1., 2., 3., 4., 5., 6., 7.]);
    }

    #[test]
    fn renamed_tensors_are_found_under_their_new_names_only() {
        let open = || open_bytes(&sample().bytes()).expect("opens");
        let weights = open().rename(|name| (name == "x").then(|| "y".into())).expect("renames");
        assert_eq!(weights.entries.keys().collect::<Vec<_>>(), ["i", "q", "y"]);
        assert!(matches!(open().rename(|_| Some("y".into())), Err(WeightsError::Twice(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_damaged_file_is_an_error_and_never_a_panic(cut in 0usize..700, flips in prop::collection::vec((0usize..700, any::<u8>()), 0..8)) {
            let mut bytes = sample().bytes();
            for (at, value) in flips {
                let len = bytes.len();
                bytes[at % len] = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(weights) = open_bytes(&bytes) {
                for tensor in weights.summary() {
                    let _ = weights.values(&tensor.name, &tensor.shape);
                }
            }
        }
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let bytes = sample().tensor("last", &[1], 0, &[0; 4]).bytes();
        let written = bytes.len();
        assert!(open_bytes(&bytes).is_ok());
        (0..written).for_each(|len| assert!(open_bytes(&bytes[..len]).is_err(), "cut to {len} of {written}"));
    }
}
