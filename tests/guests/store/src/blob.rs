//! `…/blob/…`: one call of `tessera:blob` a route. Bodies are passed on as they come.

use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::blob::{self, Info, Range};
use tessera_sdk::{Json, Request, Response, Router};

use super::show;

pub(super) fn routes(router: Router) -> Router {
    router
        .put("/blob", put)
        .get("/blob", get)
        .post("/blob/stat", async |Json(at): Json<At>| {
            show(blob::stat(&at.container, &at.name).await.map(|found| json!(found.map(info))))
        })
        .post("/blob/delete", async |Json(at): Json<At>| show(blob::delete(&at.container, &at.name).await.map(Value::from)))
        .post("/blob/list", list)
}

#[derive(Deserialize)]
struct At {
    container: String,
    name: String,
}

/// `?container=…&name=…`: the body becomes the file.
async fn put(mut request: Request) -> Response {
    let [container, name] = ["container", "name"].map(|name| request.query(name).unwrap_or_default());
    let content_type = request.header("content-type").unwrap_or_default().to_owned();
    let body = request.take_body();
    show(blob::put(&container, &name, &content_type, body).await.map(info))
}

/// `?container=…&name=…&start=…&bytes=…`: the file, or a part of it.
async fn get(request: Request) -> Response {
    let [container, name] = ["container", "name"].map(|name| request.query(name).unwrap_or_default());
    let number = |name| request.query(name).and_then(|text| text.parse().ok());
    let range = number("start").map(|start| Range { start, bytes: number("bytes") });
    match blob::get_range(&container, &name, range).await {
        Ok(file) => Response::passing(200, &file.info.content_type, file.body),
        Err(error) => show(Err(error)),
    }
}

#[derive(Deserialize)]
struct List {
    container: String,
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    files_max: Option<u32>,
}

async fn list(Json(list): Json<List>) -> Response {
    let files_max = list.files_max.unwrap_or(u32::MAX);
    let page = blob::list(&list.container, &list.prefix, list.after.as_deref(), files_max).await;
    show(page.map(|page| {
        let names: Vec<String> = page.files.into_iter().map(|file| file.name).collect();
        json!({"names": names, "has_more": page.has_more})
    }))
}

fn info(info: Info) -> Value {
    json!({"name": info.name, "bytes": info.bytes, "digest": info.digest, "content_type": info.content_type})
}
