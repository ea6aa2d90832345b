//! Keeps the prompts of its callers: OPEA's `/v1/prompt`.

mod prompt;

use tessera_sdk::kv::{Newest, Rows};
use tessera_sdk::{Error, IntoResponse, Json, Request, Response, Router, service};

use crate::prompt::{Listed, Prompt, Which, search};

/// The store that the policy grants.
const STORE: &str = "prompts";

service!(router);

fn router() -> Router {
    Router::new().post("/v1/prompt/create", create).post("/v1/prompt/get", get).post("/v1/prompt/delete", delete)
}

async fn create(mut request: Request) -> Result<Json<String>, Error> {
    let prompt = Prompt::parse(&request.bytes().await?)?;
    Ok(Json(rows(&prompt.user)?.add(&prompt).await?))
}

async fn get(Json(which): Json<Which>) -> Result<Response, Error> {
    let prompts = rows(&which.user)?;
    if let Some(id) = which.prompt_id.as_deref() {
        let prompt = prompts.get(id).await?.ok_or_else(no_prompt)?;
        return Ok(Json(prompt).into_response());
    }
    let found = prompts.newest(Newest::asked(which.limit, which.after.as_deref())?).await?;
    let response = match which.prompt_text.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Response::json(200, &search(&found.rows, text)),
        None => Response::json(200, &found.rows.iter().map(Listed::new).collect::<Vec<_>>()),
    };
    Ok(found.with_next(response))
}

async fn delete(Json(which): Json<Which>) -> Result<Json<bool>, Error> {
    let id = which.prompt_id.as_deref().ok_or_else(|| Error::missing("prompt_id"))?;
    if rows(&which.user)?.delete(id).await? { Ok(Json(true)) } else { Err(no_prompt()) }
}

/// The prompts of a user of the caller.
fn rows(user: &str) -> Result<Rows<Prompt>, Error> {
    Rows::of(STORE, user).map_err(|error| Error::from(error).with_param("user"))
}

fn no_prompt() -> Error {
    Error::not_found("there is no prompt of that id")
}
