//! Where a model's folder keeps its chat template, and the special tokens that it names.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use super::{SpecialTexts, TemplateError};

/// A template's source with the texts of its special tokens, where a model has a template.
pub(super) fn read(folder: &Path) -> Result<Option<(String, SpecialTexts)>, TemplateError> {
    let config_file = folder.join("tokenizer_config.json");
    let config = read_object(&config_file)?;
    let source = match read_text(&folder.join("chat_template.jinja"))? {
        Some(source) => Some(source),
        None => config.get("chat_template").map(|value| default_template(value, &config_file)).transpose()?.flatten(),
    };
    let Some(source) = source else { return Ok(None) };
    let mut tokens = SpecialTexts::default();
    // What tokenizer_config.json says goes before what older files say beside it.
    for object in [config, read_object(&folder.join("special_tokens_map.json"))?] {
        for (name, text) in object.iter().filter_map(special_text) {
            tokens.0.entry(name).or_insert(text);
        }
    }
    Ok(Some((source, tokens)))
}

/// The template itself, or the one called `default` in a list of them.
fn default_template(value: &Value, file: &Path) -> Result<Option<String>, TemplateError> {
    let named = |entry: &&Value| entry["name"] == "default";
    match value {
        Value::Null => Ok(None),
        Value::String(source) => Ok(Some(source.clone())),
        Value::Array(entries) => match entries.iter().find(named).map(|entry| &entry["template"]) {
            Some(Value::String(source)) => Ok(Some(source.clone())),
            _ => Err(unreadable(file, "`chat_template` is a list without one called `default`")),
        },
        _ => Err(unreadable(file, "`chat_template` is neither a text nor a list")),
    }
}

/// A special token's name and text: `"bos_token": "<s>"` or `"bos_token": {"content": "<s>", …}`.
fn special_text((name, value): (&String, &Value)) -> Option<(String, String)> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
    name.ends_with("_token").then(|| (name.clone(), text.to_owned()))
}

/// The object in a file; an empty one where there is no file.
fn read_object(file: &Path) -> Result<Map<String, Value>, TemplateError> {
    let Some(text) = read_text(file)? else { return Ok(Map::new()) };
    serde_json::from_str(&text).map_err(|error| unreadable(file, error))
}

fn read_text(file: &Path) -> Result<Option<String>, TemplateError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(file, error)),
    }
}

fn unreadable(file: &Path, reason: impl ToString) -> TemplateError {
    TemplateError::Unreadable { file: file.display().to_string(), reason: reason.to_string() }
}
