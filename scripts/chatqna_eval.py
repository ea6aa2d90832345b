#!/usr/bin/env python3
"""Asks a running server the questions of demo/questions.json about demo/documents, and counts.

Of the answerable ones: is the answer in a passage that the answer cites with `[n]`, and is it in the answer itself. Of the
others: does the server decline. Every question is asked twice, streamed and not. Exits 1 unless the cited passage has the
answer for ANSWERED_MIN questions, the answer itself for SAID_MIN, and DECLINED_MIN others are declined, both ways.

usage: chatqna_eval.py URL [--key KEY] [--model NAME] [--index NAME] [--max-tokens N] [--no-ingest] [--only stream|whole]
"""

import argparse
import json
import pathlib
import re
import statistics
import sys
import time

import rag

DEMO = pathlib.Path(__file__).parent.parent / "demo"
ANSWERED_MIN, DECLINED_MIN = 16, 8
# Of 20. The model that the policy names first, of 0.5B parameters, says about 12; a citation is added where it writes none, so
# ANSWERED_MIN alone could be reached with answers that are worth nothing.
SAID_MIN = 10
CITATION = re.compile(r"\[(\d+)\]")
DECLINES = re.compile(r"\b(don.t|do not|does not|doesn.t|cannot|can.t) (know|find|say|answer)\b", re.IGNORECASE)


class Answer:
    """What came back to one question, however it came."""

    def __init__(self, text, sources, declined, first_s, all_s):
        self.text, self.sources, self.first_s, self.all_s = text, sources, first_s, all_s
        self.declined = declined or (not sources and bool(DECLINES.search(text)))
        numbers = {int(n) for n in CITATION.findall(text)}
        self.cited = [source for source in sources if source.get("n") in numbers]


def request(question, options, stream):
    body = {"messages": question, "stream": stream, "temperature": 0, "max_tokens": options.max_tokens}
    if options.model:
        body["model"] = options.model
    if options.index:
        body["index_name"] = options.index
    return body


def whole(server, question, options):
    start = time.perf_counter()
    reply = server.json("/v1/chatqna", request(question, options, stream=False))
    seconds = time.perf_counter() - start
    text = reply["choices"][0]["message"]["content"] or ""
    return Answer(text, reply.get("sources") or [], bool(reply.get("declined")), seconds, seconds)


def streamed(server, question, options):
    start = time.perf_counter()
    text, sources, declined, first_s = "", [], False, None
    for event in server.events("/v1/chatqna", request(question, options, stream=True)):
        if "error" in event:
            raise rag.Refused(200, json.dumps(event))
        sources = event.get("sources") or sources
        declined = declined or bool(event.get("declined"))
        for choice in event.get("choices") or []:
            piece = (choice.get("delta") or {}).get("content") or ""
            if piece and first_s is None:
                first_s = time.perf_counter() - start
            text += piece
    seconds = time.perf_counter() - start
    return Answer(text, sources, declined, first_s or seconds, seconds)


def holds(patterns, text):
    return any(re.search(pattern, rag.squeezed(text), re.IGNORECASE) for pattern in patterns)


class Tally:
    """The counts of one way of asking."""

    def __init__(self, way):
        self.way, self.firsts, self.misses = way, [], []
        self.cited = self.found = self.said = self.refused = self.declined = self.wrong_document = 0

    def answerable(self, case, answer):
        found = [source for source in answer.sources if holds(case["answers"], source["text"])]
        cited = [source for source in answer.cited if source in found]
        is_said = holds(case.get("said") or case["answers"], CITATION.sub("", answer.text))
        self.found += bool(found)
        self.cited += bool(cited)
        self.said += is_said
        self.refused += answer.declined
        self.wrong_document += bool(cited) and not any(source.get("name") == case["document"] for source in cited)
        if not answer.declined:
            self.firsts.append(answer.first_s)
        marks = (
            "declined"
            if answer.declined
            else f"{'cited' if cited else 'found' if found else '-'}, {'said' if is_said else 'not said'}"
        )
        self.line(case, marks, answer, is_good=bool(cited))

    def unanswerable(self, case, answer):
        self.declined += answer.declined
        self.line(case, "declined" if answer.declined else "ANSWERED", answer, is_good=answer.declined)

    def line(self, case, marks, answer, is_good):
        text = rag.squeezed(answer.text)
        print(
            f"{'ok ' if is_good else 'BAD'} {self.way:6} {marks:17} {answer.first_s:6.2f} s  "
            f"{case['question'][:70]:70}  {text[:110]}"
        )

    def passes(self):
        return self.cited >= ANSWERED_MIN and self.said >= SAID_MIN and self.declined >= DECLINED_MIN

    def summary(self, cases):
        answerable, others = len(cases["answerable"]), len(cases["unanswerable"])
        first = (
            f"first token {statistics.median(self.firsts):.2f} s, at most {max(self.firsts):.2f} s"
            if self.firsts
            else "no answers"
        )
        return (
            f"{self.way:6}  answer in a cited passage {self.cited}/{answerable} (at least {ANSWERED_MIN}), in any source "
            f"{self.found}, in the answer {self.said} (at least {SAID_MIN}), declined although answerable {self.refused}, "
            f"cited from another document "
            f"{self.wrong_document}; unanswerable declined {self.declined}/{others} (at least {DECLINED_MIN}); {first}"
        )


def ingest(server, index):
    start = time.perf_counter()
    files = rag.folder(DEMO / "documents")
    reply = server.ingest(files, **({"index_name": index} if index else {}))
    print(f"ingested {len(files)} documents in {time.perf_counter() - start:.1f} s: {json.dumps(reply)[:400]}")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key")
    parser.add_argument("--model")
    parser.add_argument("--index")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--no-ingest", action="store_true")
    parser.add_argument("--only", choices=["stream", "whole"])
    return parser.parse_args()


def main():
    options = parsed()
    server = rag.Server(options.url, options.key)
    cases = json.loads((DEMO / "questions.json").read_text(encoding="utf-8"))
    if not options.no_ingest:
        ingest(server, options.index)
    tallies = []
    for way, ask in (("whole", whole), ("stream", streamed)):
        if options.only in (None, way):
            tally = Tally(way)
            for kind in ("answerable", "unanswerable"):
                for case in cases[kind]:
                    getattr(tally, kind)(case, ask(server, case["question"], options))
            tallies.append(tally)
    print()
    for tally in tallies:
        print(tally.summary(cases))
    sys.exit(0 if all(tally.passes() for tally in tallies) else 1)


if __name__ == "__main__":
    main()
