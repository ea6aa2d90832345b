//! Finds passages of ingested documents: `POST /v1/retrieval` as OPEA has it, and `rag:retriever/retrieve` for other components.

mod bindings;
mod filter;
mod opea;
mod passage;
mod search;
mod typed;

use tessera_sdk::{Error, Request, Response, Router, service};

use crate::opea::Call;

service!(router);

fn router() -> Router {
    Router::new().post("/v1/retrieval", retrieval)
}

async fn retrieval(mut request: Request) -> Result<Response, Error> {
    let (call, search) = Call::parse(&request.bytes().await?)?;
    let passages = search.run().await?;
    Ok(call.into_reply(&passages))
}
