//! Chats, prompts and opinions: they belong to the caller who wrote them, and none is lost where several write at once.

use std::path::Path;
use std::sync::Arc;

use policy::{Keys, NewKey, Selection};
use runtime::AuthMode;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

/// The route of each component, what creates a row, and what a row's id is called.
fn kinds() -> [(&'static str, Value, &'static str); 3] {
    [
        ("/v1/chathistory", json!({"data": {"messages": "secret", "user": "ann"}}), "id"),
        ("/v1/prompt", json!({"prompt_text": "secret", "user": "ann"}), "prompt_id"),
        (
            "/v1/feedback",
            json!({"chat_data": {"messages": "secret", "user": "ann"}, "feedback_data": {"is_thumbs_up": true}}),
            "feedback_id",
        ),
    ]
}

fn setup() -> Setup {
    Setup::new(Arc::new(FakeInference::default())).bundled("chathistory").bundled("prompts").bundled("feedback")
}

fn key(file: &Path, tenant: &str) -> String {
    let new = NewKey {
        name: String::new(),
        tenant: tenant.parse().expect("a name"),
        components: Selection::All,
        models: Selection::All,
        labels: policy::Labels::default(),
        is_admin: false,
        seconds: None,
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let (key, text) = new.make(now).expect("a key");
    Keys::change(file, |keys| keys.add(key)).expect("the file takes it");
    text
}

fn post(server: &TestServer, path: &str, body: &Value, key: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("authorization", &format!("Bearer {key}"))];
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

#[test]
fn another_caller_sees_changes_and_deletes_nothing_whatever_user_it_names() {
    let setup = setup().configure(|config| config.auth.mode = AuthMode::Required);
    let file = setup.config.keys_file();
    let (own, others) = (key(&file, "acme"), [key(&file, "acme"), key(&file, "globex")]);
    let server = setup.start();
    assert_eq!(server.failures, []);
    for (route, row, id_name) in kinds() {
        let id = post(&server, &format!("{route}/create"), &row, &own).json();
        assert!(id.is_string(), "{route}: {id}");
        let mut which = json!({"user": "ann"});
        which[id_name] = id.clone();
        let mut change = row.clone();
        change[id_name] = id;
        for other in &others {
            let listed = post(&server, &format!("{route}/get"), &json!({"user": "ann"}), other);
            assert_eq!((listed.status, listed.json()), (200, json!([])), "{route}");
            for verb in ["get", "delete"] {
                assert_eq!(post(&server, &format!("{route}/{verb}"), &which, other).status, 404, "{route}/{verb}");
            }
            if route != "/v1/prompt" {
                assert_eq!(post(&server, &format!("{route}/create"), &change, other).status, 404, "{route}");
            }
        }
        let kept = post(&server, &format!("{route}/get"), &which, &own);
        assert!(kept.status == 200 && kept.text().contains("ann"), "{route}: {}", kept.text());
        assert_eq!(post(&server, &format!("{route}/delete"), &which, &own).json(), json!(true));
    }
}

#[test]
fn rows_that_are_created_at_once_are_all_there() {
    const EACH: usize = 20;
    let server = setup().start();
    let (route, row, _) = &kinds()[1];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    assert_eq!(server.post(&format!("{route}/create"), row).status, 200);
                }
            });
        }
    });
    let mut ids = Vec::new();
    let mut which = json!({"user": "ann", "limit": 7});
    loop {
        let page = server.post(&format!("{route}/get"), &which);
        let rows = page.json();
        ids.extend(rows.as_array().expect("a list").iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page.header("x-next-after") else { break };
        which["after"] = json!(next);
    }
    assert_eq!(ids.len(), 4 * EACH);
    assert!(ids.is_sorted_by(|newer, older| newer > older), "the newest come first, and none twice: {ids:?}");
}

#[test]
fn changes_that_are_made_at_once_are_all_told_and_one_of_them_holds() {
    let server = setup().start();
    let (route, row, _) = &kinds()[2];
    let create = format!("{route}/create");
    let id = server.post(&create, row).json();
    let change = |rating: usize| {
        let mut change = row.clone();
        change["feedback_id"] = id.clone();
        change["feedback_data"]["rating"] = json!(rating);
        change
    };
    std::thread::scope(|scope| {
        for rating in 1..=4 {
            let (server, create, change) = (&server, &create, change(rating));
            scope.spawn(move || {
                let reply = server.post(create, &change);
                assert!(matches!(reply.status, 200 | 409), "{}", reply.text());
            });
        }
    });
    let kept = server.post(&format!("{route}/get"), &json!({"user": "ann", "feedback_id": id})).json();
    assert!((1..=4).any(|rating| kept["feedback_data"]["rating"] == json!(rating)), "{kept}");
}
