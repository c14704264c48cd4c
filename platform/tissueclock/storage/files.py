"""Files that are whole or absent: written under a temporary name, synced, renamed; and their digests.

Knows nothing of what the files hold.
"""

import contextlib
import glob
import gzip
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tissueclock.errors import StorageError

_CHUNK_BYTES = 1 << 22
_GZIP_LEVEL = 5


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`, which becomes `target` if the block ends well and is removed if not.

    Args:
        target: The file (or folder) to be; its parent is made where it is missing.

    Yields:
        A path in the same folder that does not exist yet.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_file():
            _sync(temporary)
        temporary.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        _remove(temporary)


def clear_remains(folder: Path, prefix: str = "") -> None:
    """Removes what a killed process was writing into a folder under temporary names; no other may be at work there.

    Args:
        folder: Where.
        prefix: With which the names that were to be begin.
    """
    for remains in folder.glob(f".{glob.escape(prefix)}*.part"):
        _remove(remains)


def write_text(target: Path, text: str) -> None:
    """Writes `text` to `target`, whole or not at all.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, facts: Mapping[str, Any]) -> None:
    """Writes `facts` to `target` as indented JSON with sorted keys, whole or not at all.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    write_text(target, json.dumps(facts, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_gzip(target: Path, payload: bytes) -> None:
    """Writes `payload` gzipped, whole or not at all, without name and time: equal payloads are equal bytes.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    with (
        atomic_path(target) as temporary,
        temporary.open("wb") as stream,
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=_GZIP_LEVEL, mtime=0) as packed,
    ):
        packed.write(payload)


def digest_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal (64 characters)."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def digest_facts(facts: Any) -> str:
    """The SHA-256 of JSON facts in their canonical form (sorted keys, no blanks), in hexadecimal."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _remove(child)
        path.rmdir()
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
