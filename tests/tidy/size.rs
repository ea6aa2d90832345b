//! Files are one idea, functions fit a screen, and many parameters are a struct.

use super::rust::{self, Token};
use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const PARAMETERS_MAX: usize = 6;

#[test]
fn files_and_functions_are_of_a_size_to_read() {
    assert_tidy(&check(Tree::ours()));
}

fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.below("", ".rs") {
        let mut offend = |line, remedy: String| offences.push(Offence::new(&file.path, line, remedy));
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            offend(1, format!("{lines} lines, {FILE_LINES_MAX} at most: it holds two ideas, divide them"));
        }
        for Function { name, line, body_lines, parameters } in functions(&file.tokens) {
            if body_lines > FUNCTION_LINES_MAX {
                offend(
                    line,
                    format!("`{name}` has {body_lines} lines, {FUNCTION_LINES_MAX} at most: name its steps as functions"),
                );
            }
            if parameters > PARAMETERS_MAX {
                offend(line, format!("`{name}` has {parameters} parameters, {PARAMETERS_MAX} at most: make them a struct"));
            }
        }
    }
    offences
}

#[derive(Debug, PartialEq, Eq)]
struct Function<'a> {
    name: &'a str,
    line: usize,
    /// Between the braces; 0 where there is no body.
    body_lines: usize,
    /// With `self`, as clippy counts.
    parameters: usize,
}

/// Every `fn` with a name, those inside of others and of macros included.
fn functions(tokens: &[Token]) -> Vec<Function<'_>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let is_name = |text: &str| text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let starts = (0..tokens.len()).filter(|&at| text(at) == "fn" && is_name(text(at + 1)));
    let function = |at: usize| {
        let open = next(tokens, at + 2, &["("])?;
        let close = rust::closing(tokens, open);
        let body = next(tokens, close + 1, &["{", ";"])?;
        let end = if text(body) == "{" { rust::closing(tokens, body) } else { body };
        let lines = tokens.get(end)?.line - tokens[body].line;
        let parameters = parameters(&tokens[open + 1..close]);
        Some(Function { name: text(at + 1), line: tokens[at].line, body_lines: lines.saturating_sub(1), parameters })
    };
    starts.filter_map(function).collect()
}

/// The first of these tokens that stands outside of brackets and of `<…>`.
fn next(tokens: &[Token], start: usize, wanted: &[&str]) -> Option<usize> {
    let (mut at, mut angles) = (start, 0);
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        if angles == 0 && wanted.contains(&text) {
            return Some(at);
        }
        match text {
            "(" | "[" | "{" => at = rust::closing(tokens, at),
            _ => angles += angle(tokens, at),
        }
        at += 1;
    }
    None
}

/// Parameters between the parentheses: pieces between commas, the last one perhaps empty.
fn parameters(tokens: &[Token]) -> usize {
    let (mut count, mut start) = (0, 0);
    while start < tokens.len() {
        count += 1;
        start = next(tokens, start, &[","]).map_or(tokens.len(), |comma| comma + 1);
    }
    count
}

/// How a token changes the depth of `<…>`; the `>` of an arrow does not.
fn angle(tokens: &[Token], at: usize) -> i32 {
    let arrow = at > 0 && ["-", "="].contains(&tokens[at - 1].text.as_str());
    match tokens[at].text.as_str() {
        "<" => 1,
        ">" if !arrow => -1,
        _ => 0,
    }
}

#[test]
fn functions_are_measured() {
    let text = "
        trait T { fn none(); }
        fn short() {}
        fn generic<F: Fn(u8, u8) -> u8, const N: usize>(&self, f: F, (a, b): (u8, u8), m: Map<K, V>,) -> [u8; 4]
        where F: Into<Vec<u8>> {
            let f: fn(u8) -> u8 = g;

            fn inner(
                a: impl Fn(u8) -> u8,
                b: u8
            ) {
                x();
            }
        }
        macro_rules! m { ($name:ident) => { fn $name() {} } }
    ";
    let tokens = rust::lex(text);
    let measured: Vec<_> = functions(&tokens).iter().map(|f| (f.name, f.line, f.body_lines, f.parameters)).collect();
    assert_eq!(measured, [("none", 2, 0, 0), ("short", 3, 0, 0), ("generic", 4, 8, 4), ("inner", 8, 1, 2)]);
}

#[test]
fn what_is_too_large_is_caught() {
    let lines = |count: usize| "\n".repeat(count);
    let long_file = "//\n".repeat(601);
    let long_function = format!("fn long() {{\n{}}}\nfn just() {{\n{}}}\n", lines(71), lines(70));
    let wide = "fn wide(a: A<B, C>, b: B, c: C, d: D, e: E, f: F, g: G) {}\nfn just(&self, a: A, b: B, c: C, d: D, e: E) {}";
    let tree = Tree::made_of(&[
        ("a.rs", &long_file),
        ("b.rs", &long_function),
        ("c.rs", wide),
        ("d.rs", &"//\n".repeat(600)),
        ("e.md", &long_file),
    ]);
    let expected = [("a.rs", 1, "601 lines"), ("b.rs", 1, "`long` has 71 lines"), ("c.rs", 1, "`wide` has 7 parameters")];
    assert_caught(&check(&tree), &expected);
}
