//! Every function that the host links: what gives power over anything outside of an instance is asked for without a grant and
//! with a target that is not granted, and then nothing happens, and one denial is on the book.
//!
//! The functions are those of the WIT that is linked: ours, and that of the crates for WASI. Each is in a row of `rows.rs`; a
//! new one without a row fails here, by its name.

mod linked;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use tests::{FakeInference, FakeStore, Reply, Setup, TestServer};

use super::outside::{govern, used};
use crate::attack::upstream::Upstream;
use linked::Function;
use rows::{Kind, Power, ROWS, Try};

/// What each guest is granted for its functions to work at all.
const GRANTS: [(&str, &str); 9] = [
    ("classifier", "[classify]\nmodels = [\"fake\"]\n"),
    ("generate-poll", "[generate]\nmodels = [\"fake\"]\n"),
    ("nn", "[nn]\nmodels = [\"fake\"]\n"),
    (
        "outbound",
        "[http]\nALLOW\n[env]\nvalues = { GREETING = \"hello\" }\n\
         [fs]\nallow = [{ host = FOLDER, guest = \"/data\", access = \"read-write\" }]\n\
         [secret.KEY]\nsource = { env = \"PATH\" }\nhosts = [\"127.0.0.1\"]\nheaders = [\"x-key\"]\n",
    ),
    ("probe", "[config]\nshown = \"1\"\nhidden = \"2\"\n[embed]\nmodels = [\"fake\"]\n[log]\n[rerank]\nmodels = [\"fake\"]\n"),
    ("scribe", "[generate]\nmodels = [\"fake\"]\n[log]\n[tokenize]\nmodels = [\"fake\"]\n"),
    (
        "store",
        "[blob]\nallow = [{ container = \"granted\", verbs = [\"get\", \"list\", \"put\", \"delete\"] }]\n\
         [kv]\nallow = [{ store = \"granted\", verbs = [\"get\", \"list\", \"set\", \"delete\"] }]\n\
         [vector]\nallow = [{ collection = \"granted\", verbs = [\"find\", \"list\", \"upsert\", \"delete\"] }]\n",
    ),
    ("wasi-http-02", "[http]\nALLOW\n"),
    ("wasi-http-03", "[http]\nALLOW\n"),
];

/// What makes a target for `config` that is not granted.
const RULE: &str = "forbid (principal, action == Action::\"config\", resource == Setting::\"hidden\");";

/// A guest under a policy, and all that it could have an effect on.
struct World {
    guest: &'static str,
    server: TestServer,
    policy: PathBuf,
    fake: Arc<FakeInference>,
    store: Arc<FakeStore>,
    upstream: Upstream,
    /// Holds `outside.txt` and the granted folder.
    folder: TempDir,
}

/// What there is outside, to compare: jobs of the engine, operations of the store, requests that came, files with their times.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    jobs: usize,
    operations: usize,
    requests: usize,
    files: BTreeMap<PathBuf, (SystemTime, String)>,
}

impl World {
    fn start(guest: &'static str) -> World {
        let (fake, store, upstream) = (Arc::new(FakeInference::default()), Arc::new(FakeStore::default()), Upstream::start());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let granted = folder.path().join("granted");
        std::fs::create_dir(&granted).expect("a folder");
        let (_, grants) = GRANTS.into_iter().find(|(name, _)| *name == guest).expect("every guest has grants");
        let grants = grants.replace("ALLOW", &upstream.granted().replace("http.", ""));
        let grants = grants.replace("FOLDER", &format!("{:?}", granted.display().to_string()));
        let setup =
            Setup::new(fake.clone()).stores(store.stores()).guest(guest).policy(guest, &format!("schema = 1\n{grants}"));
        let policies = setup.config.policies.clone();
        std::fs::write(policies.join("rules.cedar"), RULE).expect("writes");
        let server = setup.start();
        assert_eq!(server.failures, []);
        let world = World { guest, server, policy: policies.join(format!("{guest}.toml")), fake, store, upstream, folder };
        world.lay_out();
        world
    }

    /// Puts into the granted folder what functions are tried on, and nothing else.
    fn lay_out(&self) {
        let granted = self.folder.path().join("granted");
        for entry in std::fs::read_dir(&granted).expect("a folder") {
            let path = entry.expect("lists").path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("removes");
        }
        std::fs::create_dir(granted.join("empty")).expect("a folder");
        std::os::unix::fs::symlink("inside.txt", granted.join("link")).expect("links");
        for file in [self.folder.path().join("outside.txt"), granted.join("inside.txt")] {
            std::fs::write(file, "text").expect("writes");
        }
    }

    /// Takes everything away from the guest.
    fn revoke(&self) {
        govern(&self.server, &self.policy, "schema = 1\n");
    }

    fn outside(&self) -> Outside {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("lists").path();
                let changed = path.metadata().and_then(|metadata| metadata.modified()).expect("is there");
                files.insert(path.clone(), (changed, std::fs::read_to_string(&path).unwrap_or_default()));
                folders.extend(path.is_dir().then_some(path));
            }
        }
        Outside {
            jobs: self.fake.counts().jobs,
            operations: self.store.counts().operations,
            requests: self.upstream.heads().len(),
            files,
        }
    }

    /// Has the guest call a function.
    fn call(&self, attempt: &Try) -> Reply {
        let (method, path) = attempt.request.split_once(' ').expect("a method and a path");
        let placed = |text: &str| text.replace("UPSTREAM", self.upstream.url("").trim_start_matches("http://"));
        let (path, body) = (format!("/c/{}{}", self.guest, placed(path)), placed(&attempt.body));
        self.server.send(method, &path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Has it call a function, which has no effect, and is denied so many times.
    #[track_caller]
    fn assert_refused(&self, function: &str, attempt: &Try, denials: u64) {
        let state = || (used(&self.server, self.guest, "denied"), self.outside());
        let before = state();
        let reply = self.call(attempt);
        let after = state();
        let (what, text) = (format!("{function}: {} {}", attempt.request, attempt.body), reply.text());
        let is_whole = denials == 0 || attempt.says.is_empty();
        let is_told = if is_whole { text == attempt.says } else { text.contains(attempt.says) };
        assert!(is_told, "{what} is answered {text:?} and not {:?}", attempt.says);
        assert_eq!(after.1, before.1, "{what} has an effect");
        assert_eq!(after.0 - before.0, denials, "denials of {what}");
    }
}

/// Functions that a guest exercises: the name of each, how, and how many denials are told when it is refused.
fn exercises(guest: &str) -> impl Iterator<Item = (String, Power, u64)> {
    let all = ROWS.iter().flat_map(|row| row.functions.iter().map(move |function| (row, *function)));
    let exercised = all.filter_map(|(row, function)| {
        let (power, denials) = row.exercise(function)?;
        Some((row.name(function), power, denials))
    });
    exercised.filter(move |(_, power, _)| power.guest == guest)
}

#[test]
fn without_a_grant_a_function_does_nothing_and_one_denial_is_told() {
    for (guest, _) in GRANTS {
        let world = World::start(guest);
        world.revoke();
        for (function, power, denials) in exercises(guest) {
            world.assert_refused(&function, &power.ungranted, denials);
        }
    }
}

#[test]
fn with_a_wrong_target_a_function_does_nothing_and_one_denial_is_told() {
    for (guest, _) in GRANTS {
        let world = World::start(guest);
        for (function, power, denials) in exercises(guest) {
            let never = power.granted.is_none().then_some(&power.ungranted);
            power.wrong.iter().chain(never).for_each(|attempt| world.assert_refused(&function, attempt, denials));
        }
    }
}

#[test]
fn with_a_grant_the_same_requests_are_answered() {
    for (guest, _) in GRANTS {
        let world = World::start(guest);
        for (function, power, _) in exercises(guest) {
            let Some(says) = power.granted else { continue };
            world.lay_out();
            let reply = world.call(&power.ungranted);
            assert!(reply.status < 300 && reply.text().contains(says), "{function}: {} {:?}", reply.status, reply.text());
        }
    }
}

#[test]
fn every_function_has_a_row_and_every_row_a_function() {
    let known: Vec<String> = linked::functions().iter().map(Function::name).collect();
    let mut named: Vec<String> = ROWS.iter().flat_map(|row| row.functions.iter().map(|function| row.name(function))).collect();
    let missing: Vec<_> = known.iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "say in tests/capability/imports/rows.rs what these are: {missing:#?}");
    let gone: Vec<_> = named.iter().filter(|name| !known.contains(name)).collect();
    assert!(gone.is_empty(), "nothing is called so any more: {gone:#?}");
    named.sort();
    let twice: Vec<_> = named.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "two rows have {twice:#?}");
}

#[test]
fn what_needs_a_power_needs_one_of_the_table() {
    let powers: Vec<String> = GRANTS.iter().flat_map(|(guest, _)| exercises(guest)).map(|(name, ..)| name).collect();
    for row in ROWS.iter() {
        match row.kind {
            Kind::Needs(needed) => assert!(powers.iter().any(|power| power == needed), "{}: {needed}", row.interface),
            Kind::Harmless(reason) => assert!(!reason.is_empty(), "{}", row.interface),
            _ => {}
        }
    }
}

/// That the functions of the table are those that the host has: by components that import one each.
#[test]
fn the_host_links_the_functions_of_the_table_and_none_that_components_give() {
    let free = || linked::functions().iter().filter(|function| function.is_free()).zip(0..);
    let name = |number: i32| format!("asks-{number}");
    let setup = free().fold(Setup::new(Arc::new(FakeInference::default())), |setup, (function, number)| {
        let text = function.importer();
        let code = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        setup.made(&name(number), &code)
    });
    let server = setup.start();
    for (function, number) in free() {
        let refusal = server.failure(&name(number));
        let row = ROWS.iter().find(|row| row.functions.iter().any(|name| row.name(name) == function.name()));
        let is_given = matches!(row.map(|row| &row.kind), Some(Kind::Given));
        let is_missing = refusal.contains("function implementation is missing");
        assert_eq!(is_missing, is_given, "{}: {refusal}", function.name());
    }
}
