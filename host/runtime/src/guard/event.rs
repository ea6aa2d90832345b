//! Streams of events: server-sent ones, and lines of JSON. Each event is read, checked and written again.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::json;
use super::piece::Pieces;
use super::place::{self, Step};
use super::refusal::Refusal;
use super::window::Window;
use super::{Direction, Watch};

/// Longest event, in bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Most texts that one stream may write piece by piece at the same time.
const TEXTS_MAX: usize = 128;

/// Strings that are not asked about again: so many, and each up to so many bytes. Most of an event is the same in all.
const KNOWN_MAX: usize = 1024;
const KNOWN_BYTES_MAX: usize = 256;

/// What ends OpenAI's streams.
const LAST: &str = "[DONE]";

/// The events of one answer on their way.
pub(super) struct Events {
    /// Whether they are server-sent ones; otherwise lines.
    is_sse: bool,
    buffer: BytesMut,
    /// Bytes of the buffer in which no line ends.
    scanned: usize,
    /// The event whose lines come.
    frame: Frame,
    texts: BTreeMap<String, Window<Carrier>>,
    known: HashSet<String>,
}

/// The lines of one event.
#[derive(Debug, Clone, Default)]
struct Frame {
    event: Option<String>,
    id: Option<String>,
    retry: Option<String>,
    data: Option<String>,
    is_comment: bool,
}

/// An event that waits for one of its texts.
struct Carrier {
    frame: Frame,
    /// The data and where the text stands in it; none where the text is all of the data.
    data: Option<(Value, Vec<Step>)>,
}

impl Events {
    pub(super) fn new(is_sse: bool) -> Events {
        let (buffer, frame) = (BytesMut::new(), Frame::default());
        Events { is_sse, buffer, scanned: 0, frame, texts: BTreeMap::new(), known: HashSet::new() }
    }

    /// Whether they are server-sent ones, in which an error can be told.
    pub(super) fn is_sse(&self) -> bool {
        self.is_sse
    }

    /// Takes what came, and gives what may go on.
    ///
    /// # Errors
    /// When a guard blocks something in it, or it can't be checked. What is in `out` may go on all the same.
    pub(super) async fn push(&mut self, watch: &Watch, bytes: &[u8], out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        self.buffer.extend_from_slice(bytes);
        while let Some(line) = self.line(false) {
            self.take(watch, &line, out).await?;
        }
        let held = self.buffer.len() + self.frame.data.as_ref().map_or(0, String::len);
        if held > EVENT_BYTES_MAX { Err(unreadable()) } else { Ok(()) }
    }

    /// Gives what was held back: nothing more comes.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(super) async fn finish(&mut self, watch: &Watch, out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        while let Some(line) = self.line(true) {
            self.take(watch, &line, out).await?;
        }
        let frame = std::mem::take(&mut self.frame);
        self.event(watch, frame, out).await?;
        self.flush(watch, "", out).await
    }

    /// The next whole line without its end.
    fn line(&mut self, is_end: bool) -> Option<Bytes> {
        let is_break = |byte: &u8| *byte == b'\n' || *byte == b'\r' && self.is_sse;
        let found = self.buffer[self.scanned..].iter().position(is_break).map(|at| self.scanned + at);
        // A line may end with both, of which only one has come yet.
        let Some(at) = found.filter(|&at| self.buffer[at] == b'\n' || at + 1 < self.buffer.len() || is_end) else {
            self.scanned = found.unwrap_or(self.buffer.len());
            return (is_end && !self.buffer.is_empty()).then(|| self.rest());
        };
        let line = self.buffer.split_to(at).freeze();
        let length = if self.buffer.starts_with(b"\r\n") { 2 } else { 1 };
        drop(self.buffer.split_to(length));
        self.scanned = 0;
        Some(line)
    }

    fn rest(&mut self) -> Bytes {
        self.scanned = 0;
        self.buffer.split().freeze()
    }

    async fn take(&mut self, watch: &Watch, line: &[u8], out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        let line = std::str::from_utf8(line).map_err(|_| unreadable())?;
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        if !self.is_sse {
            let frame = Frame { data: Some(line.into()), ..Frame::default() };
            return if line.trim().is_empty() { Ok(()) } else { self.event(watch, frame, out).await };
        }
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return self.event(watch, frame, out).await;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => self.frame.is_comment = true,
            "event" => self.frame.event = Some(value.into()),
            "id" => self.frame.id = Some(value.into()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => self.frame.retry = Some(value.into()),
            "data" => match &mut self.frame.data {
                Some(data) if data.len() + value.len() > EVENT_BYTES_MAX => return Err(unreadable()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                data => *data = Some(value.into()),
            },
            _ => {} // no client knows it
        }
        Ok(())
    }

    /// Takes one whole event.
    async fn event(&mut self, watch: &Watch, mut frame: Frame, out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        let data = frame.data.take();
        let names = [frame.event.as_deref(), frame.id.as_deref()];
        if data.is_none() && names == [None, None] {
            if frame.is_comment {
                out.push_back(Bytes::from_static(b":\n\n")); // it keeps the connection open; what it says is for nobody
            }
            return Ok(());
        }
        let mut pieces = Pieces::default();
        names.into_iter().flatten().for_each(|name| pieces.push(name, true));
        match data.as_deref().map(|data| (data, serde_json::from_str::<Value>(data))) {
            Some((_, Ok(value @ (Value::Object(_) | Value::Array(_))))) => {
                return self.json(watch, frame, value, pieces, out).await;
            }
            Some((_, Ok(Value::String(text)))) => {
                self.known(watch, &mut pieces).await?;
                let data = Some((Value::String(String::new()), Vec::new()));
                self.text(watch, String::new(), Carrier { frame, data }, &text, out).await
            }
            Some((LAST, _)) => {
                self.known(watch, &mut pieces).await?;
                self.flush(watch, "", out).await?;
                out.push_back(frame.write(self.is_sse, Some(LAST)));
                Ok(())
            }
            // A number or a truth value is a part of what is written, too.
            Some((text, _)) if !text.is_empty() => {
                self.known(watch, &mut pieces).await?;
                self.text(watch, String::new(), Carrier { frame, data: None }, text, out).await
            }
            // Nothing.
            data => {
                self.known(watch, &mut pieces).await?;
                out.push_back(frame.write(self.is_sse, data.map(|(data, _)| data)));
                Ok(())
            }
        }
    }

    async fn json(
        &mut self,
        watch: &Watch,
        frame: Frame,
        mut value: Value,
        mut pieces: Pieces,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), Refusal> {
        json::without_logprobs(&mut value);
        let places = place::find(&value);
        let mut texts = Vec::with_capacity(places.len());
        for place in &places {
            texts.push(place::at(&mut value, &place.path).map(std::mem::take).unwrap_or_default());
        }
        let names = pieces.all.len();
        json::collect(std::slice::from_ref(&value), &mut pieces).ok_or_else(unreadable)?;
        if self.known(watch, &mut pieces).await? {
            json::replace(std::slice::from_mut(&mut value), &mut pieces.all.into_iter().skip(names).map(|piece| piece.text));
        }
        let ended = place::ended(&value);
        if places.is_empty() {
            for prefix in &ended {
                self.flush(watch, prefix, out).await?;
            }
            out.push_back(frame.write(self.is_sse, Some(&value.to_string())));
            return Ok(());
        }
        for (at, (place, text)) in places.into_iter().zip(&texts).enumerate() {
            // The first of them takes along all else that the event says.
            let value = if at == 0 { value.clone() } else { place::alone(&value, &place.path) };
            let path = if at == 0 { place.path } else { first_items(place.path) };
            let carrier = Carrier { frame: frame.clone(), data: Some((value, path)) };
            self.text(watch, place.key, carrier, text, out).await?;
        }
        for prefix in &ended {
            self.flush(watch, prefix, out).await?;
        }
        Ok(())
    }

    /// Adds a piece to one of the texts, and gives what may go on of it.
    async fn text(
        &mut self,
        watch: &Watch,
        key: String,
        carrier: Carrier,
        text: &str,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), Refusal> {
        if self.texts.len() >= TEXTS_MAX && !self.texts.contains_key(&key) {
            return Err(unreadable());
        }
        let window = self.texts.entry(key).or_default();
        window.push(carrier, text);
        let settled = window.settle(watch).await?;
        out.extend(settled.into_iter().map(|(carrier, text)| carrier.write(self.is_sse, text)));
        Ok(())
    }

    /// Ends the texts whose keys begin so, and gives all that was held back of them.
    async fn flush(&mut self, watch: &Watch, prefix: &str, out: &mut VecDeque<Bytes>) -> Result<(), Refusal> {
        for (_, window) in self.texts.iter_mut().filter(|(key, _)| key.starts_with(prefix)) {
            let settled = window.finish(watch).await?;
            out.extend(settled.into_iter().map(|(carrier, text)| carrier.write(self.is_sse, text)));
        }
        Ok(())
    }

    /// Has strings checked that are whole texts, but for those that passed before; says whether any was.
    async fn known(&mut self, watch: &Watch, pieces: &mut Pieces) -> Result<bool, Refusal> {
        if pieces.all.iter().all(|piece| self.known.contains(&piece.text)) && pieces.runs.is_empty() {
            return Ok(false);
        }
        let before: Vec<String> = pieces.all.iter().map(|piece| piece.text.clone()).collect();
        pieces.check(watch, Direction::Output).await?;
        for (text, piece) in before.into_iter().zip(&pieces.all) {
            if text == piece.text && text.len() <= KNOWN_BYTES_MAX && self.known.len() < KNOWN_MAX {
                self.known.insert(text);
            }
        }
        Ok(true)
    }
}

/// A path in an event that has been taken apart: each of its lists has one item left.
fn first_items(path: Vec<Step>) -> Vec<Step> {
    path.into_iter().map(|step| if let Step::Item(_) = step { Step::Item(0) } else { step }).collect()
}

impl Carrier {
    fn write(self, is_sse: bool, text: String) -> Bytes {
        match self.data {
            None => self.frame.write(is_sse, Some(&text)),
            Some((mut value, path)) => {
                if let Some(place) = place::at(&mut value, &path) {
                    *place = text;
                }
                self.frame.write(is_sse, Some(&value.to_string()))
            }
        }
    }
}

impl Frame {
    /// The event on the wire, with this data.
    fn write(&self, is_sse: bool, data: Option<&str>) -> Bytes {
        let mut wire = String::with_capacity(data.map_or(0, str::len) + 16);
        if !is_sse {
            wire.push_str(data.unwrap_or_default());
            wire.push('\n');
            return wire.into();
        }
        for (name, value) in [("event", &self.event), ("id", &self.id), ("retry", &self.retry)] {
            if let Some(value) = value {
                let _ = writeln!(wire, "{name}: {value}"); // a String takes everything
            }
        }
        for line in data.into_iter().flat_map(|data| data.split(['\n', '\r'])) {
            let _ = writeln!(wire, "data: {line}");
        }
        wire.push('\n');
        wire.into()
    }
}

/// What is no stream of events that the host can read.
fn unreadable() -> Refusal {
    Refusal::Uninspectable(Direction::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(is_sse: bool, chunks: &[&str]) -> Vec<String> {
        let mut events = Events::new(is_sse);
        let mut lines = Vec::new();
        for chunk in chunks {
            events.buffer.extend_from_slice(chunk.as_bytes());
            lines.extend(std::iter::from_fn(|| events.line(false)));
        }
        lines.extend(std::iter::from_fn(|| events.line(true)));
        lines.into_iter().map(|line| String::from_utf8(line.to_vec()).expect("text")).collect()
    }

    #[test]
    fn a_line_ends_in_each_of_three_ways_wherever_it_is_cut() {
        let text = "a\nb\r\nc\rd\r\n\r\ne";
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(lines(true, &[first, second]), ["a", "b", "c", "d", "", "e"], "{cut}");
        }
        assert_eq!(lines(false, &["a\rb\n", "c"]), ["a\rb", "c"]);
    }

    #[test]
    fn a_text_can_not_end_its_event_or_name_it() {
        let frame = Frame { event: Some("e".into()), id: Some("1".into()), ..Frame::default() };
        assert_eq!(frame.write(true, Some("a\nid: 2\r\rb")), "event: e\nid: 1\ndata: a\ndata: id: 2\ndata: \ndata: b\n\n");
        assert_eq!(frame.write(false, Some("{}")), "{}\n");
    }
}
