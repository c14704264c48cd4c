"""One process at a time: a lock on a file that is let go when its process dies, however it dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tissueclock.errors import BusyError, StorageError

_WAIT_S = 0.5
_POLL_S = 0.05


@contextlib.contextmanager
def hold(lock: Path, *, what: str, shared: bool = False) -> Iterator[None]:
    """Holds a lock for this process; the file's folder is made where it is missing.

    Args:
        lock: The file.
        what: What a busy process is at work on, for the message: `study`, `folder`.
        shared: Whether others who share it may hold it, too.

    Raises:
        BusyError: Another process holds it, or others share what is wanted for this one alone.
        StorageError: The folder cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("a+")
    except OSError as error:
        raise StorageError(f"{lock.parent}: cannot be written ({error.strerror})") from error
    with stream:
        if not try_lock(stream, wait_s=_WAIT_S, shared=shared):  # `is_held` holds it for an instant
            stream.seek(0)
            who = stream.read().strip()
            raise BusyError(f"{lock.parent}: process {who} is at work on this {what}")
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


@contextlib.contextmanager
def wait_for(lock: Path) -> Iterator[None]:
    """Holds a lock on a file that nobody reads, however long another process holds it; its folder must be there."""
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def try_lock(stream: IO[Any], *, wait_s: float, shared: bool = False) -> bool:
    """Locks an open file until it is closed; whether that was to be had within `wait_s` seconds."""
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
        else:
            return True


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
