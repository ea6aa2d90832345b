//! The words of chunks, and which chunks have those of a query (BM25: Robertson and Zaragoza, 2009), in files of a folder.
//!
//! Nothing here waits for the disk: the index is made from the database again where a crash left it torn, which checksums tell.

mod folder;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{
    DocAddress, Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Score, Searcher, TantivyDocument, Term,
};

use super::selection::Selection;
use super::{failed, words};
use crate::Result;
use folder::Folder;

/// What an index calls how its words are made. Changes when that does, so that indexes are built again.
const ANALYZER: &str = "words-1";

/// Most different words of a query.
const WORDS_MAX: usize = 256;

/// How long after the last change the threads that write are kept.
const WRITER_IDLE: Duration = Duration::from_secs(10);

/// A collection's index, to change it.
pub(super) struct TextIndex {
    index: Index,
    row: Field,
    text: Field,
    reader: IndexReader,
    writer: Option<IndexWriter>,
    changed: Instant,
}

/// The same, to search it: as it was when it was last brought up to date.
#[derive(Clone)]
pub(super) struct TextReader {
    text: Field,
    reader: IndexReader,
    analyzer: TextAnalyzer,
}

impl TextIndex {
    /// Opens the index of a folder, or begins an empty one where there is none that is whole.
    pub(super) fn open(folder: &Path) -> Result<TextIndex> {
        if folder.exists() {
            match Self::open_whole(folder) {
                Ok(index) => return Ok(index),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "a text index is damaged: it is built again");
                    fs::remove_dir_all(folder).map_err(failed)?;
                }
            }
        }
        fs::create_dir_all(folder).map_err(failed)?;
        // Texts are in the database, so that there is nothing to compress here.
        let settings = IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        let index = Index::create(Folder::open(folder)?, schema(), settings).map_err(failed)?;
        Self::new(index)
    }

    fn open_whole(folder: &Path) -> Result<TextIndex> {
        let index = Index::open(Folder::open(folder)?).map_err(failed)?;
        if index.schema() != schema() {
            return Err(failed("it was made by another version"));
        }
        let damaged: Vec<PathBuf> = index.validate_checksum().map_err(failed)?.into_iter().collect();
        if !damaged.is_empty() {
            return Err(failed(format!("{damaged:?} have a wrong checksum")));
        }
        Self::new(index)
    }

    fn new(index: Index) -> Result<TextIndex> {
        index.tokenizers().register(ANALYZER, words::analyzer());
        let field = |name| index.schema().get_field(name).map_err(failed);
        let (row, text) = (field("row")?, field("text")?);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        Ok(TextIndex { index, row, text, reader, writer: None, changed: Instant::now() })
    }

    pub(super) fn reader(&self) -> TextReader {
        TextReader { text: self.text, reader: self.reader.clone(), analyzer: words::analyzer() }
    }

    /// The chunks that are in it.
    pub(super) fn rows(&self) -> Result<Vec<u64>> {
        let searcher = self.reader.searcher();
        let mut rows = Vec::new();
        for segment in searcher.segment_readers() {
            let column = segment.fast_fields().u64("row").map_err(failed)?;
            rows.extend(segment.doc_ids_alive().filter_map(|document| column.first(document)));
        }
        Ok(rows)
    }

    pub(super) fn add(&mut self, row: u64, text: &str) -> Result<()> {
        let mut document = TantivyDocument::new();
        document.add_u64(self.row, row);
        document.add_text(self.text, text);
        self.writer()?.add_document(document).map_err(failed)?;
        Ok(())
    }

    pub(super) fn remove(&mut self, row: u64) -> Result<()> {
        let term = Term::from_field_u64(self.row, row);
        self.writer()?.delete_term(term);
        Ok(())
    }

    /// Makes the changes ready to be found, after the readers are brought up to date.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.changed = Instant::now();
        if let Some(writer) = &mut self.writer {
            writer.commit().map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the threads that write when nothing was changed for a while.
    pub(super) fn rest(&mut self) {
        if self.changed.elapsed() >= WRITER_IDLE {
            self.end_writing();
        }
    }

    fn end_writing(&mut self) {
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.wait_merging_threads()
        {
            tracing::warn!(%error, "parts of a text index could not be merged");
        }
    }

    fn writer(&mut self) -> Result<&mut IndexWriter> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let options = IndexWriterOptions::builder().num_worker_threads(1).num_merge_threads(1).build();
                self.index.writer_with_options(options).map_err(failed)?
            }
        };
        Ok(self.writer.insert(writer))
    }
}

/// Nothing writes into the folder afterwards, so that it can be deleted or opened again.
impl Drop for TextIndex {
    fn drop(&mut self) {
        self.end_writing();
    }
}

impl TextReader {
    /// From now on it finds what was committed until now.
    pub(super) fn reload(&self) -> Result<()> {
        self.reader.reload().map_err(failed)
    }

    /// The chunks with any of a text's words that are selected, with their scores, the best first.
    pub(super) fn search(&self, text: &str, count: usize, selection: &Selection) -> Result<Vec<(u64, Score)>> {
        let searcher = self.reader.searcher();
        let words = words::distinct(&mut self.analyzer.clone(), text, WORDS_MAX);
        if words.is_empty() || searcher.num_docs() == 0 {
            return Ok(Vec::new());
        }
        let term = |word: String| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.text, &word);
            (Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)))
        };
        let query = BooleanQuery::new(words.into_iter().map(term).collect());
        let top = TopDocs::with_limit(count.max(1)).order_by_score();
        let found = if selection.is_everything() {
            searcher.search(&query, &top)
        } else {
            let selected = selection.clone();
            let has = move |row: u64| selected.has(row);
            searcher.search(&query, &FilterCollector::new("row".into(), has, top))
        };
        let mut rows = rows_of(&searcher, found.map_err(failed)?)?;
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(rows)
    }
}

fn rows_of(searcher: &Searcher, found: Vec<(Score, DocAddress)>) -> Result<Vec<(u64, Score)>> {
    let mut rows = Vec::with_capacity(found.len());
    for (score, address) in found {
        let column = searcher.segment_reader(address.segment_ord).fast_fields().u64("row").map_err(failed)?;
        rows.extend(column.first(address.doc_id).map(|row| (row, score)));
    }
    Ok(rows)
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    schema.add_u64_field("row", FAST | INDEXED);
    let words = TextFieldIndexing::default().set_tokenizer(ANALYZER).set_index_option(IndexRecordOption::WithFreqs);
    schema.add_text_field("text", TextOptions::default().set_indexing_options(words));
    schema.build()
}
