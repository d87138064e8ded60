"""Waiting out the trouble of a storage that is reached over a network."""

from __future__ import annotations

import dataclasses
import errno
import functools
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar, final

T = TypeVar("T")

_LASTING = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
# Codes of S3 and Google Cloud Storage, as pyarrow quotes them.
_LASTING_WORDS = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|"
    r"UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|ExpiredToken|HTTP status 40[013]|PERMISSION_DENIED|UNAUTHENTICATED|"
    r"PermanentRedirect|HTTP status 301|[Bb]ucket.*not found|[Cc]ould not (find|create).*credentials"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How long failures are waited out: pauses double from the first to the longest, until the total is spent."""

    total_seconds: float = 600.0
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0

    def persist(
        self,
        action: Callable[[], T],
        *,
        waiting: Callable[[OSError, float], None] = lambda *_: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> T:
        """Return what ``action`` returns, tried again after each failure that may pass.

        Args:
            action: what to do.
            waiting: told each failure before the pause that follows, and how many seconds that pause lasts.
            sleep: waits for some seconds.
            clock: seconds from any moment on, which never go back.

        Raises:
            OSError: the last failure, once the total is spent; at once, if it is one that lasts.
        """
        until = clock() + self.total_seconds
        pause = self.first_pause_seconds
        while True:
            try:
                return action()
            except OSError as error:
                left = until - clock()
                if is_lasting(error) or left <= 0:
                    raise
                pause = min(pause, left)
                waiting(error, pause)
            sleep(pause)
            pause = min(2 * pause, self.longest_pause_seconds)


TEN_MINUTES = Patience()
ONE_MINUTE = Patience(total_seconds=60.0)
NO_PATIENCE = Patience(total_seconds=0.0)


@final
class PatientFileSystem:
    """A file system of fsspec's, each of whose calls is tried again after a failure that may pass."""

    def __init__(self, filesystem: Any, patience: Patience) -> None:
        """Stand before ``filesystem``."""
        self._filesystem = filesystem
        self._patience = patience

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._filesystem, name)
        return functools.partial(self._persist, found) if callable(found) else found

    def _persist(self, call: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        return self._patience.persist(lambda: call(*arguments, **keywords))


def is_lasting(error: OSError) -> bool:
    """Return whether waiting can't help: no such file, no right, no space."""
    lasting = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, lasting) or error.errno in _LASTING or bool(_LASTING_WORDS.search(str(error)))
