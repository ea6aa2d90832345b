#!/usr/bin/env python3
"""Kills a server in the middle of ingesting, again and again, and looks for what it had acknowledged.

A round starts the server on the data folder of the round before and checks: every document whose ingest was answered is listed
and each of its sections is found, by a word that only it has; the sections of a sample are found by their vectors as well; a
document whose ingest was not answered is there with all of its sections or not at all; what was deleted is gone. Then clients
ingest more documents and delete some, and at a random moment the server gets SIGKILL. At the end everything is checked once
more, and documents that are ingested again change nothing. Exits 1 on any loss, and where nothing was ingested, deleted or
looked for by vector, and so nothing tested.

usage: kill_rounds.py TESSERA [--rounds 30] [--clients 4] [--seed 0] [--components DIR] [--policies DIR] [--models DIR] [--keep]
The bundled components have to be built (`make components`) and all-minilm-l6-v2 pulled.
"""

import argparse
import concurrent.futures
import http.client
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import rag

ROOT = pathlib.Path(__file__).parent.parent
INDEX = "killed"
# What has to have happened for a run to have tested anything.
NEEDED = ("acknowledged", "deletions", "checks", "by vector")
SECTIONS = 5
READY_S_MAX = 120
KILL_AFTER_S = (0.3, 4.0)
OLD_CHECKED = 10
BY_VECTOR_CHECKED = 5
FILLER = """the a of and to in that is was for on with as by at from it an be are this which or had not but have one were
their harbour lamp river quiet paper number window station engine morning north valley copper garden letter
market bridge winter signal stone ferry meadow timber island wheel office corner summer bottle ladder orchard
castle thread pocket basin anchor""".split()


class Document:
    """A text of sections, each with a word of its own."""

    def __init__(self, name, chance):
        self.name = name
        self.words = [
            "".join(chance.choice("bcdfghjklmnpqrtvwxz") + chance.choice("aeou") for _ in range(6)) + "k"
            for _ in range(SECTIONS)
        ]
        sections = []
        for number, word in enumerate(self.words, 1):
            words = chance.choices(chance.sample(FILLER, 15), k=90)
            words[chance.randrange(20, 70)] = word
            sections.append(f"## Section {number} of {name}\n\n" + " ".join(words) + ".")
        self.content = (f"# {name}\n\n" + "\n\n".join(sections) + "\n").encode()


class Process:
    """A server on a data folder."""

    def __init__(self, binary, folder, options):
        config = folder / "tessera.toml"
        config.write_text(
            f'listen = "127.0.0.1:0"\ncomponents = "{options.components}"\npolicies = "{options.policies}"\n'
            f'models = "{options.models}"\ndata = "{folder / "data"}"\n',
            encoding="utf-8",
        )
        self.log = open(folder / "server.err", "ab")
        self.process = subprocess.Popen(
            [binary, "serve", "--config", str(config)], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        watchdog = threading.Timer(READY_S_MAX, self.process.kill)
        watchdog.start()
        line = next((line for line in self.process.stdout if "ready" in line), "")
        watchdog.cancel()
        address = re.search(r"http://\S+", line)
        if not address:
            raise SystemExit(f"the server did not get ready: {folder / 'server.err'}")
        self.server = rag.Server(address[0], timeout_s=120)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Ledger:
    """What the clients have been told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kept, self.unsure, self.deleted, self.leaving = {}, {}, {}, {}
        self.counts = dict.fromkeys(("acknowledged", "unanswered", "whole after all", "deletions", "checks", "by vector"), 0)
        self.losses = []

    def lose(self, text):
        with self.lock:
            self.losses.append(text)
        print(f"LOST  {text}", flush=True)


def hits(server, text, mode, k):
    """Texts of passages that are found."""
    body = {"text": text, "index_name": INDEX, "k": k, "mode": mode, "rerank": False}
    return [passage["text"] for passage in server.json("/v1/retrieval", body)["retrieved_docs"]]


def with_word(server, word):
    """Texts of passages with a word."""
    return [text for text in hits(server, word, "text", 5) if word in text]


def found_sections(server, document):
    return [word for word in document.words if with_word(server, word)]


def is_found_by_vector(server, document, number):
    """Whether a passage that its word finds is near to its own text."""
    word = document.words[number]
    passages = with_word(server, word)
    return bool(passages) and any(word in text for text in hits(server, passages[0], "dense", 10))


def listed(server):
    """Names of the documents that are there."""
    try:
        rows = server.json("/v1/dataprep/get", {"index_name": INDEX})
    except rag.Refused as error:
        if error.status == 404:
            return set()
        raise
    return {row["name"] for row in rows}


def check(server, ledger, documents, chance, by_vector):
    """These documents, which were acknowledged: listed, whole, and some of them found by a vector."""
    names = listed(server)
    for document in documents:
        ledger.counts["checks"] += 1
        if document.name not in names:
            ledger.lose(f"{document.name} was acknowledged and is not listed")
        found = found_sections(server, document)
        if len(found) != SECTIONS:
            ledger.lose(f"{document.name} was acknowledged and has {len(found)} of {SECTIONS} sections")
    for document in chance.sample(documents, min(by_vector, len(documents))):
        ledger.counts["by vector"] += 1
        if not is_found_by_vector(server, document, chance.randrange(SECTIONS)):
            ledger.lose(f"{document.name} is not found by its vector")


def settle(server, ledger):
    """What was under way at the kill: there as a whole or not at all."""
    names = listed(server)
    for document in ledger.unsure.values():
        found = found_sections(server, document)
        if found and len(found) != SECTIONS:
            ledger.lose(f"{document.name} is half there: {len(found)} of {SECTIONS} sections")
        if bool(found) != (document.name in names):
            ledger.lose(f"{document.name} is {'found and not listed' if found else 'listed and not found'}")
        if found:
            ledger.counts["whole after all"] += 1
            ledger.kept[document.name] = document
    for document in ledger.leaving.values():
        if found_sections(server, document):
            ledger.kept[document.name] = document
    for document in ledger.deleted.values():
        if found_sections(server, document) or document.name in names:
            ledger.lose(f"{document.name} was deleted and is back")
    for group in (ledger.unsure, ledger.leaving, ledger.deleted):
        group.clear()


def ingest_until_killed(server, ledger, round_number, client, seed):
    """One client: ingests documents, one or a few a request, and now and then deletes one, until the server is gone."""
    chance = random.Random(seed)
    for turn in range(10_000):
        batch = [Document(f"r{round_number:02}c{client}t{turn:03}n{n}.md", chance) for n in range(chance.choice((1, 1, 2, 3)))]
        ingested = {document.name: document for document in batch}
        with ledger.lock:
            ledger.unsure.update(ingested)
        try:
            server.ingest([(document.name, document.content) for document in batch], index_name=INDEX)
        except rag.Refused as error:
            ledger.lose(f"an ingest was refused: {error}")
            return
        except (OSError, ValueError, http.client.HTTPException):
            ledger.counts["unanswered"] += len(batch)
            return
        with ledger.lock:
            for name in ingested:
                ledger.kept[name] = ledger.unsure.pop(name)
            ledger.counts["acknowledged"] += len(batch)
        if chance.random() < 0.1 and not delete_one(server, ledger, chance):
            return


def delete_one(server, ledger, chance):
    """Whether the server is still there."""
    with ledger.lock:
        if not ledger.kept:  # the others are deleting what there is
            return True
        name = chance.choice(sorted(ledger.kept))
        document = ledger.leaving[name] = ledger.kept.pop(name)
    try:
        server.json("/v1/dataprep/delete", {"file_path": name, "index_name": INDEX})
    except rag.Refused as error:
        ledger.lose(f"deleting {name} was refused: {error}")
        return False
    except (OSError, ValueError, http.client.HTTPException):
        return False
    with ledger.lock:
        del ledger.leaving[name]
        ledger.deleted[name] = document
        ledger.counts["deletions"] += 1
    return True


def one_round(binary, folder, options, ledger, number, chance, fresh):
    process = Process(binary, folder, options)
    try:
        settle(process.server, ledger)
        old = [document for name, document in ledger.kept.items() if name not in fresh]
        recent = [ledger.kept[name] for name in fresh if name in ledger.kept]
        check(process.server, ledger, recent + chance.sample(old, min(OLD_CHECKED, len(old))), chance, BY_VECTOR_CHECKED)
        before = set(ledger.kept)
        timer = threading.Timer(chance.uniform(*KILL_AFTER_S), process.process.send_signal, (signal.SIGKILL,))
        with concurrent.futures.ThreadPoolExecutor(options.clients) as pool:
            jobs = [
                pool.submit(ingest_until_killed, process.server, ledger, number, client, chance.random())
                for client in range(options.clients)
            ]
            timer.start()
            for job in jobs:
                job.result()
    finally:
        process.kill()
    fresh = [name for name in ledger.kept if name not in before]
    print(
        f"round {number:2}: {len(fresh)} documents acknowledged, {len(ledger.unsure)} under way at the kill, "
        f"{len(ledger.kept)} to be there",
        flush=True,
    )
    return fresh


def finish(binary, folder, options, ledger, chance):
    """Everything once more, and what is ingested again changes nothing."""
    process = Process(binary, folder, options)
    try:
        settle(process.server, ledger)
        check(process.server, ledger, list(ledger.kept.values()), chance, 50)
        again = chance.sample(sorted(ledger.kept), min(20, len(ledger.kept)))
        names = listed(process.server)
        found = {name: [with_word(process.server, word) for word in ledger.kept[name].words] for name in again}
        process.server.ingest([(name, ledger.kept[name].content) for name in again], index_name=INDEX)
        if listed(process.server) != names:
            ledger.lose("ingesting documents again changed the list")
        for name in again:
            if [with_word(process.server, word) for word in ledger.kept[name].words] != found[name]:
                ledger.lose(f"ingesting {name} again changed what is found of it")
    finally:
        process.kill()


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tessera")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--components", default=str(ROOT / "components"))
    parser.add_argument("--policies", default=str(ROOT / "policies"))
    parser.add_argument("--models", default=os.environ.get("TESSERA_MODELS", str(ROOT / "models")))
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def main():
    options = parsed()
    folder, chance, ledger, fresh = (
        pathlib.Path(tempfile.mkdtemp(prefix="kill-rounds-")),
        random.Random(options.seed),
        Ledger(),
        [],
    )
    start = time.monotonic()
    try:
        for number in range(1, options.rounds + 1):
            fresh = one_round(options.tessera, folder, options, ledger, number, chance, fresh)
        finish(options.tessera, folder, options, ledger, chance)
    finally:
        if options.keep or ledger.losses:
            print(f"the data is kept in {folder}")
        else:
            shutil.rmtree(folder)
    counts = ", ".join(f"{count} {name}" for name, count in ledger.counts.items())
    print(f"{options.rounds} kills in {time.monotonic() - start:.0f} s: {counts}; {len(ledger.losses)} losses")
    untested = [name for name in NEEDED if not ledger.counts[name]]
    if untested:
        print(f"nothing was tested: 0 {', 0 '.join(untested)}")
    sys.exit(1 if ledger.losses or untested else 0)


if __name__ == "__main__":
    main()
