"""A local server that misbehaves as told."""

import io
import random
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gsn.captures.archives.download import Patience

STALL_S = 0.3


@dataclass
class Behaviour:
    """What the server does with `/file.zip`."""

    content: bytes = b""
    ranges: str = "served"  # served, ignored, 416, 403, other_start
    cut_at: list[int] = field(default_factory=list)  # bytes after which each answer breaks off
    stall_at: list[int] = field(default_factory=list)  # the same, but the line stays open
    announced: int | None = None  # Content-Length in place of the true one
    chunked: bool = False  # no Content-Length at all
    statuses: list[int] = field(default_factory=list)  # of the first answers, without content
    content_type: str = "application/zip"
    asked: list[str | None] = field(default_factory=list)  # the range of each request


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        rule = self.server.behaviour
        asked = self.headers["Range"]
        rule.asked.append(asked)
        if rule.statuses:
            return self.refuse(rule.statuses.pop(0))
        start = 0
        if asked and rule.ranges.isdigit():
            return self.refuse(int(rule.ranges))
        if asked and rule.ranges != "ignored":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(rule.content):
                return self.refuse(416)
            told = start + 1 if rule.ranges == "other_start" else start
            last = len(rule.content) - 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {told}-{last}/{len(rule.content)}")
        else:
            self.send_response(200)
        self.send_body(rule, rule.content[start:])

    def refuse(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_body(self, rule, body):
        self.send_header("Content-Type", rule.content_type)
        if rule.chunked:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(rule.announced or len(body)))
        self.end_headers()
        cut, stall = (list_.pop(0) if list_ else None for list_ in (rule.cut_at, rule.stall_at))
        self.wfile.write(body[: min(n for n in (cut, stall, len(body)) if n is not None)])
        self.wfile.flush()
        if stall is not None:
            time.sleep(3 * STALL_S)
        self.close_connection = True


@pytest.fixture
def server():
    """Return a running server; `behaviour` says what it does, `url` where its file is."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.behaviour = Behaviour()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}/file.zip"
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def patience():
    return Patience(stall_s=STALL_S, attempts=2, restarts=1, pause_s=0.0)


@pytest.fixture
def noise():
    """Bytes that do not compress, as a zip file with one entry."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("noise", random.Random(0).randbytes(3_000_000))
    return stream.getvalue()
