//! What templates take from Python: methods of its values, its clock, its idea of a sequence.

use std::fmt::Write;
use std::time::SystemTime;

use chrono::format::StrftimeItems;
use chrono::{DateTime, Utc};
use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

/// Widths and dates that are longer are mistakes, or attacks.
const FORMAT_BYTES_MAX: usize = 256;

/// Calls a method of a string, dictionary or list. Most are pycompat's; those that can make much of little are held to the
/// fuel first.
pub(super) fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, arguments);
    };
    match name {
        "replace" => state.apply_filter("replace", &[std::slice::from_ref(value), arguments].concat()),
        "join" => {
            let (pieces,): (Value,) = from_args(arguments)?;
            state.apply_filter("join", &[pieces, value.clone()])
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "rsplit" => rsplit(state, text, arguments),
        "split" | "splitlines" => {
            pay_for_pieces(state, text, arguments.first().and_then(Value::as_str))?;
            pycompat::unknown_method_callback(state, value, name, arguments)
        }
        "format" if has_wide_field(text) => Err(Error::new(ErrorKind::InvalidOperation, "a field of `format` is too wide")),
        _ => pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

/// Pieces from the end, by a separator.
fn rsplit(state: &State, text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, splits): (&str, Option<usize>) = from_args(arguments)?;
    pay_for_pieces(state, text, Some(separator))?;
    let mut pieces: Vec<Value> = match splits {
        Some(splits) => text.rsplitn(splits.saturating_add(1), separator).map(Value::from).collect(),
        None => text.rsplit(separator).map(Value::from).collect(),
    };
    pieces.reverse();
    Ok(pieces.into())
}

/// A step for each piece that a split makes: a piece of one byte takes the memory of many.
fn pay_for_pieces(state: &State, text: &str, separator: Option<&str>) -> Result<(), Error> {
    let pieces = match separator {
        Some(separator) => text.matches(separator).count(),
        None => text.matches(char::is_whitespace).count(),
    };
    state.consume_fuel(u64::try_from(pieces).unwrap_or(u64::MAX))
}

/// Whether a format asks for a width or precision of more than three digits, or for one that stands in an argument.
fn has_wide_field(format: &str) -> bool {
    let fields = format.split('{').skip(1).filter_map(|field| field.split('}').next()?.split_once(':'));
    let is_wide = |specifier: &str| specifier.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
    fields.map(|(_, specifier)| specifier).any(is_wide) || format.matches('{').count() > FORMAT_BYTES_MAX
}

/// The function `strftime_now` of a given time, in UTC.
pub(super) fn clock(now: SystemTime) -> Value {
    let now = DateTime::<Utc>::from(now);
    Value::from_function(move |format: &str| -> Result<String, Error> {
        let mut date = String::new();
        let known = format.len() <= FORMAT_BYTES_MAX
            && write!(date, "{}", now.format_with_items(StrftimeItems::new_lenient(format))).is_ok();
        if known { Ok(date) } else { Err(Error::new(ErrorKind::InvalidOperation, "`strftime_now` can't write this date")) }
    })
}

/// Jinja's tests `iterable` and `sequence`: texts and dictionaries are, and what is undefined; none is not.
pub(super) fn has_items(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Iterable | Map | Seq | String | Undefined)
}
