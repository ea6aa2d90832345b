//! XML: a safe way to walk through it, which the office formats use too, and documents of any vocabulary.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::record::Records;
use crate::document::Builder;
use crate::limits::{Budget, DEPTH_MAX, ParseError};

/// One step through a document.
pub(super) enum Node<'e> {
    Start(&'e Element<'e>),
    /// The local name of what ends.
    End(&'e str),
    Text(Cow<'e, str>),
}

/// A tag that begins an element.
pub(super) struct Element<'e>(&'e BytesStart<'e>);

impl Element<'_> {
    /// Its name without the prefix.
    pub(super) fn name(&self) -> &str {
        local(self.0.name().0)
    }

    /// The attribute of this name without its prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Names without their prefixes, and values.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (String, String)> {
        self.0.attributes().filter_map(Result::ok).filter(|attribute| !attribute.key.0.starts_with("xmlns")).map(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_or_else(|_| String::new(), Cow::into_owned);
            (local(attribute.key.0).to_owned(), value)
        })
    }
}

/// Goes through a document from its beginning to its end. Entities are never expanded, and a document that declares some is
/// refused.
///
/// # Errors
/// It is no XML, is nested too deeply, declares entities, or takes too long; or what `visit` says.
pub(super) fn walk<V>(text: &str, budget: &mut Budget, visit: &mut V) -> Result<(), ParseError>
where
    V: FnMut(Node<'_>, &mut Budget) -> Result<(), ParseError>,
{
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let mut depth = 0_usize;
    loop {
        budget.tick()?;
        match reader.read_event().map_err(|error| ParseError::malformed("XML", error))? {
            Event::Start(tag) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(ParseError::TooDeep);
                }
                visit(Node::Start(&Element(&tag)), budget)?;
            }
            Event::Empty(tag) => {
                visit(Node::Start(&Element(&tag)), budget)?;
                visit(Node::End(local(tag.name().0)), budget)?;
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                visit(Node::End(local(tag.name().0)), budget)?;
            }
            Event::Text(content) => visit(Node::Text(content.xml10_content()), budget)?,
            Event::CData(content) => visit(Node::Text(content.into_inner()), budget)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| ParseError::malformed("XML", error))?;
                let resolved = match character {
                    Some(character) => Cow::Owned(character.to_string()),
                    None => Cow::Borrowed(predefined(&reference.xml10_content())?),
                };
                visit(Node::Text(resolved), budget)?;
            }
            Event::DocType(doctype) if doctype.xml10_content().contains("<!ENTITY") => {
                return Err(ParseError::Unsupported(
                    "it declares entities, which are not expanded here: send it without a DTD".into(),
                ));
            }
            Event::Eof if depth > 0 => return Err(ParseError::malformed("XML", "it ends inside of an element")),
            Event::Eof => return Ok(()),
            Event::DocType(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

fn predefined(name: &str) -> Result<&'static str, ParseError> {
    let unknown = || ParseError::malformed("XML", format!("it uses the entity `{name}`, which only a DTD could declare"));
    // What HTML's entities are is known, and this one is in many files.
    if name == "nbsp" { Ok("\u{a0}") } else { resolve_predefined_entity(name).ok_or_else(unknown) }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// An element that is not over, with its own text.
struct Open {
    name: String,
    text: String,
}

/// A document of any vocabulary: an element with a text of its own is a line with its name, what is inside of a running text
/// belongs to it, and a child of the root is a record.
pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    // The walk holds the budget and the records hold the builder, so the lines are gathered first.
    let mut lines: Vec<Line> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let bytes_max = builder.budget.limits.text_bytes_max;
    let mut bytes = 0;
    walk(text, builder.budget, &mut |node, budget| {
        let before = lines.len();
        match node {
            Node::Start(element) => {
                for (name, value) in element.attributes() {
                    bytes += name.len() + value.len();
                    budget.hold(element.name().len() + name.len() + value.len())?;
                    lines.push(Line::Value(format!("{}.{name}", element.name()), value));
                }
                open.push(Open { name: element.name().to_owned(), text: String::new() });
            }
            Node::Text(text) => {
                bytes += text.len();
                if let Some(open) = open.last_mut() {
                    open.text.push_str(&text);
                }
            }
            Node::End(_) => close(&mut open, &mut lines),
        }
        budget.hold((lines.len() - before) * size_of::<Line>())?;
        if bytes > bytes_max {
            return Err(ParseError::TooLong { what: "text", max: bytes_max as u64, unit: "bytes" });
        }
        Ok(())
    })?;
    let mut records = Records::new(builder);
    for line in lines {
        match line {
            Line::Value(name, value) => {
                records.enter(&name)?;
                records.value(&crate::document::collapse(&value))?;
                records.leave();
            }
            Line::End => records.end()?,
        }
    }
    records.end()
}

enum Line {
    Value(String, String),
    /// A record is over.
    End,
}

fn close(open: &mut Vec<Open>, lines: &mut Vec<Line>) {
    let Some(closed) = open.pop() else { return };
    let has_text = !closed.text.trim().is_empty();
    match open.last_mut() {
        Some(parent) if has_text && !parent.text.trim().is_empty() => parent.text.push_str(&closed.text),
        _ if has_text => lines.push(Line::Value(closed.name, closed.text)),
        _ => {}
    }
    if open.len() == 1 {
        lines.push(Line::End);
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::ParseError;
    use crate::parse::tests::{blocks, read};

    fn texts(xml: &str) -> Vec<String> {
        blocks("a.xml", xml.as_bytes()).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn elements_with_text_are_lines_and_children_of_the_root_are_records() {
        let xml = "<?xml version='1.0'?><!-- c --><r><a id='7'><n>x &amp; y</n></a><x:b>see <i>this</i>&#33;<![CDATA[<z>]]></x:b></r>";
        assert_eq!(texts(xml), ["a.id: 7\nn: x & y", "b: see this!<z>"]);
    }

    #[test]
    fn declared_entities_are_refused() {
        let bomb = "<!DOCTYPE l [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;\">]><l>&b;</l>";
        let error = read("a.xml", bomb.as_bytes()).expect_err("a bomb");
        assert!(error.to_string().contains("declares entities"), "{error}");
        assert!(read("a.xml", b"<!DOCTYPE l SYSTEM \"file:///etc/passwd\"><l>&x;</l>").is_err());
        assert_eq!(texts("<!DOCTYPE l><l>x</l>"), ["l: x"]);
    }

    #[test]
    fn malformed_xml_is_refused() {
        for xml in ["<a>", "<a></b>", "<a", "<a>&nothing;</a>", "<a>&#xFFFFFFFF;</a>"] {
            assert_eq!(read("a.xml", xml.as_bytes()).expect_err(xml).code().0, "malformed", "{xml}");
        }
        assert_eq!(read("a.xml", "<a>".repeat(1000).as_bytes()), Err(ParseError::TooDeep));
    }

    #[test]
    fn a_long_name_that_many_attributes_repeat_is_refused() {
        let attributes: String = (0..500).map(|number| format!(" a{number}=''")).collect();
        let error = read("a.xml", format!("<{}{attributes}/>", "x".repeat(1 << 20)).as_bytes()).expect_err("too much");
        assert!(error.to_string().contains("bytes in memory"), "{error}");
    }
}
