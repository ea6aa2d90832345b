//! ChatQnA's servers: with models and a store that answer at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use runtime::Stores;
use store::vector::{
    Chunk, Collection, Document, Draft, Field, Filter, Hit, Page, Piece, Query, Reader, Stored, Value, Vectors,
};
use store::{Embedded, EmbeddedConfig, Name, Place, StoreError};
use tempfile::TempDir;
use tests::Setup;

use crate::serve::{DIMENSIONS, Instant};

/// What passes after each token of the kind `rag-paced`, as in `peers/opea_chatqna.py`: each reaches the component by itself.
const PAUSE: Duration = Duration::from_millis(2);

/// Passages of the store that is a real one.
const PASSAGES: usize = 1000;

/// Components of the application.
const COMPONENTS: [&str; 3] = ["chatqna", "retriever", "prompt-template"];

/// Any score will do: the vectors mean nothing.
const SETTINGS: &str = "[config]\nscore_min = \"-1\"\nscore_gap_min = \"-1\"\nscore_drop_max = \"2\"\n";

/// A set-up of ChatQnA of this kind, and its store's folder, which lives as long as it is kept; none if there is no such kind.
///
/// # Errors
/// When the store can't be made.
pub(crate) fn setup(kind: &str) -> anyhow::Result<Option<(Setup, TempDir)>> {
    let (input, output) = match kind {
        "rag" | "rag-fresh" | "rag-paced" | "rag-store" => ("", ""),
        "rag-guard-in" => ("input = [\"guard\"]\n", ""),
        "rag-guard-both" => ("input = [\"guard\"]\n", "output = [\"guard\"]\n"),
        _ => return Ok(None),
    };
    let text = std::fs::read_to_string(tests::root().join("policies/chatqna.toml"))?;
    let policy = text.replace("[config]\n", SETTINGS);
    let (before, _) = policy.split_once("[guard]\n").unwrap_or((&policy, ""));
    let guards = if input.is_empty() { String::new() } else { format!("[guard]\n{input}{output}") };
    let limits = "[limits]\nwall_ms_max = 600000\nmemory_bytes_max = 268435456\n";
    let quota = "[quota]\nrequests_per_min_max = 6000000\ninput_tokens_per_min_max = 100000000000\n\
                 output_tokens_per_min_max = 100000000000\ndevice_bytes_max = 68719476736\n";
    let model = if kind == "rag-paced" { Instant::paced(PAUSE) } else { Instant::default() };
    let setup = Setup::new(Arc::new(model)).guest("echo").guest("guard").guest("callee").guest("caller");
    let setup = ["echo", "callee", "guard"].iter().fold(setup, |setup, name| setup.policy(name, crate::hostile::NEIGHBOUR));
    let setup = setup.policy("caller", &format!("{}\n[call]\nallow = [\"callee\"]\n", crate::hostile::NEIGHBOUR));
    let setup = COMPONENTS.iter().fold(setup, |setup, name| match kind {
        "rag-fresh" => setup.bundled_with(name, |manifest| manifest.split("[instance]").next().unwrap_or_default().into()),
        _ => setup.bundled(name),
    });
    let retriever = std::fs::read_to_string(tests::root().join("policies/retriever.toml"))?;
    let setup = setup.policy("retriever", &retriever.replace("all-minilm-l6-v2", "fake"));
    let setup = setup.policy("chatqna", &format!("{before}{guards}{limits}{quota}"));
    let folder = tempfile::tempdir()?;
    let store = Embedded::open(EmbeddedConfig::new(folder.path()))?;
    let stores = match kind {
        "rag-store" => filled(store)?,
        _ => Stores { vectors: Arc::new(InstantVectors::new()), ..Stores::of(Arc::new(store)) },
    };
    Ok(Some((setup.stores(stores), folder)))
}

/// The embedded store with passages.
fn filled(store: Embedded) -> anyhow::Result<Stores> {
    let place = Place { tenant: "local".parse()?, name: "documents".parse()?, owner: None, bytes_max: u64::MAX };
    let chunk = |index: usize| Chunk {
        text: format!("{TEXT} {index}"),
        vector: (0..DIMENSIONS).map(|place| ((place * 31 + index * 17) as f32).sin()).collect(),
        ..Chunk::default()
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let document = Document { id: "report.txt".into(), ..Document::default() };
        let mut draft = store.begin(&place, document, None, &Reader::Everything).await?;
        draft.append((0..PASSAGES).map(chunk).collect()).await?;
        draft.commit().await
    })?;
    Ok(Stores::of(Arc::new(store)))
}

const TEXT: &str = "The revenue of the company in the year 2023 was 51 billion, ten percent more than in the year before; \
                    most of it came from shoes, and a third from clothing.";

/// Finds the same passages for any query, at once.
struct InstantVectors(Vec<Hit>);

impl InstantVectors {
    fn new() -> Self {
        let hit = |index: u32| Hit {
            piece: Piece {
                document: "report.txt".into(),
                index,
                text: TEXT.into(),
                fields: vec![Field { name: "name".into(), value: Value::Text("report.txt".into()) }],
            },
            score: 1.0 / (index + 1) as f32,
            similarity: Some(0.5),
            text_score: None,
            token_score: None,
        };
        InstantVectors((0..10).map(hit).collect())
    }
}

fn refused<T: Send + 'static>() -> BoxFuture<'static, store::Result<T>> {
    std::future::ready(Err(StoreError::Unsupported("change anything"))).boxed()
}

impl Vectors for InstantVectors {
    fn begin(
        &self,
        _: &Place,
        _: Document,
        _: Option<String>,
        _: &Reader,
    ) -> BoxFuture<'static, store::Result<Box<dyn Draft>>> {
        refused()
    }

    fn delete(&self, _: &Place, _: &str, _: &Reader) -> BoxFuture<'static, store::Result<bool>> {
        refused()
    }

    fn delete_collection(&self, _: &Place, _: &Reader) -> BoxFuture<'static, store::Result<bool>> {
        refused()
    }

    fn find(&self, _: &Place, query: Query, _: &Reader) -> BoxFuture<'static, store::Result<Vec<Hit>>> {
        std::future::ready(Ok(self.0.iter().take(query.k).cloned().collect())).boxed()
    }

    fn stat(&self, _: &Place, _: &str, _: &Reader) -> BoxFuture<'static, store::Result<Option<Stored>>> {
        refused()
    }

    fn documents(
        &self,
        _: &Place,
        _: Filter,
        _: Option<&str>,
        _: usize,
        _: &Reader,
    ) -> BoxFuture<'static, store::Result<Page>> {
        refused()
    }

    fn pieces(&self, _: &Place, _: &str, _: u32, _: usize, _: &Reader) -> BoxFuture<'static, store::Result<Vec<Piece>>> {
        refused()
    }

    fn collections(&self, _: &Name) -> BoxFuture<'static, store::Result<Vec<Collection>>> {
        refused()
    }
}
