//! Personal data of a form that can be checked: addresses, and numbers with checksums.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::{Find, Type};

/// All finds of all types; they may overlap.
pub(super) fn find(text: &str) -> Vec<Find> {
    let bytes = text.as_bytes();
    let mut finds = Vec::new();
    let mut add = |kind: Type, range: Option<Range<usize>>| finds.extend(range.map(|range| Find { kind, range }));
    for at in 0..bytes.len() {
        match bytes[at] {
            b'@' => add(Type::Email, email(bytes, at)),
            b':' if bytes[at..].starts_with(b"://") => add(Type::UrlCredentials, url_credentials(bytes, at)),
            _ if at > 0 && is_word(bytes[at - 1]) => {}
            b'0'..=b'9' => {
                add(Type::CreditCard, credit_card(bytes, at));
                add(Type::Ssn, ssn(bytes, at));
                add(Type::IpAddress, ipv4(bytes, at));
                add(Type::IpAddress, ipv6(text, at));
                add(Type::Phone, phone(bytes, at));
            }
            b'+' | b'(' => add(Type::Phone, phone(bytes, at)),
            b'A'..=b'Z' => {
                add(Type::Iban, iban(bytes, at));
                add(Type::IpAddress, ipv6(text, at));
            }
            b'a'..=b'f' | b':' => add(Type::IpAddress, ipv6(text, at)),
            _ => {}
        }
    }
    // What stands before the `@` of a URL is no mail address.
    let credentials: Vec<usize> =
        finds.iter().filter(|find| find.kind == Type::UrlCredentials).map(|find| find.range.end).collect();
    let is_user = |find: &Find| {
        let next = credentials.partition_point(|&at| at < find.range.start);
        credentials.get(next).is_some_and(|&at| at < find.range.end)
    };
    finds.retain(|find| find.kind != Type::Email || !is_user(find));
    finds
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How many bytes from here on are such.
fn run(bytes: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    bytes.get(at..).map_or(0, |rest| rest.iter().take_while(|&&byte| is(byte)).count())
}

/// A mail address around its `@`. Letters beyond ASCII may be part of it.
fn email(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    const LOCAL_BYTES_MAX: usize = 64;
    const DOMAIN_BYTES_MAX: usize = 253;
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte) || !byte.is_ascii();
    let local = bytes[..at].iter().rev().take_while(|&&byte| is_local(byte)).count();
    let mut start = at - local.min(LOCAL_BYTES_MAX);
    // A character that is cut is left out, and so are signs that only stand before the address.
    while start < at && ((0x80..0xc0).contains(&bytes[start]) || b".'-%".contains(&bytes[start])) {
        start += 1;
    }
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte) || !byte.is_ascii();
    let mut end = at + 1 + run(bytes, at + 1, is_domain).min(DOMAIN_BYTES_MAX);
    while end > at + 1 && (b".-".contains(&bytes[end - 1]) || !bytes[end - 1].is_ascii()) {
        end -= 1;
    }
    let domain = &bytes[at + 1..end];
    let dot = domain.iter().rposition(|&byte| byte == b'.')?;
    let is_top = |top: &[u8]| top.len() >= 2 && top.iter().all(|byte| byte.is_ascii_alphabetic());
    (start < at && dot > 0 && is_top(&domain[dot + 1..])).then_some(start..end)
}

/// The `name:password` of a URL, from `scheme` on to the `@`, around its `://`.
fn url_credentials(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    const USER_INFO_BYTES_MAX: usize = 512;
    let start = at + 3;
    let is_info = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\"'<>".contains(&byte);
    let length = run(bytes, start, is_info).min(USER_INFO_BYTES_MAX);
    let info = &bytes[start..start + length];
    let has_password = info.iter().position(|&byte| byte == b':').is_some_and(|colon| colon + 1 < info.len());
    (has_password && bytes.get(start + length) == Some(&b'@')).then_some(start..start + length)
}

/// Digits of a number that is written in groups, and where it ends. One separator stands between groups.
fn digits(bytes: &[u8], at: usize, separators: &[u8], most: usize) -> (Vec<u8>, usize) {
    let (mut digits, mut end, mut place) = (Vec::new(), at, at);
    while let Some(&byte) = bytes.get(place) {
        if byte.is_ascii_digit() && digits.len() <= most {
            digits.push(byte - b'0');
            end = place + 1;
        } else if !(separators.contains(&byte) && end == place && place > at) {
            break;
        }
        place += 1;
    }
    (digits, end)
}

fn ends_well(bytes: &[u8], end: usize) -> bool {
    !bytes.get(end).is_some_and(|&byte| is_word(byte))
}

/// The number of a card: a right checksum, and as many digits as the issuers have that the first digit is of.
fn credit_card(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let (digits, end) = digits(bytes, at, b" -", 19);
    let is_card = matches!((digits[0], digits.len()), (2 | 5, 16) | (3, 14..=16) | (4, 13 | 16 | 19) | (6, 16..=19));
    (is_card && ends_well(bytes, end) && luhn(&digits)).then_some(at..end)
}

/// The checksum of the numbers of cards.
fn luhn(digits: &[u8]) -> bool {
    let double = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let value = |(place, &digit): (usize, &u8)| if place % 2 == 1 { double(u32::from(digit)) } else { u32::from(digit) };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

/// `123-45-6789`, but for numbers that nobody is given.
fn ssn(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let part = bytes.get(at..at + 11)?;
    let separator = part[3];
    let fits = |(place, &byte): (usize, &u8)| if place == 3 || place == 6 { byte == separator } else { byte.is_ascii_digit() };
    let is_form = b"- ".contains(&separator) && part.iter().enumerate().all(fits) && ends_well(bytes, at + 11);
    let is_given = !matches!(&part[..3], b"000" | b"666" | [b'9', ..]) && &part[4..6] != b"00" && &part[7..] != b"0000";
    let goes_on = bytes.get(at + 11) == Some(&b'-') || (at > 0 && bytes[at - 1] == b'-');
    (is_form && is_given && !goes_on).then_some(at..at + 11)
}

/// Four numbers of at most 255, but for those that every machine or nobody has.
fn ipv4(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if at > 0 && bytes[at - 1] == b'.' {
        return None;
    }
    let mut numbers = [0u32; 4];
    let mut end = at;
    for (place, number) in numbers.iter_mut().enumerate() {
        if place > 0 {
            end += usize::from(bytes.get(end) == Some(&b'.'));
        }
        let length = run(bytes, end, |byte| byte.is_ascii_digit());
        let digits = bytes.get(end..end + length).filter(|digits| (1..=3).contains(&digits.len()))?;
        *number = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        end += length;
    }
    let dots = bytes[at..end].iter().filter(|&&byte| byte == b'.').count();
    let goes_on = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    let is_own = numbers[0] != 0 && numbers[0] != 127 && numbers.iter().all(|&number| number <= 255);
    (dots == 3 && is_own && !goes_on && ends_well(bytes, end)).then_some(at..end)
}

fn ipv6(text: &str, at: usize) -> Option<Range<usize>> {
    const BYTES_MAX: usize = 45;
    let bytes = text.as_bytes();
    if at > 0 && b":.".contains(&bytes[at - 1]) {
        return None;
    }
    let length = run(bytes, at, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    let part = text.get(at..at + length.min(BYTES_MAX + 1))?.trim_end_matches('.');
    let part = if part.ends_with("::") { part } else { part.trim_end_matches(':') };
    let colons = part.bytes().filter(|&byte| byte == b':').count();
    if colons < 2 || part.len() > BYTES_MAX || !ends_well(bytes, at + part.len()) {
        return None;
    }
    let address: Ipv6Addr = part.parse().ok()?;
    (!address.is_loopback() && !address.is_unspecified()).then_some(at..at + part.len())
}

/// `+49 30 123456`, `(555) 555-5555`, `555-555-5555`: with the country before it, or as they are written in North America.
fn phone(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let is_international = bytes[at] == b'+';
    let (start, is_area) =
        if is_international { (at + 1, false) } else { (at + usize::from(bytes[at] == b'('), bytes[at] == b'(') };
    let (digits, end) = if is_international { spread(bytes, start, 15) } else { spread(bytes, start, 11) };
    let is_before = at > 0 && b".-/=$#".contains(&bytes[at - 1]);
    if is_before || !ends_well(bytes, end) {
        return None;
    }
    if is_international {
        return (8..=15).contains(&digits.len()).then_some(at..end);
    }
    let local = match digits.as_slice() {
        [1, local @ ..] if local.len() == 10 => local,
        local if local.len() == 10 => local,
        _ => return None,
    };
    // Ten digits in a row may be anything; written in groups of three, three and four they are hardly anything else.
    let groups: Vec<usize> =
        bytes[start..end].split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).filter(|&l| l > 0).collect();
    let is_grouped = matches!(groups.as_slice(), [3, 3, 4] | [1, 3, 3, 4]);
    (is_grouped && (is_area || local[0] > 1) && local[3] > 1).then_some(at..end)
}

/// Digits between which spaces, dots, hyphens and parentheses stand, at most two at a place.
fn spread(bytes: &[u8], at: usize, most: usize) -> (Vec<u8>, usize) {
    let (mut digits, mut end, mut place) = (Vec::new(), at, at);
    while let Some(&byte) = bytes.get(place) {
        if byte.is_ascii_digit() && digits.len() <= most {
            digits.push(byte - b'0');
            end = place + 1;
        } else if !(b" .-()/".contains(&byte) && place - end < 2 && place > at) {
            break;
        }
        place += 1;
    }
    (digits, end)
}

/// Two letters, two digits, and 11 to 30 letters and digits whose remainder is right.
fn iban(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let head = bytes.get(at..at + 4)?;
    if !(head[..2].iter().all(u8::is_ascii_uppercase) && head[2..].iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let (mut compact, mut ends, mut place) = (Vec::new(), Vec::new(), at);
    while let Some(&byte) = bytes.get(place).filter(|_| compact.len() < 34) {
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            compact.push(byte);
            ends.push(place + 1);
        } else if byte != b' ' || bytes[place - 1] == b' ' {
            break;
        }
        place += 1;
    }
    // A word in capitals may follow: the longest beginning that is right and ends well is it.
    let is_whole = |length: &usize| ends_well(bytes, ends[length - 1]) && is_97(&compact[..*length]);
    let length = (15..=compact.len()).rev().find(is_whole)?;
    Some(at..ends[length - 1])
}

/// Whether the remainder of the number by 97 is 1, with the first four characters at its end and letters as 10 to 35.
fn is_97(compact: &[u8]) -> bool {
    let (head, body) = compact.split_at(4);
    let add = |remainder: u32, &byte: &u8| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    };
    body.iter().chain(head).fold(0, add) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Type, &str)> {
        super::super::resolve(find(text)).into_iter().map(|find| (find.kind, &text[find.range])).collect()
    }

    #[test]
    fn what_is_personal_is_found_as_long_as_it_is() {
        for (kind, text, part) in [
            (Type::Email, "mail <ada.l+x@mail.example.com>.", "ada.l+x@mail.example.com"),
            (Type::Email, "an jörg@example.org, bitte", "jörg@example.org"),
            (Type::Phone, "phone number is (555) 555-5555.", "(555) 555-5555"),
            (Type::Phone, "call +49 30 1234567!", "+49 30 1234567"),
            (Type::Phone, "1-212-555-0123", "1-212-555-0123"),
            (Type::CreditCard, "card 4111 1111 1111 1111, ok", "4111 1111 1111 1111"),
            (Type::CreditCard, "378282246310005", "378282246310005"),
            (Type::Iban, "IBAN DE89 3704 0044 0532 0130 00 BANK", "DE89 3704 0044 0532 0130 00"),
            (Type::Iban, "GB82WEST12345698765432", "GB82WEST12345698765432"),
            (Type::Ssn, "SSN 123-45-6789", "123-45-6789"),
            (Type::IpAddress, "from 192.0.2.17.", "192.0.2.17"),
            (Type::IpAddress, "[2001:db8::ff00:42:8329]:80", "2001:db8::ff00:42:8329"),
            (Type::IpAddress, "fe80::1 is up", "fe80::1"),
            (Type::UrlCredentials, "postgres://ada:pass@db.example.com/x", "ada:pass"),
        ] {
            assert!(found(text).contains(&(kind, part)), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for text in [
            "4111 1111 1111 1112",
            "DE89 3704 0044 0532 0130 01",
            "000-12-3456 and 123-00-4567",
            "version 1.2.3.4.5",
            "127.0.0.1 and 300.1.1.1",
            "a @ b.c, @handle, x@y",
            "12:30:45",
            "std::fs::File",
            "1234567890",
            "2024-01-15 10:20",
            "3.14159265358979",
            "https://example.com:8080/a@b",
            "pages 100-200-3000",
            "",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn finds_lie_on_borders_of_characters() {
        for text in [
            "é@é.de",
            "ééééééééééééééééééééééééééééééééééééééééé@example.com",
            "日本@例.jp",
            "@é",
            "+é",
            "(é",
            "1é2",
            "://é:é@",
        ] {
            for find in find(text) {
                assert!(text.get(find.range.clone()).is_some(), "{text} {find:?}");
            }
        }
    }
}
