"""What hnswlib and usearch do on the vectors that our index is measured with: the same bytes, the same parameters, one thread
to search.

FOLDER holds, raw and little-endian, row by row: `vectors.f32` and `queries.f32`, compared by cosine, and `exact.u32`, the
indexes of the vectors that are really nearest to each query. M, ef_construction and ef are those of our graph; usearch keeps
numbers as f16, as it does for us, and hnswlib knows f32 only.

usage: python hnsw.py FOLDER --dimensions D [--rounds 1] [--threads CORES]
Prints a JSON list with an object for each engine: `name`, `build_s`, `recall`, and with one number a round `rate` (queries a
second), `p50_us` and `p99_us`.
Packages: requirements.txt beside this file.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import sys
import time

try:
    import hnswlib
    import numpy as np
    from usearch.index import Index
except ModuleNotFoundError as missing:
    print(f"hnswlib and usearch are not measured: {missing.name} is not there, `make peers` installs it", file=sys.stderr)
    print("[]")
    sys.exit()

M, EF_CONSTRUCTION, EF = 16, 128, 128


class Hnswlib:
    name = "hnswlib"

    def __init__(self, vectors, threads):
        self.index = hnswlib.Index("cosine", vectors.shape[1])
        self.index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=0)
        self.index.add_items(vectors, num_threads=threads)
        self.index.set_num_threads(1)
        self.index.set_ef(EF)

    def search(self, query, k):
        return self.index.knn_query(query, k)[0][0]


class Usearch:
    name = "usearch"

    def __init__(self, vectors, threads):
        self.index = Index(
            ndim=vectors.shape[1],
            metric="cos",
            dtype="f16",
            connectivity=M,
            expansion_add=EF_CONSTRUCTION,
            expansion_search=EF,
        )
        self.index.add(np.arange(len(vectors)), vectors, threads=threads)

    def search(self, query, k):
        return self.index.search(query, k, threads=1).keys


def measure(engine, vectors, queries, exact, options):
    """Builds an index and asks it all queries once a round, one at a time."""
    start = time.perf_counter()
    index = engine(vectors, options.threads)
    build_s, k = time.perf_counter() - start, exact.shape[1]
    right = sum(len(set(map(int, index.search(query, k))) & set(map(int, row))) for query, row in zip(queries, exact))
    found = {
        "name": f"{engine.name} {importlib.metadata.version(engine.name)}, in memory",
        "build_s": round(build_s, 2),
        "recall": right / exact.size,
        "rate": [],
        "p50_us": [],
        "p99_us": [],
    }
    for _ in range(options.rounds):
        times = []
        for query in queries:
            start = time.perf_counter()
            index.search(query, k)
            times.append(time.perf_counter() - start)
        p50, p99 = np.quantile(times, [0.5, 0.99])
        found["rate"].append(len(times) / sum(times))
        found["p50_us"].append(p50 * 1e6)
        found["p99_us"].append(p99 * 1e6)
    return found


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def main():
    options = parsed()
    vectors = np.fromfile(options.folder / "vectors.f32", "<f4").reshape(-1, options.dimensions)
    queries = np.fromfile(options.folder / "queries.f32", "<f4").reshape(-1, options.dimensions)
    exact = np.fromfile(options.folder / "exact.u32", "<u4").reshape(len(queries), -1)
    print(json.dumps([measure(engine, vectors, queries, exact, options) for engine in (Hnswlib, Usearch)]))


if __name__ == "__main__":
    main()
