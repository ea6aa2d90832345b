"""What hnswlib and usearch do on the vectors that our index is measured with: the same bytes, the same parameters, one thread
to search.

Vectors and queries are raw little-endian f32, row by row, compared by cosine. `--truth` is raw little-endian u32, the K nearest
of each query by exact search; without it they are found here. Each peer builds with M and ef_construction and is then asked
with each ef.

usage: python hnsw.py --vectors FILE --queries FILE --dimensions D [--truth FILE] [--engine hnswlib|usearch] [--m 16]
       [--ef-construction 128] [--ef 32,64,128,256] [--k 10] [--threads 2] [--seconds 3]
Prints one JSON object. With --make N (and --queries-made N, --clusters N) it first writes clustered vectors to the two files.
Packages: requirements.txt beside this file.
"""

import argparse
import importlib.metadata
import json
import time

import numpy as np


def made(options):
    """Writes unit vectors around random centres, and queries near some of them."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((options.clusters, options.dimensions), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    spread = 0.6 / options.dimensions**0.5

    def near(count):
        rows = centres[random.integers(0, options.clusters, count)]
        rows = rows + spread * random.standard_normal((count, options.dimensions), dtype=np.float32)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")

    near(options.make).tofile(options.vectors)
    near(options.queries_made).tofile(options.queries)


def exact(vectors, queries, k):
    """The indexes of the k rows with the highest cosine for each query. [queries, k]"""
    nearest = []
    for start in range(0, len(queries), 256):
        cosines = queries[start : start + 256] @ vectors.T
        some = np.argpartition(-cosines, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(cosines, some, 1), axis=1)
        nearest.append(np.take_along_axis(some, order, 1))
    return np.concatenate(nearest)


class Hnswlib:
    name = "hnswlib"

    def __init__(self, vectors, options):
        import hnswlib

        self.index = hnswlib.Index("cosine", vectors.shape[1])
        self.index.init_index(len(vectors), M=options.m, ef_construction=options.ef_construction, random_seed=0)
        self.index.add_items(vectors, num_threads=options.threads)
        self.index.set_num_threads(1)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def search(self, query, k):
        return self.index.knn_query(query, k)[0][0]


class Usearch:
    name = "usearch"

    def __init__(self, vectors, options):
        from usearch.index import Index

        self.index = Index(
            ndim=vectors.shape[1], metric="cos", dtype="f32", connectivity=options.m, expansion_add=options.ef_construction
        )
        self.index.add(np.arange(len(vectors)), vectors, threads=options.threads)

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def search(self, query, k):
        return self.index.search(query, k, threads=1).keys


ENGINES = {engine.name: engine for engine in (Hnswlib, Usearch)}


def measure(engine, queries, truth, k, seconds):
    """One query at a time, all of them at least once, round and round for some seconds."""
    hits = sum(len(set(map(int, engine.search(query, k))) & set(map(int, right[:k]))) for query, right in zip(queries, truth))
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        for query in queries:
            start = time.perf_counter()
            engine.search(query, k)
            times.append(time.perf_counter() - start)
            if start > end:
                break
    p50, p99 = np.quantile(times, [0.5, 0.99])
    return {
        "recall": round(hits / (len(queries) * k), 4),
        "queries_per_s": round(len(times) / sum(times), 1),
        "p50_us": round(p50 * 1e6, 1),
        "p99_us": round(p99 * 1e6, 1),
    }


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--truth")
    parser.add_argument("--engine", choices=ENGINES, default="hnswlib")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=128)
    parser.add_argument("--ef", type=lambda text: [int(part) for part in text.split(",")], default=[32, 64, 128, 256])
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--make", type=int, default=0)
    parser.add_argument("--queries-made", type=int, default=1000)
    parser.add_argument("--clusters", type=int, default=1000)
    return parser.parse_args()


def main():
    options = parsed()
    if options.make:
        made(options)
    vectors = np.fromfile(options.vectors, "<f4").reshape(-1, options.dimensions)
    queries = np.fromfile(options.queries, "<f4").reshape(-1, options.dimensions)
    truth = np.fromfile(options.truth, "<u4").reshape(len(queries), -1) if options.truth else exact(vectors, queries, options.k)
    start = time.perf_counter()
    engine = ENGINES[options.engine](vectors, options)
    build_s = time.perf_counter() - start
    searches = []
    for ef in options.ef:
        engine.set_ef(ef)
        searches.append({"ef": ef, **measure(engine, queries, truth, options.k, options.seconds)})
    print(
        json.dumps(
            {
                "engine": engine.name,
                "version": importlib.metadata.version(engine.name),
                "vectors": len(vectors),
                "dimensions": options.dimensions,
                "m": options.m,
                "ef_construction": options.ef_construction,
                "build_s": round(build_s, 2),
                "build_threads": options.threads,
                "k": options.k,
                "searches": searches,
            }
        )
    )


if __name__ == "__main__":
    main()
