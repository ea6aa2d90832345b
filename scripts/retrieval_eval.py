#!/usr/bin/env python3
"""Measures retrieval on 1,000 introductions of Wikipedia articles: R@1, R@10 and MRR@10 through a running server, beside what
reference implementations reach on the same texts.

The set is that of benches/peers/wikipedia.py, ingested through dataprep as 1,000 text files into an index of their own. Exits 1
where a figure is more than 0.01 below the reference.

usage: retrieval_eval.py URL [--key KEY] [--index wiki] [--queries N] [--batch 50] [--connections 2] [--no-ingest] [--json]
"""

import argparse
import concurrent.futures
import json
import pathlib
import statistics
import sys
import time

import rag

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "benches" / "peers"))
import wikipedia  # noqa: E402

TOLERANCE = 0.01
K = 10
# What is asked for, and (R@1, R@10, MRR@10) of BM25 over lower-cased words, of the same model in sentence-transformers, of
# RRF with k = 60, and of MaxSim over the token vectors of the twenty nearest.
WAYS = [
    ("BM25", {"mode": "text", "rerank": False}, (0.773, 0.927, 0.833)),
    ("dense", {"mode": "dense", "rerank": False}, (0.757, 0.975, 0.839)),
    ("RRF of both", {"mode": "hybrid", "rerank": False}, (0.817, 0.961, 0.868)),
    ("dense top 20, reranked", {"mode": "dense", "rerank": True, "fetch_k": 20}, (0.853, 0.986, 0.903)),
    ("RRF top 20, reranked", {"mode": "hybrid", "rerank": True, "fetch_k": 20}, (0.853, 0.986, 0.903)),
]

# Here documents with the same score share the best place, as in the reference figures: RRF gives the same score to one that is
# first here and second there, and to one where it is the other way round. Elsewhere their order counts.
TIED = "RRF of both"


def ingest(server, documents, options):
    """Ingests the documents in batches of files; one chunk each, because 600 characters are less than a chunk."""
    start = time.perf_counter()
    for first in range(0, len(documents), options.batch):
        batch = documents[first : first + options.batch]
        files = [(f"{document['id']}.txt", document["text"].encode()) for document in batch]
        server.ingest(files, index_name=options.index, chunk_size=1500, chunk_overlap=0)
    seconds = time.perf_counter() - start
    print(f"ingested {len(documents)} documents in {seconds:.1f} s, {len(documents) / seconds:.1f} a second")


def document_of(passage, by_text):
    """The id of the document that a passage is of: by the file's name where the answer tells it, else by its text."""
    metadata = passage.get("metadata") or {}
    for name in (passage.get("name"), metadata.get("name"), metadata.get("source"), metadata.get("file_name")):
        if isinstance(name, str) and name.endswith(".txt"):
            return name.rsplit("/", 1)[-1][: -len(".txt")]
    text = rag.squeezed(passage["text"])
    return next((id for start, id in by_text.items() if start in text), None)


def found(server, query, fields, options, by_text):
    """Documents that were found with their scores, as they were returned, and the seconds it took."""
    start = time.perf_counter()
    reply = server.json("/v1/retrieval", {"text": query, "k": K, "index_name": options.index, **fields})
    seconds = time.perf_counter() - start
    passages = reply["retrieved_docs"]
    scores = {}
    for passage, metadata in zip(passages, reply.get("metadata") or [{}] * len(passages)):
        known = {**metadata, **passage, "metadata": passage.get("metadata") or metadata}
        score = known.get("score", known["metadata"].get("score"))
        scores.setdefault(document_of(known, by_text), len(scores) * -1.0 if score is None else score)
    return scores, seconds


def rank(scores, wanted, is_shared):
    """The place of a document, none if it is not there; with the same score it may be shared."""
    if wanted not in scores:
        return None
    if is_shared:
        return 1 + sum(score > scores[wanted] for score in scores.values())
    return 1 + list(scores).index(wanted)


def measure(server, documents, name, fields, options):
    by_text = {rag.squeezed(document["text"])[:120]: document["id"] for document in documents}
    asked = documents[: options.queries]
    with concurrent.futures.ThreadPoolExecutor(options.connections) as pool:
        answers = list(pool.map(lambda document: found(server, document["query"], fields, options, by_text), asked))
    ranks = [rank(scores, document["id"], name == TIED) for document, (scores, _) in zip(asked, answers)]
    places = [place for place in ranks if place]
    figures = (places.count(1) / len(asked), len(places) / len(asked), sum(1 / place for place in places) / len(asked))
    times = sorted(seconds for _, seconds in answers)
    return figures, statistics.median(times) * 1e3, times[int(len(times) * 0.99)] * 1e3


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key")
    parser.add_argument("--index", default="wiki")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--no-ingest", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    options = parsed()
    server, documents = rag.Server(options.url, options.key), wikipedia.load()
    if not options.no_ingest:
        ingest(server, documents, options)
    print(
        f"{'':24} {'R@1':>15} {'R@10':>15} {'MRR@10':>15}   p50 ms   p99 ms   (and how far it is from the reference)"
    )
    is_good, results = True, {}
    for name, fields, reference in WAYS:
        figures, median_ms, p99_ms = measure(server, documents, name, fields, options)
        cells = " ".join(f"{figure:7.3f} {figure - target:+.3f}" + " " for figure, target in zip(figures, reference))
        is_below = any(figure < target - TOLERANCE for figure, target in zip(figures, reference))
        print(f"{name:24} {cells}  {median_ms:7.1f}  {p99_ms:7.1f}{'   BELOW' if is_below else ''}", flush=True)
        is_good, results[name] = is_good and not is_below, figures
    if options.json:
        print(json.dumps(results))
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
