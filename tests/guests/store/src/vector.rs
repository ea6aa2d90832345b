//! `…/vector/…`: calls of `tessera:vector`, and drafts that are treated badly.

use std::cell::RefCell;

use futures::future;
use serde::Deserialize;
use serde_json::{Value, json};
use tessera_sdk::vector::{self, Chunk, Document, Draft, Field, Filter, Query};
use tessera_sdk::{Json, Router, store};

use super::show;

thread_local! {
    /// A draft that another request left behind.
    static LEFT: RefCell<Option<Draft>> = const { RefCell::new(None) };
}

pub(super) fn routes(router: Router) -> Router {
    router
        .post("/vector/upsert", async |Json(upsert): Json<Upsert>| show(upsert.run().await))
        .post("/vector/find", async |Json(find): Json<Find>| show(find.run().await))
        .post("/vector/stat", async |Json(at): Json<At>| {
            show(vector::stat(&at.collection, &at.document).await.map(|found| json!(found.map(|found| found.document.id))))
        })
        .post("/vector/pieces", async |Json(at): Json<At>| {
            let pieces = vector::pieces(&at.collection, &at.document, 0, u32::MAX).await;
            show(pieces.map(|pieces| pieces.into_iter().map(|piece| piece.text).collect()))
        })
        .post("/vector/delete", async |Json(at): Json<At>| {
            show(vector::delete(&at.collection, &at.document).await.map(Value::from))
        })
        .post("/vector/documents", async |Json(of): Json<Of>| {
            let page = vector::documents(&of.collection, Filter::default(), None, u32::MAX).await;
            show(page.map(|page| page.documents.into_iter().map(|stored| stored.document.id).collect()))
        })
        .post("/vector/delete-collection", async |Json(of): Json<Of>| {
            show(vector::delete_collection(&of.collection).await.map(Value::from))
        })
        .get("/vector/collections", async || {
            let all = vector::collections().await;
            show(all.map(|all| all.into_iter().map(|one| json!([one.name, one.documents, one.embedder])).collect()))
        })
}

#[derive(Deserialize)]
struct Of {
    collection: String,
}

#[derive(Deserialize)]
struct At {
    collection: String,
    document: String,
}

#[derive(Deserialize)]
struct Upsert {
    collection: String,
    document: String,
    #[serde(default)]
    labels: Vec<String>,
    embedder: Option<String>,
    /// A chunk each.
    #[serde(default)]
    texts: Vec<String>,
    /// The vector of each chunk.
    #[serde(default)]
    vector: Vec<f32>,
    /// What becomes of the draft, other than that it is committed.
    #[serde(default)]
    how: How,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum How {
    #[default]
    Commit,
    /// It is dropped.
    Drop,
    /// It is committed, and written to again.
    Again,
    /// Two calls at once: what the second is answered while the first waits, which is given up then.
    Both,
    /// It is left for another request.
    Leave,
    /// The one is used that another request left.
    Take,
}

impl Upsert {
    async fn run(self) -> Result<Value, store::Error> {
        let chunk = |text: &String| Chunk { vector: self.vector.clone(), ..Chunk::new(text) };
        let chunks: Vec<Chunk> = self.texts.iter().map(chunk).collect();
        if let (How::Take, Some(left)) = (&self.how, LEFT.take()) {
            left.append(chunks).await?;
            return left.commit().await.map(|stored| json!(stored.chunks));
        }
        let fields = vec![Field::text("title", &self.document)];
        let document = Document { labels: self.labels.clone(), fields, ..Document::new(&self.document) };
        let draft = vector::begin(&self.collection, document, self.embedder.as_deref()).await?;
        match self.how {
            How::Drop => return draft.append(chunks).await.map(|()| json!("dropped")),
            How::Leave => {
                LEFT.set(Some(draft));
                return Ok(json!("left"));
            }
            How::Both => {
                let mut one = Box::pin(draft.append(chunks.clone()));
                let is_waiting = future::poll_immediate(&mut one).await.is_none();
                let two = draft.append(chunks).await;
                drop(one);
                return two.map(|()| json!({ "is_waiting": is_waiting }));
            }
            _ => draft.append(chunks.clone()).await?,
        }
        let stored = draft.commit().await?;
        if let How::Again = self.how {
            draft.append(chunks).await?;
        }
        Ok(json!(stored.chunks))
    }
}

#[derive(Deserialize)]
struct Find {
    collection: String,
    text: Option<String>,
    vector: Option<Vec<f32>>,
    embedder: Option<String>,
    k: Option<u32>,
}

impl Find {
    async fn run(self) -> Result<Value, store::Error> {
        let Find { collection, text, vector, embedder, k } = self;
        let query = Query { text, vector, embedder, ..Query::new(k.unwrap_or(10)) };
        let hits = vector::find(&collection, query).await?;
        Ok(hits.into_iter().map(|hit| json!([hit.piece.document, hit.piece.text])).collect())
    }
}
