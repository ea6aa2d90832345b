//! Streams as they are written to what they hold.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::file::File;
use super::lexer::{hex_bytes, is_blank};
use super::object::{Dict, Object};
use crate::limits::{Budget, ParseError};

/// Most filters one after the other.
const FILTERS_MAX: usize = 8;

/// Most bytes of one stream.
const STREAM_BYTES_MAX: u64 = 64 << 20;

/// Decodes what can be text. Broken data gives what stands before the break; images give nothing.
///
/// # Errors
/// It comes to more than the limits.
pub(super) fn decode(raw: &[u8], dict: &Dict, file: &File<'_>, budget: &mut Budget) -> Result<Vec<u8>, ParseError> {
    let filters = one_or_many(file.get(dict, "Filter"), file);
    let parameters = one_or_many(file.get(dict, "DecodeParms"), file);
    let mut bytes = Cow::Borrowed(raw);
    if filters.is_empty() {
        // Names of one stream may be many: each makes another copy.
        budget.inflate(raw.len() as u64)?;
    }
    for (index, filter) in filters.iter().enumerate().take(FILTERS_MAX) {
        let parameters = parameters.get(index).and_then(Object::dict);
        let bytes_max = STREAM_BYTES_MAX.min(budget.inflatable_bytes()) as usize;
        let decoded = match filter.name().unwrap_or_default() {
            "FlateDecode" | "Fl" => flate(&bytes, bytes_max).and_then(|bytes| predict(bytes, parameters, file)),
            "LZWDecode" | "LZW" => {
                let early = parameters.and_then(|dict| file.get(dict, "EarlyChange").number()) != Some(0.0);
                lzw(&bytes, early, bytes_max).and_then(|bytes| predict(bytes, parameters, file))
            }
            "ASCII85Decode" | "A85" => Some(ascii85(&bytes)),
            "ASCIIHexDecode" | "AHx" => Some(hex_bytes(bytes.split(|&byte| byte == b'>').next().unwrap_or_default())),
            "RunLengthDecode" | "RL" => run_length(&bytes, bytes_max),
            "Crypt" => continue,
            _ => return Ok(Vec::new()),
        };
        bytes = decoded.ok_or_else(|| budget.bomb())?.into();
        budget.inflate(bytes.len() as u64)?;
    }
    Ok(bytes.into_owned())
}

fn one_or_many(object: &Object, file: &File<'_>) -> Vec<Object> {
    match object {
        Object::Null => Vec::new(),
        Object::List(list) => list.iter().take(FILTERS_MAX).map(|object| file.resolve(object).clone()).collect(),
        one => vec![one.clone()],
    }
}

/// None if it comes to more bytes.
fn flate(bytes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    let limit = bytes_max as u64 + 1;
    // An error leaves what was inflated before it.
    let is_broken = ZlibDecoder::new(bytes).take(limit).read_to_end(&mut inflated).is_err();
    if is_broken && inflated.is_empty() {
        // Some writers make the header or its checksum wrong.
        let _ = DeflateDecoder::new(bytes.get(2..).unwrap_or_default()).take(limit).read_to_end(&mut inflated);
    }
    (inflated.len() <= bytes_max).then_some(inflated)
}

/// Codes of 9 to 12 bits (Welch, 1984). None if it comes to more bytes.
fn lzw(bytes: &[u8], is_early: bool, bytes_max: usize) -> Option<Vec<u8>> {
    const CLEAR: usize = 256;
    const END: usize = 257;
    let mut out: Vec<u8> = Vec::new();
    // Each entry is a part of what was written: its start and its length.
    let mut table: Vec<(usize, usize)> = Vec::new();
    let mut previous: Option<(usize, usize)> = None;
    let (mut bits, mut bit_count, mut width) = (0_u32, 0_u32, 9_u32);
    for &byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        bit_count += 8;
        if bit_count < width {
            continue;
        }
        bit_count -= width;
        let code = ((bits >> bit_count) & ((1 << width) - 1)) as usize;
        bits &= (1 << bit_count) - 1;
        match code {
            CLEAR => {
                table.clear();
                previous = None;
                width = 9;
                continue;
            }
            END => break,
            _ => {}
        }
        let start = out.len();
        match (code, previous) {
            (0..=255, _) => out.push(code as u8),
            (_, Some((start, length))) if code == table.len() + 258 => {
                out.extend_from_within(start..start + length);
                let first = out[start];
                out.push(first);
            }
            _ => {
                let Some(&(start, length)) = table.get(code - 258) else { break };
                out.extend_from_within(start..start + length);
            }
        }
        if out.len() > bytes_max {
            return None;
        }
        if let Some((start, length)) = previous
            && table.len() + 258 < 4096
        {
            // The entry before with the first byte behind it, which now stands there.
            table.push((start, length + 1));
        }
        previous = Some((start, out.len() - start));
        width = match table.len() + 258 + usize::from(is_early) {
            ..512 => 9,
            512..1024 => 10,
            1024..2048 => 11,
            _ => 12,
        };
    }
    Some(out)
}

fn ascii85(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 5 * 4);
    let mut group: Vec<u32> = Vec::with_capacity(5);
    for &byte in bytes {
        match byte {
            b'~' => break,
            b'z' if group.is_empty() => out.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => group.push(u32::from(byte - b'!')),
            _ => {}
        }
        if group.len() == 5 {
            out.extend_from_slice(&base85(&group));
            group.clear();
        }
    }
    if group.len() > 1 {
        let kept = group.len() - 1;
        group.resize(5, 84);
        out.extend_from_slice(&base85(&group)[..kept]);
    }
    out
}

fn base85(digits: &[u32]) -> [u8; 4] {
    digits.iter().fold(0_u32, |number, digit| number.wrapping_mul(85).wrapping_add(*digit)).to_be_bytes()
}

/// None if it comes to more bytes.
fn run_length(bytes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((&length, tail)) = rest.split_first() {
        match length {
            128 => break,
            0..128 => {
                let (run, tail) = tail.split_at((usize::from(length) + 1).min(tail.len()));
                out.extend_from_slice(run);
                rest = tail;
            }
            _ => {
                let Some((&byte, tail)) = tail.split_first() else { break };
                out.resize(out.len() + 257 - usize::from(length), byte);
                rest = tail;
            }
        }
        if out.len() > bytes_max {
            return None;
        }
    }
    Some(out)
}

/// Undoes the differences between rows, which compress better. What has none stays as it is.
fn predict(bytes: Vec<u8>, parameters: Option<&Dict>, file: &File<'_>) -> Option<Vec<u8>> {
    let Some(parameters) = parameters else { return Some(bytes) };
    let count = |name: &str, usual: usize| file.get(parameters, name).count().map_or(usual, |count| count as usize);
    if count("Predictor", 1) < 10 || is_blank_only(&bytes) {
        return Some(bytes);
    }
    let bits = count("Colors", 1).checked_mul(count("BitsPerComponent", 8))?;
    let pixel_bytes = bits.div_ceil(8).max(1);
    let row_bytes = bits.checked_mul(count("Columns", 1))?.div_ceil(8);
    if row_bytes == 0 || row_bytes > bytes.len() {
        return Some(Vec::new());
    }
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut above = vec![0_u8; row_bytes];
    for row in bytes.chunks(row_bytes + 1) {
        let Some((&kind, differences)) = row.split_first() else { break };
        let mut current = vec![0_u8; row_bytes];
        for (at, &difference) in differences.iter().enumerate() {
            let left = at.checked_sub(pixel_bytes).map_or(0, |at| current[at]);
            let corner = at.checked_sub(pixel_bytes).map_or(0, |at| above[at]);
            let predicted = match kind {
                1 => left,
                2 => above[at],
                3 => u16::midpoint(u16::from(left), u16::from(above[at])) as u8,
                4 => paeth(left, above[at], corner),
                _ => 0,
            };
            current[at] = difference.wrapping_add(predicted);
        }
        out.extend_from_slice(&current[..differences.len()]);
        above = current;
    }
    Some(out)
}

fn is_blank_only(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_blank(byte) && byte != 0)
}

/// The neighbour that is nearest to `left + above - corner` (PNG, section 9.4).
fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(above) - i16::from(corner);
    let distance = |neighbour: u8| (estimate - i16::from(neighbour)).abs();
    if distance(left) <= distance(above) && distance(left) <= distance(corner) {
        left
    } else if distance(above) <= distance(corner) {
        above
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base85_and_runs_are_decoded() {
        assert_eq!(ascii85(b"9jqo^ BlbD-BleB1DJ+*+F(f,q~>"), b"Man is distinguished");
        assert_eq!(ascii85(b"z~>"), [0; 4]);
        assert_eq!(run_length(b"\x02abc\xfed\x80x", 100).as_deref(), Some(b"abcddd".as_slice()));
        assert_eq!(run_length(b"\x81x", 10), None);
    }

    #[test]
    fn the_example_of_the_standard_is_decoded() {
        let bytes = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
        assert_eq!(lzw(&bytes, true, 100).as_deref(), Some([45, 45, 45, 45, 45, 65, 45, 45, 45, 66].as_slice()));
        assert_eq!(lzw(&bytes, true, 5), None);
    }

    #[test]
    fn broken_data_gives_what_stands_before_the_break() {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&b"a text that is long enough ".repeat(100)).expect("writes");
        let whole = encoder.finish().expect("writes");
        let inflated = flate(&whole[..whole.len() - 6], 10_000).expect("within the limit");
        assert!(inflated.starts_with(b"a text that is long"), "{} bytes", inflated.len());
        assert_eq!(flate(&whole, 100), None);
    }

    #[test]
    fn the_nearest_neighbour_is_taken() {
        assert_eq!([paeth(1, 2, 3), paeth(10, 2, 3), paeth(5, 5, 5)], [1, 10, 5]);
    }
}
