"""One process at a time on a folder: a lock file that is let go when its process dies, however it dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tissueclock.errors import BusyError, StorageError

_WAIT_S = 0.5
_POLL_S = 0.05


@contextlib.contextmanager
def hold(lock: Path, *, what: str) -> Iterator[None]:
    """Holds a lock for this process; the file's folder is made where it is missing.

    Args:
        lock: The file.
        what: What a busy process is at work on, for the message: `study`, `folder`.

    Raises:
        BusyError: Another process holds it.
        StorageError: The folder cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("a+")
    except OSError as error:
        raise StorageError(f"{lock.parent}: cannot be written ({error.strerror})") from error
    with stream:
        until = time.monotonic() + _WAIT_S  # `is_held` holds it for an instant
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    stream.seek(0)
                    who = stream.read().strip()
                    raise BusyError(f"{lock.parent}: process {who} is at work on this {what}") from error
                time.sleep(_POLL_S)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def is_held(lock: Path) -> bool:
    """Whether some process holds the lock."""
    if not lock.exists():
        return False
    with lock.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
