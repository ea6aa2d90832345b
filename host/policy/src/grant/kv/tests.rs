use std::sync::Arc;

use super::*;
use crate::rule::Rules;
use crate::snapshot::Source;
use crate::testing::{FakeFacts, World};
use crate::{CAPABILITIES, Caller, Ledger, Place, Reason, Scope, TenantPolicy};

const ROWS: &str = r#"
[kv]
allow = [
  { store = "notes", verbs = ["get", "set"] },
  { store = "notes-*", verbs = ["get", "list"], bytes_max = 1000 },
  { store = "history", verbs = ["get", "list", "set", "delete"], per = "caller" },
  { store = "notes-open", verbs = ["set"] },
]"#;

fn may(world: &World, verb: KvVerb, store: &str) -> Result<Place, Reason> {
    let permit = world.authority().kv(verb, &store.parse().expect("a name")).map_err(|denial| denial.reason)?;
    assert_eq!(permit.action().verb, verb);
    Ok(permit.redeem().place)
}

fn caller(id: &str) -> Caller {
    let policy = TenantPolicy::parse("tenants/acme.toml".as_ref(), "schema = 1").expect("a tenant's policy");
    let tenant = "acme".parse().expect("a name");
    Caller::bounded(id.into(), tenant, Arc::new(Scope::everything()), Arc::new(policy), Arc::<Ledger>::default())
}

#[test]
fn the_first_row_that_names_a_store_decides() {
    let world = World::new(ROWS);
    let cases = [
        ("notes", KvVerb::Get, Ok(64 << 20)),
        ("notes", KvVerb::Set, Ok(64 << 20)),
        ("notes", KvVerb::List, Err(Reason::NotListed)),
        ("notes-a", KvVerb::List, Ok(1000)),
        ("notes-a", KvVerb::Set, Err(Reason::NotListed)),
        ("notes-open", KvVerb::Set, Err(Reason::NotListed)),
        ("other", KvVerb::Get, Err(Reason::NotListed)),
    ];
    for (store, verb, expected) in cases {
        assert_eq!(may(&world, verb, store).map(|place| place.bytes_max), expected, "{verb:?} {store}");
    }
}

#[test]
fn rows_of_callers_belong_to_the_one_who_asks() {
    let world = World::new(ROWS).asked_by(caller("key:a"));
    let place = may(&world, KvVerb::Set, "history").expect("granted");
    assert_eq!((place.tenant.as_str(), place.owner.as_deref()), ("acme", Some("key:a")));
    assert_eq!(may(&world, KvVerb::Set, "notes").expect("granted").owner, None);
}

#[test]
fn who_does_not_say_who_they_are_has_no_rows_of_their_own() {
    for mode in ["enforce", "observe"] {
        let world = World::new(&format!("mode = \"{mode}\"\n{ROWS}")).asked_by(caller("public"));
        assert_eq!(may(&world, KvVerb::Get, "history"), Err(Reason::Anonymous));
        let told = world.told_once();
        assert!(told.is_enforced && told.explanation.contains("on a public route"), "{told:?}");
        assert!(may(&world, KvVerb::Get, "notes").is_ok());
    }
}

#[test]
fn without_a_grant_there_is_no_store() {
    assert_eq!(may(&World::new(""), KvVerb::Get, "a"), Err(Reason::NoSection));
    let undeclared = World::of(&format!("schema = 1\n{ROWS}"), &["log"], &FakeFacts::default()).expect("a good policy");
    assert_eq!(may(&undeclared, KvVerb::Get, "notes"), Err(Reason::Undeclared));
    let observed = World::new("mode = \"observe\"");
    assert_eq!(may(&observed, KvVerb::Get, "a").map(|place| place.bytes_max), Ok(64 << 20));
    assert!(!observed.told_once().is_enforced);
}

#[test]
fn a_rule_forbids_what_the_rows_allow() {
    let rules = "forbid (principal, action in Action::\"kv\", resource is Store) when { resource.name like \"notes*\" };
                 forbid (principal, action == Action::\"kv-delete\", resource == Store::\"history\");";
    let file = "policies/chat.toml";
    let source = Source { file: file.into(), origin: file.into(), text: format!("schema = 1\n{ROWS}") };
    let rules = Rules::parse([("rules.cedar", rules)]).expect("good rules");
    let world = World::from(source, &CAPABILITIES, &rules, &FakeFacts::default()).expect("a good policy");
    let is_forbidden = |verb, store| matches!(may(&world, verb, store), Err(Reason::Forbidden(_)));
    assert!(is_forbidden(KvVerb::Get, "notes") && is_forbidden(KvVerb::Delete, "history"));
    assert!(may(&world, KvVerb::Set, "history").is_ok());
}

#[test]
fn an_operator_is_told_which_verb_or_store_is_missing() {
    let world = World::new("[kv]\nallow = [\n  { store = \"notes\", verbs = [\"get\"] },\n]\n");
    may(&world, KvVerb::Set, "notes").expect_err("not listed");
    let told = world.told_once();
    let expected = "denied: component \"chat\" may not set values of the store notes: policies/chat.toml:4 does not list the \
        verb \"set\" for it; change that line to: { store = \"notes\", verbs = [\"get\", \"set\"] },";
    assert_eq!(told.explanation, expected);
    may(&world, KvVerb::List, "x").expect_err("not listed");
    let told = world.told_once();
    assert!(told.explanation.contains("list the store x: policies/chat.toml:3 does not list it"), "{told:?}");
    assert!(told.remedy.contains("{ store = \"x\", verbs = [\"list\"] },"), "{told:?}");
    let world = World::new("");
    may(&world, KvVerb::Get, "x").expect_err("no section");
    assert!(world.told_once().remedy.contains("[kv]\nallow = [{ store = \"x\", verbs = [\"get\"] }]"));
}

#[test]
fn what_is_no_row_is_refused() {
    for row in [
        "{ store = \"a b\", verbs = [] }",
        "{ store = \"a\" }",
        "{ store = \"a\", verbs = [\"put\"] }",
        "{ store = \"a\", verbs = [], per = \"me\" }",
        "{ container = \"a\", verbs = [] }",
    ] {
        assert!(World::of(&format!("schema = 1\n[kv]\nallow = [{row}]"), &[], &FakeFacts::default()).is_err(), "{row}");
    }
}
