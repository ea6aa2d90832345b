#!/usr/bin/env python3
"""The end of `make demo`: ingests the demo's documents, and asks about them, streamed.

    scripts/demo.py URL [MODEL]

Needs nothing but Python 3.
"""
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request
import uuid

DOCUMENTS = pathlib.Path(__file__).parent.parent / "demo" / "documents"
QUESTIONS = ["How much may I spend on a hotel room in Zurich?", "The logger shows error E12. What should I do?"]


def bold(text):
    print(f"\n\033[1m{text}\033[0m", flush=True)


def post(url, body, content_type, accept="text/event-stream"):
    request = urllib.request.Request(url, body, {"content-type": content_type, "accept": accept})
    try:
        return urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.code} {error.read().decode(errors='replace')}")


def events(response):
    """The data of server-sent events, as it comes."""
    for line in response:
        if line.startswith(b"data:"):
            yield line[5:].strip().decode()


def form(files):
    """A form with files, as browsers send it."""
    boundary = uuid.uuid4().hex
    parts = []
    for file in files:
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="files"; filename="{file.name}"\r\n'
        parts += [head.encode(), b"content-type: application/octet-stream\r\n\r\n", file.read_bytes(), b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def ingest(url):
    files = sorted(file for file in DOCUMENTS.iterdir() if file.is_file())
    body, content_type = form(files)
    began = time.monotonic()
    for data in events(post(f"{url}/v1/dataprep/ingest", body, content_type)):
        if data == "[DONE]":
            break
        show(json.loads(data))
    print(f"{len(files)} documents after {time.monotonic() - began:.1f} s")


def show(event):
    if "error" in event and "name" not in event:
        sys.exit(f"the documents could not be ingested: {event['error']}")
    for file in event.get("files", []):
        error = file.get("error")
        print(f"  {file['name']}: {error or file.get('status')}, {file.get('chunks', 0)} passages", flush=True)


def ask(url, question, model):
    body = {"messages": question, "stream": True, "stream_options": {"include_usage": True}}
    if model:
        body["model"] = model
    began, first, sources, usage = time.monotonic(), None, [], {}
    for data in events(post(f"{url}/v1/chatqna", json.dumps(body).encode(), "application/json")):
        if data == "[DONE]":
            break
        piece = json.loads(data)
        if "error" in piece:
            sys.exit(f"the answer broke off: {piece['error']['message']}")
        sources = piece.get("sources", sources)
        usage = piece.get("usage") or usage
        for choice in piece["choices"]:
            text = choice["delta"].get("content")
            if text:
                first = first or time.monotonic() - began
                print(text, end="", flush=True)
    print("\n")
    for source in sources:
        page = f", page {source['page']}" if "page" in source else ""
        heading = " > ".join(source["heading"])
        mark = "*" if source.get("cited") else " "
        print(f" {mark}[{source['n']}] {source['name']}{page}  {heading}  ({source['score']:.2f})")
    total = time.monotonic() - began
    print(f"\nfirst token after {first or total:.1f} s; {usage.get('prompt_tokens', 0)} tokens read, "
          f"{usage.get('completion_tokens', 0)} written; {total:.1f} s in all")


def main():
    url = sys.argv[1].rstrip("/")
    model = sys.argv[2] if len(sys.argv) > 2 else None
    bold("The documents in demo/documents go in:")
    ingest(url)
    bold(f"A question about them: {QUESTIONS[0]}")
    ask(url, QUESTIONS[0], model)
    bold("Another one:")
    named = f', "model": "{model}"' if model else ""
    print(f"curl -sN {url}/v1/chatqna -H 'content-type: application/json' \\\n  -d '{{\"messages\": \"{QUESTIONS[1]}\"{named}}}'")
    bold(f"Or chat with your own documents: {url}/chat")


if __name__ == "__main__":
    main()
