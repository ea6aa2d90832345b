//! Server-sent events, as the host writes them for streams, read again.

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `done`, `error`, or nothing for an item.
    pub(super) name: String,
    /// Its JSON.
    pub(super) data: Vec<u8>,
}

/// Reads events from bytes as they come. Its buffer grows to the longest event: who feeds it bounds that.
#[derive(Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that have been looked at.
    seen: usize,
}

impl Reader {
    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.seen);
        self.seen = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, when all of it is there.
    pub(super) fn next(&mut self) -> Option<Event> {
        let rest = &self.buffer[self.seen..];
        let length = rest.windows(2).position(|pair| pair == b"\n\n")?;
        let event = read(&rest[..length]);
        self.seen += length + 2;
        Some(event)
    }
}

fn read(lines: &[u8]) -> Event {
    let mut event = Event { name: String::new(), data: Vec::new() };
    for line in lines.split(|byte| *byte == b'\n') {
        if let Some(data) = line.strip_prefix(b"data: ") {
            event.data.extend_from_slice(data);
        } else if let Some(name) = line.strip_prefix(b"event: ") {
            event.name = String::from_utf8_lossy(name).into_owned();
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let text = b"data: 1\n\ndata: \"a b\"\n\nevent: done\ndata: {}\n\n";
        for cut in 0..text.len() {
            let (mut reader, mut read) = (Reader::default(), Vec::new());
            for part in [&text[..cut], &text[cut..]] {
                reader.feed(part);
                read.extend(std::iter::from_fn(|| reader.next()).map(|event| (event.name, event.data)));
            }
            let expected = [("", "1"), ("", "\"a b\""), ("done", "{}")];
            assert_eq!(read, expected.map(|(name, data)| (name.to_owned(), data.as_bytes().to_vec())), "cut at {cut}");
        }
    }
}
