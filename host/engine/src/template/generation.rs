//! `{% generation %}` blocks.
//!
//! transformers adds this tag to Jinja so that training can find the assistant's words; rendered, a block is its content in a
//! scope of its own. That is what `{% with %}` is, so the tag is renamed where it stands as a tag.

use std::borrow::Cow;

const TAGS: [(&str, &str); 2] = [("generation", "with"), ("endgeneration", "endwith")];

/// A template with its generation tags renamed; comments, raw blocks and string literals stay as they are.
pub(super) fn without_tags(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return source.into();
    }
    let mut renamed = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{").filter(|open| open + 1 < rest.len()) {
        let (before, tag) = rest.split_at(open);
        renamed.push_str(before);
        let length = match tag.as_bytes()[1] {
            b'#' => after(tag, "#}"),
            b'{' => expression_length(tag, "}}"),
            b'%' => {
                if let Some((name, length)) = renamed_tag(tag) {
                    renamed.push_str(&name);
                    rest = &tag[length..];
                    continue;
                }
                if words(tag).next() == Some("raw") { raw_length(tag) } else { expression_length(tag, "%}") }
            }
            _ => 1,
        };
        renamed.push_str(&tag[..length]);
        rest = &tag[length..];
    }
    renamed.push_str(rest);
    renamed.into()
}

/// The new text of a generation tag and the old one's length.
fn renamed_tag(tag: &str) -> Option<(String, usize)> {
    let length = after(tag, "%}");
    let (_, to) = TAGS.iter().find(|(from, _)| words(&tag[..length]).eq([*from, "%}"]))?;
    let mark = |mark: Option<char>| mark.filter(|mark| matches!(mark, '-' | '+')).map(String::from).unwrap_or_default();
    let (open, close) = (mark(tag[2..].chars().next()), mark(tag[..length].chars().nth_back(2)));
    Some((format!("{{%{open} {to} {close}%}}"), length))
}

/// The words of a tag after its opening, and `%}` where it ends, without whitespace marks.
fn words(tag: &str) -> impl Iterator<Item = &str> {
    let tag = tag.strip_prefix("{%").unwrap_or(tag).trim_start_matches(['-', '+']).trim_start();
    let name = tag.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let rest = tag[name.len()..].trim_start().trim_start_matches(['-', '+']);
    [name, rest].into_iter().filter(|word| !word.is_empty())
}

/// Length of a raw block: up to the tag that ends it, which holds no strings.
fn raw_length(tag: &str) -> usize {
    let mut at = after(tag, "%}");
    while let Some(open) = tag[at..].find("{%") {
        at += open;
        let is_end = words(&tag[at..]).next() == Some("endraw");
        at += after(&tag[at..], if is_end { "%}" } else { "{%" });
        if is_end {
            return at;
        }
    }
    tag.len()
}

/// Length of a tag up to its end, which may also stand in a string literal, or be braces of a dictionary's.
fn expression_length(tag: &str, end: &str) -> usize {
    let bytes = tag.as_bytes();
    let (mut at, mut depth) = (2, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            _ if depth == 0 && bytes[at..].starts_with(end.as_bytes()) => return at + end.len(),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Length up to and with an end, or of all.
fn after(text: &str, end: &str) -> usize {
    text.find(end).map_or(text.len(), |at| at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_renamed_with_their_whitespace_marks() {
        let source = "a{% generation %}b{%- endgeneration -%}{%+generation+%}{%-  endgeneration%}c";
        let renamed = "a{% with %}b{%- endwith -%}{%+ with +%}{%- endwith %}c";
        assert_eq!(without_tags(source), renamed);
    }

    #[test]
    fn what_only_looks_like_a_tag_stays() {
        let sources = [
            "{# {% generation %} #}",
            "{{ '{% generation %}' }}",
            "{{ {'a': {'b': \"{% generation %}\"}}['a'] }}",
            "{% set generation = \"%}{% generation %}\" %}",
            "{% raw %}{% if %}{% generation %}{%- endraw -%}",
            "{% if add_generation_prompt %}{{ generation }}{",
            "{{ '\\'{% generation %}' }} generation {% generation",
            "{%generation",
            "generation {",
        ];
        for source in sources {
            assert_eq!(without_tags(source), source);
        }
        assert_eq!(without_tags("{% raw %}{{ '{% endraw %}{% generation %}"), "{% raw %}{{ '{% endraw %}{% with %}");
    }
}
