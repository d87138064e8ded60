"""A small object server on the loopback: objects in memory, and faults on demand; each dialect has its own file."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import urllib.parse
from abc import abstractmethod
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "bucket"
LARGEST_LIST = 3
"""Names a page, so that clients must ask for the next page too."""

Fault = Callable[[str, str], int | None]
"""Takes method and path; returns the status to fail with, 0 to cut the connection, or None to answer."""


class ObjectServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []
        self.fault: Fault = lambda method, path: None
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that the test cut."""


@contextlib.contextmanager
def serving(handler: type[Handler]) -> Iterator[ObjectServer]:
    server = ObjectServer(handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectServer

    @abstractmethod
    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        """Reply to one request; one runs at a time."""

    @abstractmethod
    def fail(self, status: int) -> None:
        """Reply with an error as the real server words it."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return lambda: self._serve(name.removeprefix("do_"))
        raise AttributeError(name)

    def _serve(self, method: str) -> None:
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path).lstrip("/")
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
        body = self.body()
        with self.server.lock:
            self.server.requests.append(f"{method} {path}")
            status = self.server.fault(method, path)
        if status == 0:
            # Reset, not closed: as a machine that vanishes.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif status is not None:
            self.fail(status)
        else:
            with self.server.lock:
                self.answer(method, path, query, body)

    def listed(self, prefix: str, delimiter: str, after: str) -> tuple[list[str], list[str], str]:
        """Return a page of names and of common prefixes, and where the next page begins; empty at the end."""
        found: dict[str, bool] = {}  # name -> whether it is an object
        for key in sorted(self.server.objects):
            if key.startswith(prefix):
                inside, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
                found.setdefault(prefix + inside + cut, not cut)
        names = [name for name in found if name > after]
        page = names[:LARGEST_LIST]
        following = page[-1] if len(names) > len(page) else ""
        return [name for name in page if found[name]], [name for name in page if not found[name]], following

    def send(self, data: bytes, headers: dict[str, str]) -> None:
        """Reply with an object, or with the range of it that is asked for."""
        asked = self.headers.get("Range")
        status = 200
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            headers = {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"}
            status, data = 206, data[start : end + 1]
        self.reply(status, data, headers)

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
