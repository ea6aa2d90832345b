//! JSON as Python's `json.dumps` spells it, which is what models were trained on.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Values in values; more are a mistake, or an attack.
const DEPTH_MAX: usize = 64;

/// The filter `tojson` with the options of transformers.
pub(super) fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let mut json = Json { state, text: String::new(), spelling: Spelling::read(&options)? };
    options.assert_all_used()?;
    json.value(value, 0)?;
    Ok(json.text)
}

/// How JSON is spelled; `json.dumps` has the same options.
struct Spelling {
    ensure_ascii: bool,
    sort_keys: bool,
    /// Of one level. Without one all is on one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
}

impl Spelling {
    fn read(options: &Kwargs) -> Result<Spelling, Error> {
        let flag = |name: &str| options.get::<Option<bool>>(name).map(|flag| flag.unwrap_or(false));
        let indent = match options.get::<Option<Value>>("indent")? {
            None => None,
            Some(indent) if indent.is_none() => None,
            Some(indent) => Some(match indent.as_str() {
                Some(indent) => indent.to_owned(),
                None => " ".repeat(usize::from(u8::try_from(i64::try_from(indent)?.max(0)).map_err(|_| refused("indent"))?)),
            }),
        };
        let (between_items, after_key) = match options.get::<Option<Value>>("separators")? {
            Some(separators) if !separators.is_none() => {
                let part = |index| separators.get_item_by_index(index).map(|part| part.as_str().map(str::to_owned));
                part(0)?.zip(part(1)?).ok_or_else(|| refused("separators"))?
            }
            _ => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        };
        Ok(Spelling { ensure_ascii: flag("ensure_ascii")?, sort_keys: flag("sort_keys")?, indent, between_items, after_key })
    }
}

struct Json<'a, 'state, 'env> {
    state: &'a State<'state, 'env>,
    text: String,
    spelling: Spelling,
}

impl Json<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        // Lists may be endless in effect: every value is paid for.
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::None => self.put("null"),
            ValueKind::Bool => self.put(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.put(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if depth == DEPTH_MAX => Err(refused("depth")),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth),
            ValueKind::Map => self.map(value, depth),
            kind => Err(Error::new(ErrorKind::InvalidOperation, format!("{kind} is not JSON serializable"))),
        }
    }

    fn list(&mut self, list: &Value, depth: usize) -> Result<(), Error> {
        let mut is_empty = true;
        self.put("[")?;
        for item in list.try_iter()? {
            self.next_item(is_empty, depth + 1)?;
            self.value(&item, depth + 1)?;
            is_empty = false;
        }
        self.close("]", is_empty, depth)
    }

    fn map(&mut self, map: &Value, depth: usize) -> Result<(), Error> {
        let mut entries = Vec::new();
        for key in map.try_iter()? {
            self.state.consume_fuel(1)?;
            entries.push((self.key(&key)?, map.get_item(&key)?));
        }
        if self.spelling.sort_keys {
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        self.put("{")?;
        for (index, (key, value)) in entries.iter().enumerate() {
            self.next_item(index == 0, depth + 1)?;
            self.string(key)?;
            let after_key = self.spelling.after_key.clone();
            self.put(&after_key)?;
            self.value(value, depth + 1)?;
        }
        self.close("}", entries.is_empty(), depth)
    }

    /// Keys are texts in JSON; Python makes texts of numbers and such.
    fn key(&self, key: &Value) -> Result<String, Error> {
        match key.kind() {
            ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
            ValueKind::None => Ok("null".into()),
            ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
            ValueKind::Number => Ok(number(key)),
            kind => Err(Error::new(ErrorKind::InvalidOperation, format!("{kind} is no key of JSON"))),
        }
    }

    fn next_item(&mut self, is_first: bool, depth: usize) -> Result<(), Error> {
        if !is_first {
            let between_items = self.spelling.between_items.clone();
            self.put(&between_items)?;
        }
        self.new_line(depth)
    }

    fn close(&mut self, bracket: &str, is_empty: bool, depth: usize) -> Result<(), Error> {
        if !is_empty {
            self.new_line(depth)?;
        }
        self.put(bracket)
    }

    fn new_line(&mut self, depth: usize) -> Result<(), Error> {
        let Some(indent) = &self.spelling.indent else { return Ok(()) };
        let line = format!("\n{}", indent.repeat(depth));
        self.put(&line)
    }

    fn string(&mut self, string: &str) -> Result<(), Error> {
        let mut literal = String::with_capacity(string.len() + 2);
        literal.push('"');
        for character in string.chars() {
            match character {
                '"' => literal.push_str("\\\""),
                '\\' => literal.push_str("\\\\"),
                '\n' => literal.push_str("\\n"),
                '\r' => literal.push_str("\\r"),
                '\t' => literal.push_str("\\t"),
                '\u{8}' => literal.push_str("\\b"),
                '\u{c}' => literal.push_str("\\f"),
                '\0'..='\x1f' => literal.push_str(&escape(character)),
                '\x7f'.. if self.spelling.ensure_ascii => literal.push_str(&escape(character)),
                _ => literal.push(character),
            }
        }
        literal.push('"');
        self.put(&literal)
    }

    fn put(&mut self, piece: &str) -> Result<(), Error> {
        self.state.consume_fuel(u64::try_from(piece.len() / 64).unwrap_or(u64::MAX))?;
        self.text.push_str(piece);
        Ok(())
    }
}

/// `\u0000`, in two halves for what is beyond 16 bits.
fn escape(character: char) -> String {
    character.encode_utf16(&mut [0; 2]).iter().map(|half| format!("\\u{half:04x}")).collect()
}

/// As Python's `repr`: the shortest digits, with an exponent of two digits at least from 1e16 on and below 1e-4.
fn number(number: &Value) -> String {
    let float = f64::try_from(number.clone()).ok().filter(|_| !number.is_integer());
    let Some(float) = float else { return number.to_string() };
    let digits = format!("{float:e}");
    match digits.split_once('e') {
        _ if float.is_nan() => "NaN".into(),
        _ if float.is_infinite() => if float > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Some((mantissa, exponent)) if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{mantissa}e{sign}{exponent:0>2}")
        }
        _ => format!("{float:?}"),
    }
}

fn refused(option: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("`tojson` can't do with this {option}"))
}
