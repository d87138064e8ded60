"""As much of Google Cloud Storage's JSON interface as a file system client uses, from Google's API reference."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.parse
from typing import Any

from .object_server import BUCKET, Handler

OBJECTS = f"storage/v1/b/{BUCKET}/o"
UPLOADS = f"upload/{OBJECTS}"


class GcsHandler(Handler):
    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        objects, uploads = self.server.objects, self.server.uploads
        key = path.removeprefix(f"{OBJECTS}/")
        if path == UPLOADS and method == "POST" and query.get("uploadType") == "resumable":
            upload = str(len(uploads))
            uploads[upload] = {}
            name = urllib.parse.quote(query.get("name") or json.loads(body)["name"], safe="")
            self.reply(200, headers={"Location": f"{self.server.endpoint}/{UPLOADS}?upload_id={upload}&name={name}"})
        elif path == UPLOADS and method == "PUT" and "upload_id" in query:
            self._receive(query["name"], uploads[query["upload_id"]], body)
        elif path == UPLOADS and method == "POST" and query.get("uploadType") == "media":
            objects[query["name"]] = body
            self._json(_metadata(query["name"], body))
        elif path == OBJECTS and method == "GET":
            names, prefixes, following = self.listed(
                query.get("prefix", ""), query.get("delimiter", ""), query.get("pageToken", "")
            )
            page: dict[str, Any] = {"kind": "storage#objects", "prefixes": prefixes}
            page["items"] = [_metadata(name, objects[name]) for name in names]
            self._json(page | ({"nextPageToken": following} if following else {}))
        elif not path.startswith(f"{OBJECTS}/") or key not in objects:
            self.fail(404)
        elif method == "DELETE":
            del objects[key]
            self.reply(204)
        elif query.get("alt") == "media":
            self.send(objects[key], {"x-goog-generation": "1", "Content-Type": "application/octet-stream"})
        else:
            self._json(_metadata(key, objects[key]))

    def fail(self, status: int) -> None:
        self._json({"error": {"code": status, "message": "as the test asked", "errors": []}}, status=status)

    def _receive(self, name: str, received: dict[int, bytes], body: bytes) -> None:
        """Take a piece of a resumable upload; the object is there once its last byte is."""
        whole = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"])
        assert whole is not None
        if body:
            received[int(whole[1])] = body
        size = sum(map(len, received.values()))
        if whole[2] == "*" or size < int(whole[2]):
            self.reply(308, headers={"Range": f"bytes=0-{size - 1}"} if size else {})
        else:
            self.server.objects[name] = b"".join(received[start] for start in sorted(received))
            self._json(_metadata(name, self.server.objects[name]))

    def _json(self, value: Any, *, status: int = 200) -> None:
        self.reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _metadata(name: str, data: bytes) -> dict[str, str]:
    return {
        "kind": "storage#object",
        "bucket": BUCKET,
        "name": name,
        "size": str(len(data)),
        "generation": "1",
        "metageneration": "1",
        "md5Hash": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
        "timeCreated": "2026-01-01T00:00:00Z",
        "updated": "2026-01-01T00:00:00Z",
    }
