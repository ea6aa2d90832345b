//! A name for what a policy says, so that a record can tell under which it was made.

use sha2::{Digest, Sha256};

use super::{ModelTables, Source};
use crate::Rules;
use crate::digest::hex;

/// SHA-256 over the text of the policy file, what the component wants, all rules, and the models that this lets it use on this
/// server. Placeholders and values of secrets are no part of it.
pub(super) fn of(source: &Source, wanted: &[String], rules: &Rules, models: &ModelTables) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add("tessera policy 1");
    add(&source.text);
    add(&wanted.join("\n"));
    for rule in rules.iter() {
        add(&rule.source());
    }
    for capability in crate::CAPABILITIES {
        add(capability);
        models.of(capability).into_iter().flat_map(|models| models.usable()).for_each(|model| add(model.as_str()));
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeFacts, World};

    fn hash(text: &str, wanted: &[&str], facts: &FakeFacts) -> String {
        World::of(text, wanted, facts).expect("a good policy").policy.hash().to_string()
    }

    #[test]
    fn a_policy_has_another_hash_where_it_says_something_else() {
        let digest = "a".repeat(64);
        let pinned = format!("schema = 1\n[embed]\nmodels = [\"m@sha256:{digest}\"]");
        let facts = FakeFacts::default();
        let known = FakeFacts { digests: [("m", digest)].into(), ..FakeFacts::default() };
        let plain = hash("schema = 1", &["log"], &facts);
        assert_eq!(plain.len(), 64);
        assert_eq!(plain, hash("schema = 1", &["log"], &facts));
        assert_ne!(plain, hash("schema = 1\n", &["log"], &facts));
        assert_ne!(plain, hash("schema = 1", &[], &facts));
        assert_ne!(hash(&pinned, &["embed"], &facts), hash(&pinned, &["embed"], &known));
    }

    #[test]
    fn the_value_of_a_secret_is_no_part_of_a_hash() {
        let text = "schema = 1\n[secret.K]\nsource = { env = \"KEY\" }\nhosts = []\nheaders = []";
        let with = |value| FakeFacts { secrets: [("KEY", value)].into(), ..FakeFacts::default() };
        assert_eq!(hash(text, &["secret"], &with("one")), hash(text, &["secret"], &with("other")));
    }
}
