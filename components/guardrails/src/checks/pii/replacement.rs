//! What stands in the place of personal data.

use std::str::FromStr;

use super::Type;

/// How a replacement is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The type in brackets: `[EMAIL]`.
    Category,
    /// As many asterisks as there were characters.
    Mask,
    /// Other letters and digits at random, signs and lengths as they were.
    Random,
    /// Nothing.
    Remove,
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "category" => Ok(Self::Category),
            "mask" => Ok(Self::Mask),
            "random" | "fake" => Ok(Self::Random),
            "remove" => Ok(Self::Remove),
            _ => Err(format!("`{name}` is no way to replace personal data; there are category, mask, random, fake and remove")),
        }
    }
}

impl Method {
    /// What stands in the place of a part. The random number is for `Random`.
    pub(crate) fn replace(self, kind: Type, part: &str, random: u64) -> String {
        match self {
            Self::Category => format!("[{kind}]"),
            Self::Mask => "*".repeat(part.chars().count()),
            Self::Random => shuffled(part, random),
            Self::Remove => String::new(),
        }
    }
}

/// A text of the same shape: a capital for a capital, a digit for a digit.
fn shuffled(part: &str, random: u64) -> String {
    let mut state = random | 1;
    // xorshift64*: nothing depends on nobody guessing it, as it says nothing about what stood there.
    let mut next = |below: u32| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let high = u32::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap_or(0);
        high % below
    };
    let mut one_of = |first: char, count: u32| char::from_u32(u32::from(first) + next(count)).unwrap_or(first);
    let other = |character: char| match character {
        '0'..='9' => one_of('0', 10),
        'A'..='Z' => one_of('A', 26),
        'a'..='z' => one_of('a', 26),
        _ if character.is_uppercase() => one_of('A', 26),
        _ if character.is_alphabetic() => one_of('a', 26),
        _ => character,
    };
    part.chars().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_replaces_as_it_says() {
        let replace = |method: Method| method.replace(Type::Phone, "(555) 555-Éé", 7);
        assert_eq!(replace(Method::Category), "[PHONE]");
        assert_eq!(replace(Method::Mask), "************");
        assert_eq!(replace(Method::Remove), "");
        let random = replace(Method::Random);
        assert_ne!(random, "(555) 555-Éé");
        let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape(&random)[..10], *"(000) 000-", "{random}");
        assert!(random[10..].starts_with(|c: char| c.is_ascii_uppercase()), "{random}");
    }

    #[test]
    fn ways_are_read_by_their_names() {
        assert_eq!("fake".parse(), Ok(Method::Random));
        assert!("shred".parse::<Method>().is_err_and(|text| text.contains("category, mask")));
    }
}
