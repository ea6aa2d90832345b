//! Rust source as tokens with lines: enough to find code and leave comments and literals out.
//!
//! `syn` reads items where structure matters; its spans tell no lines without a feature that would slow every build.

/// A word, one character of punctuation, or `""` for any text literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// The tokens of a source text.
pub(super) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text, line: 1, tokens: Vec::new() };
    while lexer.step() {}
    lexer.tokens
}

/// Lines on which a sequence of tokens begins, written as code: `find(tokens, "burn::backend")`.
pub(super) fn find(tokens: &[Token], code: &str) -> Vec<usize> {
    let wanted = lex(code);
    let same = |window: &&[Token]| window.iter().zip(&wanted).all(|(a, b)| a.text == b.text);
    tokens.windows(wanted.len()).filter(same).map(|window| window[0].line).collect()
}

/// The tokens that are not of an item that only tests compile.
pub(super) fn outside_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        match end_of_gate(tokens, at) {
            Some(end) => at = end_of_item(tokens, end) + 1,
            None => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Where a `#[cfg(…)]` that only tests meet ends: `test`, or `all(test, …)`.
fn end_of_gate(tokens: &[Token], at: usize) -> Option<usize> {
    let begins = |code: &str| {
        let wanted = lex(code);
        tokens.len() - at >= wanted.len() && tokens[at..].iter().zip(&wanted).all(|(a, b)| a.text == b.text)
    };
    let is_gate = tokens[at].text == "#" && (begins("#[cfg(test)]") || begins("#[cfg(all(test,"));
    is_gate.then(|| closing(tokens, at + 1) + 1)
}

/// Where the bracket that opens at `open` closes.
pub(super) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// The `;` or `}` that ends the item that begins here.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at,
            "{" => return closing(tokens, at),
            "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
    at
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    /// Reads one token, comment or space; false at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return false };
        if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if let Some(length) = text_literal(rest) {
            self.token("\"\"".into(), length);
        } else if first == '\'' {
            let length = char_literal(rest);
            let text = if length > 1 { "\"\"" } else { "'" };
            self.token(text.into(), length);
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            self.token(rest[..length].into(), length);
        } else {
            self.token(first.into(), first.len_utf8());
        }
        true
    }

    fn token(&mut self, text: String, length: usize) {
        self.tokens.push(Token { text, line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let (step, change) = match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (2, 1),
            Some(b"*/") => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of the string that begins here: `"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`.
fn text_literal(text: &str) -> Option<usize> {
    let quoted = text.trim_start_matches(['b', 'c']);
    if text.len() - quoted.len() > 1 {
        return None;
    }
    let raw = quoted.strip_prefix('r').map(|after| (after, after.bytes().take_while(|&b| b == b'#').count()));
    if let Some((after, hashes)) = raw {
        let inside = after[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let closed = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(text.len() - inside.len() + closed);
    }
    let inside = quoted.strip_prefix('"')?;
    Some(text.len() - inside.len() + escaped_until(inside, b'"'))
}

/// Length of the character that begins here, or 1 where it is a lifetime's quote.
fn char_literal(text: &str) -> usize {
    let inside = &text[1..];
    let mut chars = inside.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + escaped_until(inside, b'\''),
        (Some(one), Some('\'')) => 2 + one.len_utf8(),
        _ => 1,
    }
}

/// Length up to and with a closing quote that no backslash escapes.
fn escaped_until(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = r##"
        // wanted
        /* wanted /* wanted */ wanted */
        "wanted \" wanted"; r#"wanted " wanted"#; b"wanted"; br"wanted"; c"wanted"; 'w'; '\''; b'\\'; '"';
        fn f<'a>(x: &'a str) { wanted() }
    "##;
    assert_eq!(find(&lex(text), "wanted"), [5]);
}

#[test]
fn lines_are_counted_through_literals_and_comments() {
    assert_eq!(find(&lex("\"a\nb\\\nc\" /* \n */ // é\nwanted"), "wanted"), [5]);
}

#[test]
fn tokens_are_found_across_space_and_only_whole() {
    let tokens = lex("burn :: backend; burn::backends; r#burn::backend; todo !()");
    assert_eq!(find(&tokens, "burn::backend").len(), 2);
    assert_eq!(find(&tokens, "todo!").len(), 1);
}

#[test]
fn what_is_under_cfg_test_is_left_out() {
    let text = "a.b();\n#[cfg(test)]\nuse a::{b};\n#[cfg(test)]\n#[x(y)]\nmod tests { a.b(); }\na.b();\n#[cfg(all(test, x))] mod t { a.b() }\n#[cfg(not(test))]\na.b();";
    assert_eq!(find(&outside_tests(&lex(text)), "a.b()"), [1, 7, 10]);
}
