//! Keeps the chats of its callers: OPEA's `/v1/chathistory`.

mod chat;

use tessera_sdk::kv::{Newest, Rows};
use tessera_sdk::{Error, IntoResponse, Json, Request, Response, Router, service};

use crate::chat::{Chat, Create, Head, Listed, Which};

/// Most bytes of chats that are read for one list, about. Only their names stay in memory.
const LISTED_BYTES_MAX: usize = 64 << 20;

/// The store that the policy grants.
const STORE: &str = "chathistory";

service!(router);

fn router() -> Router {
    Router::new().post("/v1/chathistory/create", create).post("/v1/chathistory/get", get).post("/v1/chathistory/delete", delete)
}

async fn create(mut request: Request) -> Result<Response, Error> {
    let create = Create::parse(&request.bytes().await?)?;
    let chats: Rows<Chat> = rows(&create.user, "data.user")?;
    match &create.id {
        Some(id) => {
            let is_there = chats.change(id, |chat| chat.replace(&create.data, create.first_query.as_deref())).await?;
            if is_there { Ok(Json(true).into_response()) } else { Err(no_chat()) }
        }
        None => Ok(Json(chats.add(&create.into_chat()).await?).into_response()),
    }
}

async fn get(Json(which): Json<Which>) -> Result<Response, Error> {
    let Some(id) = &which.id else { return list(&which).await };
    let chat = rows::<Chat>(&which.user, "user")?.get(id).await?.ok_or_else(no_chat)?;
    Ok(Json(chat.data).into_response())
}

async fn list(which: &Which) -> Result<Response, Error> {
    let wanted = Newest { bytes_max: LISTED_BYTES_MAX, ..Newest::asked(which.limit, which.after.as_deref())? };
    let found = rows::<Head>(&which.user, "user")?.newest(wanted).await?;
    let chats: Vec<Listed<'_>> = found.rows.iter().map(|row| Listed::new(&row.id, &row.value, &which.user)).collect();
    let response = Response::json(200, &chats);
    Ok(found.with_next(response))
}

async fn delete(Json(which): Json<Which>) -> Result<Json<bool>, Error> {
    let id = which.id.as_deref().ok_or_else(|| Error::missing("id"))?;
    let is_there = rows::<Chat>(&which.user, "user")?.delete(id).await?;
    if is_there { Ok(Json(true)) } else { Err(no_chat()) }
}

/// The chats of a user of the caller. `param` is what the request calls the user.
fn rows<T>(user: &str, param: &str) -> Result<Rows<T>, Error> {
    Rows::of(STORE, user).map_err(|error| Error::from(error).with_param(param))
}

fn no_chat() -> Error {
    Error::not_found("there is no chat of that id")
}
