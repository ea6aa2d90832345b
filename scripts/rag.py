"""What the scripts that ask a running server for documents and answers share. Python 3.9 or later, nothing else."""

import json
import mimetypes
import pathlib
import urllib.error
import urllib.request
import uuid

TIMEOUT_S = 600


class Refused(Exception):
    """An answer whose status is not 200."""

    def __init__(self, status, body):
        super().__init__(f"status {status}: {body[:300]}")
        self.status, self.body = status, body


class Server:
    """A running server at `url`, with a key where it wants one."""

    def __init__(self, url, key=None, timeout_s=TIMEOUT_S):
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        self.headers = {"authorization": f"Bearer {key}"} if key else {}

    def open(self, path, body=None, content_type="application/json", accept="*/*"):
        """The response, to be read; a body that is no bytes is sent as JSON.

        Raises Refused where the status is not 200, and OSError where there is no answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**self.headers, "accept": accept, **({"content-type": content_type} if data is not None else {})}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from None

    def json(self, path, body=None):
        with self.open(path, body) as response:
            return json.load(response)

    def events(self, path, body):
        """The values of `data:` lines as they come, but for `[DONE]`."""
        with self.open(path, body) as response:
            yield from values(response)

    def ingest(self, files, **fields):
        """Ingests files, given as (name, bytes), in one request, and gives dataprep's answer."""
        body, content_type = form([("files", name, content) for name, content in files], fields)
        with self.open("/v1/dataprep/ingest", body, content_type) as response:
            return json.load(response)

    def ingesting(self, files, **fields):
        """The same, and gives events of its progress as they come."""
        body, content_type = form([("files", name, content) for name, content in files], fields)
        with self.open("/v1/dataprep/ingest", body, content_type, "text/event-stream") as response:
            yield from values(response)


def values(response):
    """The values of `data:` lines as they come, but for `[DONE]`."""
    for line in response:
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            yield json.loads(line[5:])


def form(files, fields):
    """A multipart body of files, (field, name, bytes), and of plain fields, and its content type."""
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        parts.append(f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for field, name, content in files:
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"; filename="{name}"\r\ncontent-type: {kind}\r\n\r\n'
        )
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def folder(path):
    """The files of a folder as (name, bytes), by name."""
    return [(file.name, file.read_bytes()) for file in sorted(pathlib.Path(path).iterdir()) if file.is_file()]


def squeezed(text):
    """The text with every run of blanks and line breaks as one blank."""
    return " ".join(text.split())
