//! Texts put in the place of names.

/// Longest template, in bytes.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 64 << 10;

/// Longest prompt that is made, in bytes. A name may stand in a template many times.
pub(crate) const PROMPT_BYTES_MAX: usize = 4 << 20;

/// What a template is made of.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Text as it is.
    Text(&'a str),
    /// What stands in braces.
    Name(&'a str),
}

/// A template: text in which `{name}` stands for another text, and `{{` and `}}` for braces. A brace that belongs to neither is a
/// brace as well, so that JSON and code may be written as they are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Template<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("the template has {} bytes, at most {TEMPLATE_BYTES_MAX} are allowed", text.len()));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            let (part, length) = match name(brace) {
                Some(name) => (Part::Name(name), name.len() + 2),
                // The second of two braces is left out.
                None if brace.starts_with("{{") || brace.starts_with("}}") => (Part::Text(&brace[..1]), 2),
                None => (Part::Text(&brace[..1]), 1),
            };
            parts.extend([Part::Text(before), part]);
            rest = &brace[length..];
        }
        parts.push(Part::Text(rest));
        parts.retain(|part| *part != Part::Text(""));
        Ok(Self { parts })
    }

    /// The names in it, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(*name),
            Part::Text(_) => None,
        })
    }

    /// Puts the text of each name in its place. None of them is read as a template.
    ///
    /// # Errors
    /// The names without a text, or that the prompt is too long.
    pub(crate) fn fill<'b>(&self, text_of: impl Fn(&str) -> Option<&'b str>) -> Result<String, String> {
        let mut missing: Vec<&str> = self.names().filter(|name| text_of(name).is_none()).collect();
        if !missing.is_empty() {
            missing.dedup();
            let names: Vec<String> = missing.iter().map(|name| format!("`{{{name}}}`")).collect();
            return Err(format!("the template has {}, and there is no text of that name", names.join(", ")));
        }
        let texts = || {
            self.parts.iter().map(|part| match part {
                Part::Text(text) => text,
                Part::Name(name) => text_of(name).unwrap_or_default(),
            })
        };
        let bytes = texts().try_fold(0_usize, |sum, text| sum.checked_add(text.len()));
        if bytes.is_none_or(|bytes| bytes > PROMPT_BYTES_MAX) {
            return Err(format!("the prompt would be longer than {PROMPT_BYTES_MAX} bytes"));
        }
        Ok(texts().collect())
    }
}

/// The name that a text begins with, in braces: letters, digits and `_`.
fn name(text: &str) -> Option<&str> {
    let text = text.strip_prefix('{')?;
    // Not up to the next `}`: of a text full of `{` each would read all the rest.
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_')?;
    (end > 0 && text[end..].starts_with('}')).then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str) -> Result<String, String> {
        let text_of = |name: &str| match name {
            "a" => Some("one"),
            "b" => Some("{a} {{b}} }"),
            "long" => Some(LONG),
            _ => None,
        };
        Template::parse(template)?.fill(text_of)
    }

    const LONG: &str = match std::str::from_utf8(&[b'x'; 1 << 20]) {
        Ok(text) => text,
        Err(_) => "",
    };

    #[test]
    fn names_are_replaced_by_their_texts() {
        assert_eq!(fill("{a}, {a} and ä{a}").as_deref(), Ok("one, one and äone"));
        assert_eq!(fill("{x {a} {").as_deref(), Ok("{x one {"));
        assert_eq!(fill("").as_deref(), Ok(""));
    }

    #[test]
    fn what_is_put_in_is_never_a_template() {
        assert_eq!(fill("{b}{a}").as_deref(), Ok("{a} {{b}} }one"));
    }

    #[test]
    fn two_braces_are_one() {
        assert_eq!(fill("{{a}} {{{a}}} {{").as_deref(), Ok("{a} {one} {"));
    }

    #[test]
    fn braces_around_anything_else_stay() {
        for text in ["{", "}", "{ a }", r#"{"a": 1}"#, "{}", "fn f() { x }", "{a", "ä}"] {
            assert_eq!(fill(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn names_without_a_text_are_all_told() {
        let error = fill("{a} {x} {y}").expect_err("two are missing");
        assert!(error.contains("`{x}`, `{y}`") && !error.contains("`{a}`"), "{error}");
    }

    #[test]
    fn neither_template_nor_prompt_grow_beyond_their_limits() {
        assert!(fill(&" ".repeat(TEMPLATE_BYTES_MAX)).is_ok());
        assert!(fill(&" ".repeat(TEMPLATE_BYTES_MAX + 1)).expect_err("too long").contains("65536"));
        assert!(fill(&"{long}".repeat(4)).is_ok());
        assert!(fill(&"{long}".repeat(5)).expect_err("too long").contains("4194304"));
    }
}
