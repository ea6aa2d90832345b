//! `GET /v1/models`: the models that the policy grants this component, for whatever they are.

use serde::Serialize;
use tessera_sdk::Error;

/// OpenAI's list of models.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    object: &'static str,
    data: Vec<Model>,
}

/// One model, as OpenAI has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    /// When a model was made is not known here.
    created: u64,
    owned_by: &'static str,
}

impl List {
    /// Every model once, in the order of the names.
    pub(crate) fn new(names: &[String]) -> Self {
        let is_first = |(at, name): &(usize, &String)| !names[..*at].contains(name);
        let data = names.iter().enumerate().filter(is_first).map(|(_, name)| Model::new(name)).collect();
        Self { object: "list", data }
    }
}

impl Model {
    fn new(name: &str) -> Self {
        Self { id: name.to_owned(), object: "model", created: 0, owned_by: "tessera" }
    }
}

/// One of the models.
pub(crate) fn find(names: &[String], id: &str) -> Result<Model, Error> {
    if names.iter().any(|name| name == id) {
        return Ok(Model::new(id));
    }
    let id: String = id.chars().take(128).collect();
    Err(Error::new(404, "model_not_found", format!("The model `{id}` does not exist.")).with_param("model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_granted_twice_is_listed_once() {
        let names = ["b", "a", "b"].map(String::from);
        let ids: Vec<String> = List::new(&names).data.into_iter().map(|model| model.id).collect();
        assert_eq!(ids, ["b", "a"]);
    }

    #[test]
    fn an_unknown_model_is_not_found() {
        let names = ["a".to_owned()];
        assert_eq!(find(&names, "a").expect("is there"), Model::new("a"));
        let error = find(&names, "b").expect_err("is not there");
        assert_eq!((error.status(), error.code(), error.param()), (404, "model_not_found", Some("model")));
    }
}
