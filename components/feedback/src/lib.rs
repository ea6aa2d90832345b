//! Keeps what its callers think of answers: OPEA's `/v1/feedback`.

mod feedback;

use tessera_sdk::kv::{Newest, Rows};
use tessera_sdk::{Error, IntoResponse, Json, Request, Response, Router, service};

use crate::feedback::{Create, Feedback, Listed, Which};

/// The store that the policy grants.
const STORE: &str = "feedback";

service!(router);

fn router() -> Router {
    Router::new().post("/v1/feedback/create", create).post("/v1/feedback/get", get).post("/v1/feedback/delete", delete)
}

async fn create(mut request: Request) -> Result<Response, Error> {
    let Create { user, feedback_id, feedback: new } = Create::parse(&request.bytes().await?)?;
    let opinions = rows(&user, "chat_data.user")?;
    match &feedback_id {
        Some(id) => {
            let is_there = opinions.change(id, |kept| kept.feedback_data.update(&new.feedback_data)).await?;
            if is_there { Ok(Json(true).into_response()) } else { Err(no_feedback()) }
        }
        None => Ok(Json(opinions.add(&new).await?).into_response()),
    }
}

async fn get(Json(which): Json<Which>) -> Result<Response, Error> {
    let opinions = rows(&which.user, "user")?;
    if let Some(id) = which.feedback_id.as_deref() {
        let feedback = opinions.get(id).await?.ok_or_else(no_feedback)?;
        return Ok(Response::json(200, &Listed { feedback: &feedback, feedback_id: id }));
    }
    let found = opinions.newest(Newest::asked(which.limit, which.after.as_deref())?).await?;
    let listed: Vec<Listed<'_>> = found.rows.iter().map(|row| Listed { feedback: &row.value, feedback_id: &row.id }).collect();
    let response = Response::json(200, &listed);
    Ok(found.with_next(response))
}

async fn delete(Json(which): Json<Which>) -> Result<Json<bool>, Error> {
    let id = which.feedback_id.as_deref().ok_or_else(|| Error::missing("feedback_id"))?;
    if rows(&which.user, "user")?.delete(id).await? { Ok(Json(true)) } else { Err(no_feedback()) }
}

/// The opinions of a user of the caller. `param` is what the request calls the user.
fn rows(user: &str, param: &str) -> Result<Rows<Feedback>, Error> {
    Rows::of(STORE, user).map_err(|error| Error::from(error).with_param(param))
}

fn no_feedback() -> Error {
    Error::not_found("there is no feedback of that id")
}
