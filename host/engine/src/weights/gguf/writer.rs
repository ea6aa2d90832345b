//! Writes GGUF files for tests.

use super::{ALIGNMENT_DEFAULT, Value};

/// A file in the making. Numbers are written as u64, i64, f64 and lists of f64.
#[derive(Default)]
pub(super) struct Writer {
    keys: (u64, Vec<u8>),
    tensors: (u64, Vec<u8>),
    data: Vec<u8>,
}

impl Writer {
    /// Adds a value.
    pub(super) fn key(mut self, key: &str, value: &Value) -> Writer {
        self.keys.0 += 1;
        let out = &mut self.keys.1;
        text(out, key);
        let mut kind = |kind: u32, bytes: &[u8]| out.extend([&kind.to_le_bytes(), bytes].concat());
        match value {
            Value::Unsigned(number) => kind(10, &number.to_le_bytes()),
            Value::Signed(number) => kind(11, &number.to_le_bytes()),
            Value::Float(number) => kind(12, &number.to_le_bytes()),
            Value::Bool(truth) => kind(7, &[(*truth).into()]),
            Value::Text(value) => {
                kind(8, &[]);
                text(out, value);
            }
            Value::Texts(values) => {
                kind(9, &[&8u32.to_le_bytes()[..], &length(values.len())].concat());
                values.iter().for_each(|value| text(out, value));
            }
            Value::Numbers(values) => {
                kind(9, &[&12u32.to_le_bytes()[..], &length(values.len())].concat());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        self
    }

    /// Adds a tensor of a row-major shape, of GGML's type `ty`.
    pub(super) fn tensor(mut self, name: &str, shape: &[u64], ty: u32, bytes: &[u8]) -> Writer {
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT_DEFAULT), 0);
        self.tensors.0 += 1;
        let out = &mut self.tensors.1;
        text(out, name);
        out.extend(u32::try_from(shape.len()).expect("a few").to_le_bytes());
        out.extend(shape.iter().rev().flat_map(|dimension| dimension.to_le_bytes()));
        out.extend(ty.to_le_bytes());
        out.extend(length(self.data.len()));
        self.data.extend(bytes);
        self
    }

    /// The file.
    pub(super) fn bytes(self) -> Vec<u8> {
        let counts = [self.tensors.0.to_le_bytes(), self.keys.0.to_le_bytes()].concat();
        let mut file = [b"GGUF\x03\0\0\0".as_slice(), &counts, &self.keys.1, &self.tensors.1].concat();
        file.resize(file.len().next_multiple_of(ALIGNMENT_DEFAULT), 0);
        file.extend(self.data);
        file
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(length(text.len()));
    out.extend(text.as_bytes());
}

fn length(length: usize) -> [u8; 8] {
    u64::try_from(length).expect("fits").to_le_bytes()
}
