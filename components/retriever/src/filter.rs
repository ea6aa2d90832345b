//! Filters as clients write them: a JSON object with a key for each field that is tested.

use serde_json::{Map, Value};
use tessera_sdk::Error;
use tessera_sdk::vector::{Condition, Filter, Test, Value as Held};

/// Most tests of one filter.
const TESTS_MAX: usize = 32;

/// Reads a filter of ours: `{"type": "pdf", "page": {"gte": 2}, "name": ["a.md", "b.md"]}`. `param` is what the client calls it.
///
/// # Errors
/// 400 that names the field at fault.
pub(crate) fn parse(filter: &Value, param: &str) -> Result<Filter, Error> {
    let mut parsed = Filter::default();
    for (field, wanted) in fields(filter, param)? {
        match wanted {
            Value::Object(tests) if !tests.is_empty() => {
                for (operator, operand) in tests {
                    test(&mut parsed, field, operator, operand).map_err(|error| within(error, param, field))?;
                }
            }
            wanted => test(&mut parsed, field, "eq", wanted).map_err(|error| within(error, param, field))?,
        }
    }
    checked(parsed, param)
}

/// Reads OPEA's `constraints`: an object as [`parse`] takes, in which a test may also be a list of operators and operands, as
/// VDMS has it (`{"date": [">=", 20240101, "<=", 20241231]}`), or a list of such objects, all of which have to hold.
///
/// # Errors
/// 400 that names the field at fault.
pub(crate) fn parse_constraints(constraints: &Value) -> Result<Filter, Error> {
    const PARAM: &str = "constraints";
    let each = match constraints {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut all = Filter::default();
    for constraints in each {
        let mut plain = Map::new();
        for (field, wanted) in fields(constraints, PARAM)? {
            match wanted.as_array().filter(|list| list.first().is_some_and(is_operator)) {
                None => drop(plain.insert(field.clone(), wanted.clone())),
                Some(list) => {
                    for pair in list.chunks(2) {
                        let (operator, operand) = (pair[0].as_str().unwrap_or_default(), pair.get(1).unwrap_or(&Value::Null));
                        test(&mut all, field, operator, operand).map_err(|error| within(error, PARAM, field))?;
                    }
                }
            }
        }
        merge(&mut all, parse(&plain.into(), PARAM)?);
    }
    checked(all, PARAM)
}

/// Adds the tests of another filter, so that both have to hold. Neither may have alternatives, and those made here have none.
pub(crate) fn merge(filter: &mut Filter, other: Filter) {
    filter.all.extend(other.all);
    filter.none.extend(other.none);
}

fn fields<'a>(filter: &'a Value, param: &str) -> Result<&'a Map<String, Value>, Error> {
    let expected = || Error::invalid(param, "must be an object with a key for each field");
    filter.as_object().ok_or_else(expected)
}

fn is_operator(value: &Value) -> bool {
    matches!(value.as_str(), Some("==" | "!=" | ">=" | "<=" | ">" | "<"))
}

/// Adds one test; an error says what the operand must be.
fn test(filter: &mut Filter, field: &str, operator: &str, operand: &Value) -> Result<(), String> {
    let number = || operand.as_f64().ok_or_else(|| format!("`{operator}` needs a number"));
    let (test, holds) = match operator {
        "eq" | "==" => (equals(operand)?, true),
        "ne" | "!=" => (equals(operand)?, false),
        "gte" | ">=" => (Test::AtLeast(number()?), true),
        "lte" | "<=" => (Test::AtMost(number()?), true),
        // What is not at most so much is more, but it may also be no number, or not be there.
        "gt" | ">" => {
            filter.all.push(Condition { field: field.to_owned(), test: Test::AtLeast(number()?) });
            (Test::AtMost(number()?), false)
        }
        "lt" | "<" => {
            filter.all.push(Condition { field: field.to_owned(), test: Test::AtMost(number()?) });
            (Test::AtLeast(number()?), false)
        }
        "exists" => (Test::Present, operand.as_bool().ok_or("`exists` needs `true` or `false`")?),
        other => return Err(format!("`{other}` is none of eq, ne, gt, gte, lt, lte and exists")),
    };
    let condition = Condition { field: field.to_owned(), test };
    if holds {
        filter.all.push(condition)
    } else {
        filter.none.push(condition)
    }
    Ok(())
}

/// A value, or one of several texts.
fn equals(wanted: &Value) -> Result<Test, String> {
    match wanted {
        Value::String(text) => Ok(Test::Equals(Held::Text(text.clone()))),
        Value::Bool(truth) => Ok(Test::Equals(Held::Truth(*truth))),
        Value::Number(number) => number.as_f64().map(|number| Test::Equals(Held::Number(number))).ok_or("not a number".into()),
        Value::Array(texts) => {
            let texts: Option<Vec<String>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            texts.filter(|texts| !texts.is_empty()).map(Test::OneOf).ok_or("a list must have texts, and at least one".into())
        }
        _ => Err("must be a text, a number, a bool, a list of texts, or an object of tests".into()),
    }
}

fn checked(filter: Filter, param: &str) -> Result<Filter, Error> {
    if filter.all.len() + filter.none.len() > TESTS_MAX {
        return Err(Error::invalid(param, &format!("has more than {TESTS_MAX} tests")));
    }
    Ok(filter)
}

fn within(message: String, param: &str, field: &str) -> Error {
    Error::bad_request(format!("`{param}.{field}`: {message}")).with_param(format!("{param}.{field}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a filter wants, in short: `+` has to hold, `-` has not to.
    fn shown(filter: Result<Filter, Error>) -> Vec<String> {
        let filter = filter.expect("a good filter");
        let show = |sign: &str, condition: &Condition| match &condition.test {
            Test::Equals(Held::Text(text)) => format!("{sign}{} = {text}", condition.field),
            Test::Equals(Held::Number(number)) => format!("{sign}{} = {number}", condition.field),
            Test::Equals(Held::Truth(truth)) => format!("{sign}{} = {truth}", condition.field),
            Test::Equals(Held::Texts(texts)) => format!("{sign}{} = {texts:?}", condition.field),
            Test::OneOf(texts) => format!("{sign}{} in {texts:?}", condition.field),
            Test::AtLeast(number) => format!("{sign}{} >= {number}", condition.field),
            Test::AtMost(number) => format!("{sign}{} <= {number}", condition.field),
            Test::Present => format!("{sign}{}", condition.field),
        };
        filter.all.iter().map(|c| show("+", c)).chain(filter.none.iter().map(|c| show("-", c))).collect()
    }

    #[test]
    fn values_lists_and_ranges_are_tests() {
        let filter = json!({
            "a": "x", "b": 2, "c": true, "d": ["x", "y"], "e": {"gte": 1, "lte": 2.5}, "f": {"ne": "x"}, "g": {"exists": false},
            "h": {"exists": true},
        });
        let expected = ["+a = x", "+b = 2", "+c = true", r#"+d in ["x", "y"]"#, "+e >= 1", "+e <= 2.5", "+h", "-f = x", "-g"];
        assert_eq!(shown(parse(&filter, "filter")), expected);
    }

    #[test]
    fn more_and_less_leave_out_the_number_itself() {
        assert_eq!(shown(parse(&json!({"a": {"gt": 1}}), "filter")), ["+a >= 1", "-a <= 1"]);
        assert_eq!(shown(parse(&json!({"a": {"lt": 1}}), "filter")), ["+a <= 1", "-a >= 1"]);
    }

    #[test]
    fn constraints_are_objects_operators_or_a_list_of_both() {
        let constraints = json!([{"a": [">=", 1, "<=", 2], "b": "x"}, {"c": ["==", "y"]}, {"d": ["x", "y"]}]);
        let expected = ["+a >= 1", "+a <= 2", "+b = x", "+c = y", r#"+d in ["x", "y"]"#];
        assert_eq!(shown(parse_constraints(&constraints)), expected);
    }

    #[test]
    fn no_filter_at_all_is_everything() {
        assert!(shown(parse(&json!({}), "filter")).is_empty());
        assert!(shown(parse_constraints(&json!([]))).is_empty());
    }

    #[test]
    fn what_is_no_filter_is_named() {
        let cases = [
            (json!("a"), "filter"),
            (json!([{"a": 1}]), "filter"),
            (json!({"a": null}), "filter.a"),
            (json!({"a": {}}), "filter.a"),
            (json!({"a": []}), "filter.a"),
            (json!({"a": [1, 2]}), "filter.a"),
            (json!({"a": {"gte": "1"}}), "filter.a"),
            (json!({"a": {"like": "x"}}), "filter.a"),
            (json!({"a": {"exists": 1}}), "filter.a"),
        ];
        for (filter, param) in cases {
            let error = parse(&filter, "filter").expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{filter}: {error}");
        }
        for constraints in [json!("a"), json!(["a"]), json!({"a": [">="]}), json!({"a": [">=", 1, "oops", 2]})] {
            assert_eq!(parse_constraints(&constraints).expect_err("no constraints").status(), 400, "{constraints}");
        }
    }

    #[test]
    fn a_filter_has_only_so_many_tests() {
        let filter = |count: usize| (0..count).map(|at| (format!("f{at}"), json!(at))).collect::<Map<_, _>>().into();
        assert!(parse(&filter(TESTS_MAX), "filter").is_ok());
        assert!(parse(&filter(TESTS_MAX + 1), "filter").is_err());
        let list: Vec<Value> = (0..=TESTS_MAX).map(|_| json!({"a": 1})).collect();
        assert!(parse_constraints(&list.into()).is_err());
    }
}
