//! Documents to chunks that can be found: parsed, divided, embedded and stored, as OPEA's dataprep has it.

mod catalog;
mod chunk;
mod document;
mod files;
mod form;
mod ingest;
mod job;
mod limits;
mod multipart;
mod parse;
mod progress;
mod report;
mod settings;

use serde_json::{Value, json};
use tessera_sdk::{Error, Json, Path, Request, Response, Router, background, id, json as sdk_json, service};

use catalog::{DeleteRequest, GetRequest, Row};
use files::Kept;
use form::Form;
use ingest::Plan;
use job::{Job, Journal};
use multipart::Multipart;
use progress::Observer;
use settings::Settings;

service!(router);

fn router() -> Router {
    Router::new()
        .post("/v1/dataprep/ingest", ingest)
        .post("/v1/dataprep/get", get)
        .post("/v1/dataprep/delete", delete)
        .post("/v1/dataprep/indices", indices)
        .get("/v1/dataprep/jobs/{id}", job)
        .get("/v1/dataprep/files/{index}/{name}", original)
        .get("/v1/dataprep/texts/{index}/{name}", text)
}

async fn ingest(mut request: Request) -> Result<Response, Error> {
    let settings = Settings::of_policy()?;
    let wish = Wish::of(&request);
    let content_type = request.header("content-type").unwrap_or_default().to_owned();
    let form = Form::read(Multipart::new(&content_type, request.take_body())?, &settings).await?;
    let plan = Plan::new(&form, &settings);
    let wish = if form.is_async { Wish::Job } else { wish };
    let sources = form.sources;
    match wish {
        Wish::Answer => {
            let files = ingest::all(&plan, sources, &mut Observer::Nobody).await;
            // Nobody listens, so nobody went away.
            Ok(report::response(&files.unwrap_or_default()))
        }
        Wish::Events => Ok(Response::sse(|events| async move {
            let mut observer = Observer::Client(Box::new(events));
            let files = ingest::all(&plan, sources, &mut observer).await?;
            observer.finish(&files).await
        })),
        Wish::Job => {
            let journal = Journal::begin(&plan.index, sources.len()).await?;
            let location = format!("/v1/dataprep/jobs/{}", journal.job().id);
            let body = json!({"status": 202, "message": "Data preparation started", "job": journal.job()});
            background(async move {
                let mut observer = Observer::Job(Box::new(journal));
                if let Ok(files) = ingest::all(&plan, sources, &mut observer).await {
                    // A job's end is written down; there is nobody who could have gone away.
                    let _ = observer.finish(&files).await;
                }
            });
            Ok(Response::json(202, &body).with_header("location", location).with_header("preference-applied", "respond-async"))
        }
    }
}

/// How a client wants to learn what became of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// At the end.
    Answer,
    /// While it happens.
    Events,
    /// When it asks.
    Job,
}

impl Wish {
    fn of(request: &Request) -> Self {
        let has = |name: &str, wanted: &str| request.header(name).is_some_and(|value| value.contains(wanted));
        match () {
            () if has("prefer", "respond-async") => Wish::Job,
            () if has("accept", "text/event-stream") => Wish::Events,
            () => Wish::Answer,
        }
    }
}

async fn get(mut request: Request) -> Result<Json<Vec<Row>>, Error> {
    let body = request.bytes().await?;
    let request = if body.is_empty() { GetRequest::default() } else { sdk_json::parse(&body)? };
    catalog::rows(&request).await.map(Json)
}

async fn delete(Json(request): Json<DeleteRequest>) -> Result<Json<Value>, Error> {
    catalog::delete(&request, &Settings::of_policy()?).await?;
    Ok(Json(json!({"status": true})))
}

async fn indices() -> Result<Json<Vec<String>>, Error> {
    Ok(Json(catalog::indices().await?))
}

async fn job(Path(id): Path) -> Result<Json<Job>, Error> {
    let settings = Settings::of_policy()?;
    let missing = || Error::not_found("there is no such job: it may be older than a week");
    // A key that no job has is not asked for.
    if !id::is_id(&id) {
        return Err(missing());
    }
    Job::find(&id, settings.limits.file_ms_max).await?.map(Json).ok_or_else(missing)
}

async fn original(request: Request) -> Result<Response, Error> {
    kept(&request, Kept::Original).await
}

async fn text(request: Request) -> Result<Response, Error> {
    kept(&request, Kept::Text).await
}

async fn kept(request: &Request, kept: Kept) -> Result<Response, Error> {
    let index = form::index_name(request.param("index").unwrap_or_default())?;
    files::response(&index, request.param("name").unwrap_or_default(), kept).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_how_it_wants_to_learn_what_became_of_its_files() {
        let wish = |name: &str, value: &str| Wish::of(&Request::new("POST", "/").with_header(name, value));
        assert_eq!(wish("prefer", "respond-async, wait=10"), Wish::Job);
        assert_eq!(wish("accept", "text/event-stream"), Wish::Events);
        assert_eq!(wish("accept", "*/*"), Wish::Answer);
    }
}
