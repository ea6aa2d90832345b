//! Personal data: by patterns with checksums, and by a model that reads the words around them.

mod patterns;
mod replacement;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use tessera_sdk::classify::Entity;

pub(crate) use replacement::Method;

/// Whose finding counts for a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finder {
    Patterns,
    Model,
    /// Either.
    Both,
}

/// What personal data is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    Email,
    Phone,
    CreditCard,
    Iban,
    Ssn,
    IpAddress,
    UrlCredentials,
    GivenName,
    Surname,
    Url,
    TaxId,
    BankAccount,
    RoutingNumber,
    GovernmentId,
    Passport,
    DriversLicense,
    BuildingNumber,
    StreetName,
    SecondaryAddress,
    City,
    State,
    ZipCode,
}

/// Each with its name, who finds it, and whether it is looked for unless the operator says otherwise: places and web addresses
/// by themselves are nobody's.
#[rustfmt::skip]
const TYPES: [(Type, &str, Finder, bool); 22] = [
    (Type::Email, "EMAIL", Finder::Patterns, true),
    (Type::Phone, "PHONE", Finder::Both, true),
    (Type::CreditCard, "CREDIT_CARD", Finder::Patterns, true),
    (Type::Iban, "IBAN", Finder::Patterns, true),
    (Type::Ssn, "SSN", Finder::Patterns, true),
    (Type::IpAddress, "IP_ADDRESS", Finder::Patterns, true),
    (Type::UrlCredentials, "URL_CREDENTIALS", Finder::Patterns, true),
    (Type::GivenName, "GIVEN_NAME", Finder::Model, true),
    (Type::Surname, "SURNAME", Finder::Model, true),
    (Type::Url, "URL", Finder::Model, false),
    (Type::TaxId, "TAX_ID", Finder::Model, true),
    (Type::BankAccount, "BANK_ACCOUNT", Finder::Model, true),
    (Type::RoutingNumber, "ROUTING_NUMBER", Finder::Model, true),
    (Type::GovernmentId, "GOVERNMENT_ID", Finder::Model, true),
    (Type::Passport, "PASSPORT", Finder::Model, true),
    (Type::DriversLicense, "DRIVERS_LICENSE", Finder::Model, true),
    (Type::BuildingNumber, "BUILDING_NUMBER", Finder::Model, true),
    (Type::StreetName, "STREET_NAME", Finder::Model, true),
    (Type::SecondaryAddress, "SECONDARY_ADDRESS", Finder::Model, true),
    (Type::City, "CITY", Finder::Model, false),
    (Type::State, "STATE", Finder::Model, false),
    (Type::ZipCode, "ZIP_CODE", Finder::Model, true),
];

impl Type {
    fn row(self) -> &'static (Type, &'static str, Finder, bool) {
        TYPES.iter().find(|row| row.0 == self).expect("every type has its row")
    }

    /// Whether the model is needed to find all of it.
    pub(crate) fn needs_model(self) -> bool {
        self.row().2 != Finder::Patterns
    }

    /// Those that are looked for unless the operator says otherwise.
    pub(crate) fn usual() -> Vec<Type> {
        TYPES.iter().filter(|row| row.3).map(|row| row.0).collect()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

impl FromStr for Type {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let upper = name.to_ascii_uppercase().replace('-', "_");
        let row = TYPES.iter().find(|row| row.1 == upper);
        row.map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = TYPES.iter().map(|row| row.1).collect();
            format!("`{name}` is no type of personal data; there are {}", names.join(", "))
        })
    }
}

/// One find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Find {
    pub(crate) kind: Type,
    pub(crate) range: Range<usize>,
}

/// What patterns find of these types, in order and apart from each other.
pub(crate) fn by_patterns(text: &str, types: &[Type]) -> Vec<Find> {
    resolve(patterns::find(text).into_iter().filter(|find| types.contains(&find.kind)).collect())
}

/// Adds what the model has found of these types and is sure enough of. Where both found something, the patterns are right:
/// their finds come in order and apart from each other.
pub(crate) fn with_model(finds: Vec<Find>, text: &str, entities: &[Entity], (types, score_min): (&[Type], f32)) -> Vec<Find> {
    let find = |entity: &Entity| {
        let range = entity.start as usize..entity.end as usize;
        let kind = entity.label.parse::<Type>().ok().filter(|kind| kind.needs_model() && types.contains(kind))?;
        let is_there = text.get(range.clone()).is_some_and(|part| part.chars().any(char::is_alphanumeric));
        (is_there && entity.score >= score_min).then_some(Find { kind, range })
    };
    let meets = |find: &Find| {
        let next = finds.partition_point(|other| other.range.end <= find.range.start);
        finds.get(next).is_some_and(|other| other.range.start < find.range.end)
    };
    let found = joined(entities.iter().filter_map(find).filter(|find| !meets(find)).collect());
    resolve(finds.into_iter().chain(found).collect())
}

/// Finds of one type that touch or overlap as one: pieces of a word, or what two windows have found.
fn joined(mut finds: Vec<Find>) -> Vec<Find> {
    finds.sort_by_key(|find| (find.kind, find.range.start));
    let mut joined: Vec<Find> = Vec::new();
    for find in finds {
        match joined.last_mut() {
            Some(last) if last.kind == find.kind && find.range.start <= last.range.end => {
                last.range.end = last.range.end.max(find.range.end);
            }
            _ => joined.push(find),
        }
    }
    joined
}

/// Of finds that overlap the longest stays, and of those as long the first of `TYPES`.
fn resolve(mut finds: Vec<Find>) -> Vec<Find> {
    finds.sort_by_key(|find| (usize::MAX - find.range.len(), find.kind, find.range.start));
    let mut kept: BTreeMap<usize, Find> = BTreeMap::new();
    for find in finds {
        let before = kept.range(..find.range.end).next_back();
        if before.is_none_or(|(_, before)| before.range.end <= find.range.start) {
            kept.insert(find.range.start, find);
        }
    }
    kept.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(label: &str, start: u32, end: u32, score: f32) -> Entity {
        Entity { label: label.into(), start, end, score }
    }

    #[test]
    fn names_of_types_are_read_as_they_are_written() {
        for (kind, name, ..) in TYPES {
            assert_eq!((kind.to_string().as_str(), name.parse::<Type>()), (name, Ok(kind)));
        }
        assert_eq!("credit-card".parse::<Type>(), Ok(Type::CreditCard));
        assert!("shoe size".parse::<Type>().is_err_and(|text| text.contains("EMAIL, PHONE")));
    }

    #[test]
    fn the_model_adds_what_patterns_do_not_know() {
        let text = "I am Ada Lovelace, ada@example.com";
        let types = Type::usual();
        let finds = by_patterns(text, &types);
        assert_eq!(finds, [Find { kind: Type::Email, range: 19..34 }]);
        let entities = [
            entity("GIVEN_NAME", 5, 8, 0.9),
            entity("SURNAME", 9, 17, 0.4),
            entity("GIVEN_NAME", 19, 22, 0.9),
            entity("CITY", 0, 1, 0.9),
            entity("GIVEN_NAME", 30, 99, 0.9),
            entity("UNKNOWN", 0, 1, 0.9),
        ];
        let all = with_model(finds, text, &entities, (&types, 0.5));
        assert_eq!(all, [Find { kind: Type::GivenName, range: 5..8 }, Find { kind: Type::Email, range: 19..34 }]);
    }

    #[test]
    fn pieces_of_a_name_are_one_find() {
        let entities = [entity("SURNAME", 4, 8, 0.9), entity("SURNAME", 8, 12, 0.8), entity("GIVEN_NAME", 0, 3, 0.9)];
        let all = with_model(Vec::new(), "Ada Lovelace", &entities, (&Type::usual(), 0.5));
        assert_eq!(all, [Find { kind: Type::GivenName, range: 0..3 }, Find { kind: Type::Surname, range: 4..12 }]);
    }

    #[test]
    fn of_finds_that_overlap_the_longest_stays() {
        let find = |kind, range| Find { kind, range };
        let finds =
            vec![find(Type::Phone, 0..5), find(Type::CreditCard, 3..20), find(Type::Ssn, 19..22), find(Type::Iban, 20..21)];
        assert_eq!(resolve(finds), [find(Type::CreditCard, 3..20), find(Type::Iban, 20..21)]);
    }

    #[test]
    fn only_types_that_are_asked_for_are_found() {
        assert_eq!(by_patterns("a@example.com 192.0.2.1", &[Type::IpAddress]), [Find { kind: Type::IpAddress, range: 14..23 }]);
    }
}
