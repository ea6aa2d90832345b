//! A model's configuration, read field by field, so that a field nobody reads is found: nothing in it is silently ignored.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ModelError;

/// Fields that change no number of a forward pass, whatever they say.
const WITHOUT_EFFECT: [&str; 25] = [
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures", // checked with the head
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "model_type", // chose the family
    "pad_token_id",
    "pretraining_tp", // the same product in slices
    "problem_type",
    "return_dict",
    "tokenizer_class",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "use_cache",
];

/// What is left to read of a configuration.
pub(super) struct Fields {
    left: Map<String, Value>,
    /// Where they are, for errors: `rope_scaling.` or nothing.
    place: &'static str,
}

impl Fields {
    /// The fields of `config.json`.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub(super) fn new(config: &Value) -> Result<Fields, ModelError> {
        let mut fields = Fields::within("", config.clone())?;
        fields.left.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
        Ok(fields)
    }

    fn within(place: &'static str, value: Value) -> Result<Fields, ModelError> {
        match value {
            Value::Object(left) => Ok(Fields { left, place }),
            _ => Err(ModelError::Config(format!("{} is not a JSON object", place.trim_end_matches('.')))),
        }
    }

    /// The value of a field; none if it is absent or null.
    ///
    /// # Errors
    /// When it is of another type.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ModelError> {
        let Some(value) = self.left.remove(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let shown: String = value.to_string().chars().take(80).collect();
        let malformed = |error| ModelError::Config(format!("{}{name} = {shown}: {error}", self.place));
        serde_json::from_value(value).map(Some).map_err(malformed)
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    /// When it is absent, null or of another type.
    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ModelError> {
        let value = self.optional(name)?;
        value.ok_or_else(|| ModelError::Config(format!("{}{name} is missing", self.place)))
    }

    /// Whether a field is there, if only as null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// The value of a size: a whole number from 1 to [`SIZE_MAX`].
    ///
    /// # Errors
    /// When it is absent or beyond that.
    pub(super) fn size(&mut self, name: &str) -> Result<usize, ModelError> {
        let size = self.required(name)?;
        self.check_size(name, size)
    }

    /// As [`size`](Self::size), of a field that may be absent.
    ///
    /// # Errors
    /// When it is out of range.
    pub(super) fn optional_size(&mut self, name: &str) -> Result<Option<usize>, ModelError> {
        self.optional(name)?.map(|size| self.check_size(name, size)).transpose()
    }

    fn check_size(&self, name: &str, size: usize) -> Result<usize, ModelError> {
        let sane = (1..=SIZE_MAX).contains(&size);
        sane.then_some(size)
            .ok_or_else(|| ModelError::Config(format!("{}{name} = {size} must be from 1 to {SIZE_MAX}", self.place)))
    }

    /// The fields inside a field, if it is there.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub(super) fn inner(&mut self, name: &str, place: &'static str) -> Result<Option<Fields>, ModelError> {
        let value = self.left.remove(name).filter(|value| !value.is_null());
        value.map(|value| Fields::within(place, value)).transpose()
    }

    /// A field that must say this if it is there, as nothing else is implemented.
    ///
    /// # Errors
    /// When it says something else.
    pub(super) fn only(&mut self, name: &str, supported: impl Into<Value>) -> Result<(), ModelError> {
        let supported = supported.into();
        match self.left.remove(name) {
            Some(value) if value != supported && !value.is_null() => {
                Err(ModelError::Unsupported(format!("{}{name} = {value}; supported is {supported}", self.place)))
            }
            _ => Ok(()),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a field is left that nobody asked for.
    pub(super) fn finish(self) -> Result<(), ModelError> {
        let left = self.left.iter().filter(|(_, value)| !value.is_null());
        let left: Vec<String> = left.map(|(name, value)| format!("{}{name} = {value}", self.place)).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(ModelError::Unsupported(format!("fields of the configuration: {}", left.join(", "))))
    }
}

/// Largest size that a configuration may state: so that products of a few sizes don't overflow.
const SIZE_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_that_nobody_reads_is_refused_by_name() {
        let mut fields = Fields::new(&json!({"hidden_size": 8, "logit_scale": 2.0, "use_cache": true})).expect("an object");
        assert_eq!(fields.size("hidden_size").expect("there"), 8);
        assert!(fields.finish().expect_err("one is left").to_string().contains("logit_scale = 2.0"));
    }

    #[test]
    fn null_is_absent_and_a_wrong_type_or_size_names_the_field() {
        let mut fields = Fields::new(&json!({"a": null, "b": "x", "c": 0, "d": 99_999_999_999_u64})).expect("an object");
        assert_eq!(fields.optional::<usize>("a").expect("absent"), None);
        assert!(fields.required::<usize>("b").expect_err("a text").to_string().contains("b = \"x\""));
        assert!(fields.size("c").is_err() && fields.size("d").is_err() && fields.size("e").is_err());
    }

    #[test]
    fn a_value_that_is_not_implemented_is_named() {
        let mut fields = Fields::new(&json!({"hidden_act": "relu6"})).expect("an object");
        assert!(fields.only("hidden_act", "silu").expect_err("another").to_string().contains("relu6"));
    }
}
