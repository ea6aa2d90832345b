#!/usr/bin/env python3
"""The end of `make demo`: ingests the demo's documents, and asks about them, streamed.

    scripts/demo.py URL [MODEL]

Needs nothing but Python 3.
"""
import pathlib
import sys
import time

import rag

DOCUMENTS = pathlib.Path(__file__).parent.parent / "demo" / "documents"
QUESTIONS = ["What do I get per kilometre if I take my private car?", "The logger shows error E12. What should I do?"]


def bold(text):
    print(f"\n\033[1m{text}\033[0m", flush=True)


def ingest(server):
    files = rag.folder(DOCUMENTS)
    began = time.monotonic()
    for event in server.ingesting(files):
        if "error" in event and "name" not in event:
            raise SystemExit(f"the documents could not be ingested: {event['error']}")
        for file in event.get("files", []):
            print(f"  {file['name']}: {file.get('error') or file.get('status')}, {file.get('chunks', 0)} passages", flush=True)
    print(f"{len(files)} documents after {time.monotonic() - began:.1f} s")


def ask(server, question, model):
    body = {"messages": question, "stream": True, "stream_options": {"include_usage": True}, **({"model": model} if model else {})}
    began, first, sources, usage = time.monotonic(), None, [], {}
    for piece in server.events("/v1/chatqna", body):
        if "error" in piece:
            raise SystemExit(f"the answer broke off: {piece['error']['message']}")
        sources, usage = piece.get("sources", sources), piece.get("usage") or usage
        for choice in piece["choices"]:
            text = choice["delta"].get("content")
            if text:
                first = first or time.monotonic() - began
                print(text, end="", flush=True)
    print("\n")
    for source in sources:
        page = f", page {source['page']}" if "page" in source else ""
        mark = "*" if source.get("cited") else " "
        print(f" {mark}[{source['n']}] {source['name']}{page}  {' > '.join(source['heading'])}  ({source['score']:.2f})")
    total = time.monotonic() - began
    print(f"\nfirst token after {first or total:.1f} s; {usage.get('prompt_tokens', 0)} tokens read, "
          f"{usage.get('completion_tokens', 0)} written; {total:.1f} s in all")


def main():
    server, model = rag.Server(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    try:
        bold("The documents in demo/documents go in:")
        ingest(server)
        bold(f"A question about them: {QUESTIONS[0]}")
        ask(server, QUESTIONS[0], model)
    except rag.Refused as refused:
        raise SystemExit(f"the server refused: {refused}") from None
    bold("Another one:")
    named = f', "model": "{model}"' if model else ""
    print(f"curl -sN {server.url}/v1/chatqna -H 'content-type: application/json' \\\n  -d '{{\"messages\": \"{QUESTIONS[1]}\"{named}}}'")
    bold(f"Or chat with your own documents: {server.url}/chat")


if __name__ == "__main__":
    main()
