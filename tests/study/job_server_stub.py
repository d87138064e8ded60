"""A job server that keeps what it is told: enough of Ray's HTTP interface for submit, list, ask and stop."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JobServerStub(ThreadingHTTPServer):
    """Asks for ``token`` unless that is None."""

    daemon_threads = True

    def __init__(self, *, token: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.mode: Any = {"authentication_mode": "disabled" if token is None else "token"}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.uploads: list[bytes] = []
        self.secrets_seen_unasked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, *, status: str, **metadata: str) -> None:
        self.jobs[name] = {
            "type": "SUBMISSION",
            "submission_id": name,
            "status": status,
            "entrypoint": "",
            "metadata": metadata,
            "start_time": len(self.jobs),
            "runtime_env": {},
        }


@contextlib.contextmanager
def job_server_stub(*, token: str | None) -> Iterator[JobServerStub]:
    server = JobServerStub(token=token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: JobServerStub

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, value: Any, code: int = 200) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _handle(self) -> None:
        server, path = self.server, self.path.rstrip("/")
        server.requests.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        secret = self.headers.get("Authorization")
        if path == "/api/authentication_mode":
            if secret:
                server.secrets_seen_unasked.append(secret)
            code, value = (200, server.mode) if not isinstance(server.mode, int) else (server.mode, {})
            return self._answer(value, code)
        if server.token is not None and secret != f"Bearer {server.token}":
            return self._answer(b"no", 403 if secret else 401)
        if server.token is None and secret:
            server.secrets_seen_unasked.append(secret)
        if path == "/api/version":
            return self._answer({"version": "4", "ray_version": "2.60.0", "ray_commit": "x"})
        if path.startswith("/api/packages/"):
            if self.command == "PUT":
                server.uploads.append(body)
                return self._answer({})
            return self._answer({}, 404)
        if path == "/api/jobs" and self.command == "POST":
            job = json.loads(body)
            server.add(job["submission_id"], status="RUNNING", **job["metadata"])
            server.jobs[job["submission_id"]].update(job)
            return self._answer({"submission_id": job["submission_id"], "job_id": job["submission_id"]})
        if path == "/api/jobs":
            return self._answer(list(server.jobs.values()))
        name = path.split("/")[3]
        if path.endswith("/stop"):
            server.jobs[name]["status"] = "STOPPED"
            return self._answer({"stopped": True})
        return self._answer(server.jobs[name])

    do_GET = do_POST = do_PUT = _handle
