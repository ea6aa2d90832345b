//! Keys and passwords by the forms that those who hand them out give them, and by the names that stand before them.

mod formats;

use std::ops::Range;

use formats::{FORMATS, Format, NAMES};

/// Shortest value behind a name as `password` that is taken for a secret, in bytes.
const VALUE_BYTES_MIN: usize = 6;

/// Longest value behind a name, in bytes.
const VALUE_BYTES_MAX: usize = 512;

/// Where a text holds secrets, in no order. One that touches the end of a text may go on; of a text that does itself, what may
/// become the first part of a web token is found as well.
pub(crate) fn find(text: &str, has_end: bool) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for at in 0..bytes.len() {
        let is_start = bytes[at].is_ascii_alphabetic() && (at == 0 || !is_word(bytes[at - 1]));
        if is_start && let Some(end) = known_format(bytes, at) {
            found.push(at..end);
        }
    }
    found.extend(private_keys(text));
    found.extend(web_tokens(bytes, has_end));
    found.extend(named_values(text));
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The end of a key of a known format that begins here.
fn known_format(bytes: &[u8], at: usize) -> Option<usize> {
    FORMATS.iter().find_map(|Format { prefix, alphabet, length_min, length_max }| {
        let start = at + prefix.len();
        let body = bytes.get(at..)?.strip_prefix(prefix.as_bytes())?;
        let length = body.iter().take(length_max + 1).take_while(|&&byte| alphabet.holds(byte)).count();
        (length >= *length_min && length <= *length_max).then_some(start + length)
    })
}

/// Blocks of private keys in PEM; one whose end isn't there yet reaches to the end of the text.
fn private_keys(text: &str) -> Vec<Range<usize>> {
    const LABEL_BYTES_MAX: usize = 40;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("-----BEGIN ").map(|begin| at + begin) {
        let label = &text[start + "-----BEGIN ".len()..];
        at = start + "-----BEGIN ".len();
        let Some(length) = label.find("-----").filter(|&length| length <= LABEL_BYTES_MAX) else { continue };
        if !label[..length].contains("PRIVATE KEY") {
            continue;
        }
        let end = label.find("-----END ").and_then(|end| Some(end + 9 + label[end + 9..].find("-----")? + 5));
        at = end.map_or(text.len(), |end| at + end);
        found.push(start..at);
    }
    found
}

/// JSON web tokens: three parts in base64 for URLs, the first two of which begin like an object.
fn web_tokens(bytes: &[u8], has_end: bool) -> Vec<Range<usize>> {
    const OBJECT: &[u8] = b"eyJ";
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    let part = |at: usize| bytes[at..].iter().take_while(|byte| is_base64(byte)).count();
    let mut found = Vec::new();
    let mut at = 0;
    while at + OBJECT.len() < bytes.len() {
        if !bytes[at..].starts_with(OBJECT) || (at > 0 && is_base64(&bytes[at - 1])) {
            at += 1;
            continue;
        }
        let dot = at + part(at);
        let second = bytes.get(dot + 1..).filter(|_| bytes[dot] == b'.');
        let end = match second {
            Some(second) if second.starts_with(OBJECT) => {
                let end = dot + 1 + part(dot + 1);
                let is_signed = bytes.get(end) == Some(&b'.');
                Some(if is_signed { end + 1 + part(end + 1) } else { end })
            }
            // It may be as long as it likes before its first dot, and is nothing without what follows.
            _ => (!has_end && (dot == bytes.len() || second.is_some_and(|second| OBJECT.starts_with(second))))
                .then_some(bytes.len()),
        };
        found.extend(end.map(|end| at..end));
        at = end.unwrap_or(dot);
    }
    found
}

/// What is given to a name as `password` by `=` or `:`. Only the value is the secret.
fn named_values(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in NAMES {
        for (start, _) in lower.match_indices(name) {
            found.extend(value_behind(text, start + name.len()));
        }
    }
    found
}

/// The value that is given to the name that ends here.
fn value_behind(text: &str, name_end: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let skip =
        |at: usize, set: &[u8], most: usize| at + bytes[at..].iter().take(most).take_while(|byte| set.contains(byte)).count();
    // `"password" : "`, `API_KEY=`, `secret => '`
    let sign = skip(skip(name_end, b"\"'", 1), b" \t", 2);
    let rest = &bytes[sign..];
    let is_equals = rest.starts_with(b"=");
    let sign_end = match rest {
        [b':' | b'=', b'=' | b'>', ..] => sign + 2,
        [b':' | b'=', ..] => sign + 1,
        _ => return None,
    };
    let quote = skip(sign_end, b" \t", 2);
    let start = skip(quote, b"\"'`", 1);
    let quoted_by = (start > quote).then(|| bytes[quote]);
    let is_value = |byte: &u8| match quoted_by {
        Some(quote) => *byte != quote && *byte != b'\n',
        None => byte.is_ascii_graphic() && !b"\"'`,;&<>)}".contains(byte) || !byte.is_ascii(),
    };
    let length = bytes[start..].iter().take(VALUE_BYTES_MAX).take_while(|byte| is_value(byte)).count();
    let length = if text.is_char_boundary(start + length) { length } else { return None };
    let value = text[start..start + length].trim_end_matches(['.', ':', '!', '?']);
    let is_secret =
        value.len() >= VALUE_BYTES_MIN && !is_placeholder(value) && (is_equals || quoted_by.is_some() || is_mixed(value));
    is_secret.then(|| start..start + value.len())
}

/// Whether a value has letters and digits or signs, as passwords do and words don't.
fn is_mixed(value: &str) -> bool {
    let has = |test: fn(&u8) -> bool| value.bytes().any(|byte| test(&byte));
    has(u8::is_ascii_alphabetic) && (has(u8::is_ascii_digit) || has(u8::is_ascii_punctuation))
}

/// Whether it only shows where a secret would stand: `<your key>`, `${PASSWORD}`, `****`.
fn is_placeholder(value: &str) -> bool {
    let first = value.as_bytes()[0];
    let is_one_sign = value.bytes().all(|byte| byte == first);
    is_one_sign || b"<$%{[(".contains(&first) || value.contains("os.environ") || value.contains("getenv")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text, true).into_iter().map(|range| &text[range]).collect()
    }

    /// Put together here, so that no scanner of sources takes the tests for leaks.
    fn made(prefix: &str, length: usize) -> String {
        let body: String = "A1b2C3d4E5f6G7h8".chars().cycle().take(length).collect();
        format!("{prefix}{body}")
    }

    #[test]
    fn keys_of_known_formats_are_found() {
        for (prefix, length) in
            [("gh\u{70}_", 36), ("github_pat_", 82), ("sk_live_", 24), ("AIza", 35), ("sk-proj-", 48), ("tessera_", 43)]
        {
            let key = made(prefix, length);
            assert_eq!(found(&format!("use {key}, please")), [&key], "{prefix}");
            assert_eq!(found(&key[..prefix.len() + 8]), [""; 0], "{prefix} too short");
        }
        let aws = format!("AKIA{}", "ABCD2345".repeat(2));
        assert_eq!(found(&format!("({aws})")), [&aws]);
        assert_eq!(found(&format!("X{aws}")), [""; 0], "it begins within a word");
        let slack = format!("xox{}-{}", "b", "123456789012-abcdefABCDEF");
        assert_eq!(found(&slack), [&slack]);
    }

    #[test]
    fn private_keys_are_found_whole_and_to_the_end_where_they_go_on() {
        let begin = format!("-----BEGIN RSA {} KEY-----", "PRIVATE");
        let block = format!("{begin}\nMIIE\n-----END RSA {} KEY-----", "PRIVATE");
        assert_eq!(found(&format!("a\n{block}\nb")), [&block]);
        assert_eq!(found(&format!("a {begin}\nMIIE")), [&format!("{begin}\nMIIE")]);
        assert_eq!(found("-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----"), [""; 0]);
    }

    #[test]
    fn web_tokens_are_found() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_";
        assert_eq!(found(&format!("Bearer {token}\n")), [token]);
        assert_eq!(found("eyJhbGciOiJIUzI1NiJ9.other.x"), [""; 0]);
    }

    #[test]
    fn of_a_web_token_all_is_held_back_until_it_is_known_to_be_none() {
        let token = format!("eyJ{0}.eyJ{0}.{0}", "A".repeat(300));
        let text = format!("Bearer {token}");
        for end in "Bearer eyJA".len()..=text.len() {
            assert_eq!(find(&text[..end], false), [7..end; 1], "{end}");
        }
        for none in [format!("eyJ{}", "A".repeat(300)), format!("eyJ{}.eyA", "A".repeat(300)), "a eyJ.".into()] {
            assert_eq!(find(&format!("{none} "), false), [0..0; 0], "{none}");
            assert_eq!(find(&none, true), [0..0; 0], "{none}");
        }
    }

    #[test]
    fn values_behind_telling_names_are_found() {
        for (text, value) in [
            ("password=hunter22", "hunter22"),
            ("DB_PASSWORD = \"correct horse\"", "correct horse"),
            ("my password: Tr0ub4dor", "Tr0ub4dor"),
            ("{\"api_key\": \"abcdef\"}", "abcdef"),
            ("client_secret => 'sésame-x'", "sésame-x"),
        ] {
            assert_eq!(found(text), [value], "{text}");
        }
    }

    #[test]
    fn beginnings_without_end_are_read_in_little_time() {
        for text in ["sk-", "eyJ", "-----BEGIN PRIVATE KEY-----", "password=", "xoxb-"] {
            find(&text.repeat(2_000), true);
            find(&text.repeat(2_000), false);
        }
    }

    #[test]
    fn talk_of_secrets_is_none() {
        for text in [
            "What is a password: something that nobody knows?",
            "password=<your password>",
            "password=********",
            "api_key=${API_KEY}",
            "token=os.environ['TOKEN']",
            "the secret of success",
            "pwd=x",
            "Passwords: required",
            "",
            "é",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
