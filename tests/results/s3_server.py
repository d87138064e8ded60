"""As much of S3's REST interface as a file system client uses, from Amazon's "S3 API Reference"; no signatures."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from typing import IO
from xml.sax.saxutils import escape, unescape

from .object_server import BUCKET, Handler

CODES = {403: "AccessDenied", 404: "NoSuchBucket", 500: "InternalError", 503: "SlowDown"}


class S3Handler(Handler):
    def body(self) -> bytes:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = b"".join(_chunks(self.rfile)) if chunked else super().body()
        # Amazon's own chunks lie inside of HTTP's, with checksums behind the last.
        signed = self.headers.get("x-amz-content-sha256", "").startswith("STREAMING")
        return b"".join(_chunks(io.BytesIO(body))) if signed else body

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        objects, uploads = self.server.objects, self.server.uploads
        bucket, _, key = path.partition("/")
        if bucket != BUCKET:
            self.fail(404)
        elif not key and method == "GET":
            self._list(query)
        elif not key and method == "HEAD":
            self.reply(200)
        elif not key and method == "POST" and "delete" in query:
            deleted = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body.decode())]
            for name in deleted:
                objects.pop(name, None)
            self._xml("DeleteResult", "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in deleted))
        elif method == "POST" and "uploads" in query:
            upload = str(len(uploads))
            uploads[upload] = {}
            inside = f"<Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            self._xml("InitiateMultipartUploadResult", inside)
        elif method == "PUT" and "uploadId" in query:
            uploads[query["uploadId"]][int(query["partNumber"])] = body
            self.reply(200, headers={"ETag": _etag(body)})
        elif method == "POST" and "uploadId" in query:
            parts = uploads.pop(query["uploadId"])
            objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._xml("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key><ETag>{_etag(objects[key])}</ETag>")
        elif method == "DELETE" and "uploadId" in query:
            uploads.pop(query["uploadId"], None)
            self.reply(204)
        elif method == "PUT":
            objects[key] = body
            self.reply(200, headers={"ETag": _etag(body)})
        elif method == "DELETE":
            objects.pop(key, None)
            self.reply(204)
        elif key not in objects:
            self._error(404, "NoSuchKey")
        else:
            headers = {"ETag": _etag(objects[key]), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            self.send(objects[key], {**headers, "Accept-Ranges": "bytes"})

    def fail(self, status: int) -> None:
        self._error(status, CODES[status])

    def _list(self, query: dict[str, str]) -> None:
        prefix = query.get("prefix", "")
        names, prefixes, following = self.listed(
            prefix, query.get("delimiter", ""), query.get("continuation-token", "")
        )
        parts = [f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(names) + len(prefixes)}</KeyCount>"]
        parts.append(f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>")
        parts += [f"<NextContinuationToken>{escape(following)}</NextContinuationToken>"] if following else []
        for name in names:
            data = self.server.objects[name]
            parts.append(
                f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size><ETag>{_etag(data)}</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        parts += [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in prefixes]
        self._xml("ListBucketResult", "".join(parts))

    def _xml(self, root: str, inside: str, *, status: int = 200) -> None:
        page = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inside}</{root}>'
        self.reply(status, page.encode(), {"Content-Type": "application/xml"})

    def _error(self, status: int, code: str) -> None:
        self._xml("Error", f"<Code>{code}</Code><Message>as the test asked</Message>", status=status)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass  # trailers


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
