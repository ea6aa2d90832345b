//! The few messages of `onnx.proto3` that weights are read from, with the few of their fields; all others are skipped.

use bytes::{Buf, Bytes};

/// `NodeProto`: one operation.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
}

/// `AttributeProto`: a named number.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, tag = "2")]
    pub(super) f: f32,
    #[prost(int64, tag = "3")]
    pub(super) i: i64,
}

/// `TensorProto`: numbers, as bytes or one by one.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) int32_data: Vec<i32>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(super) raw_data: Bytes,
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

impl Node {
    /// An input by its place; none if it is left out.
    pub(super) fn input(&self, place: usize) -> Option<&str> {
        self.input.get(place).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// An attribute by its name; none if it is left out.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// A whole number among the attributes.
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }
}

/// Gives the number and the bytes of every field of a message that has bytes: messages in it, and texts.
///
/// # Errors
/// When the message is damaged, or `each` refuses a field.
pub(super) fn fields(mut message: Bytes, mut each: impl FnMut(usize, Bytes) -> Result<(), String>) -> Result<(), String> {
    let varint = |message: &mut Bytes| {
        prost::decode_length_delimiter(message).map_err(|_| String::from("it ends in the middle of a number"))
    };
    while message.has_remaining() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            1 => 8,
            2 => varint(&mut message)?,
            5 => 4,
            other => return Err(format!("it has a field of wire type {other}; is it an ONNX file?")),
        };
        if length > message.remaining() {
            return Err("it ends in the middle of a field".into());
        }
        let bytes = message.split_to(length);
        if key & 7 == 2 {
            each(key >> 3, bytes)?;
        }
    }
    Ok(())
}
