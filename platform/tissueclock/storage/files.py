"""Files that are whole or absent: written under a temporary name, synced, renamed; and their digests.

Knows nothing of what the files hold.
"""

import contextlib
import errno
import glob
import gzip
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tissueclock.errors import DiskFullError, InputError, StorageError

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
    except StorageError:  # a file of the folder to be has said what is wrong
        raise
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        _remove(temporary)


def storage_error(target: Path, error: OSError) -> StorageError:
    """What to raise where a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"disk full: {target} cannot be written; make room, and run the same command again")
    return StorageError(f"{target}: cannot be written ({error.strerror or error})")


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


def read_json(
    path: Path,
    *,
    schema: int | None = None,
    needed: Sequence[str] = (),
    error: type[InputError] = InputError,
    missing: str = "no such file",
) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: The file.
        schema: The value that its key `schema` must have; None: it may have any, or none.
        needed: Keys that must be there.
        error: What is raised.
        missing: What is said of a file that is not there.

    Raises:
        InputError: The file is missing, is not a JSON object or has another schema, lacks a key, or holds a number that
            JSON does not know (NaN, infinity).
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{path}: {missing}") from None
    except (OSError, ValueError) as fault:
        raise error(f"{path}: cannot be read as JSON ({fault})") from fault
    if not isinstance(facts, dict):
        raise error(f"{path}: a JSON {type(facts).__name__} found; an object is allowed")
    if schema is not None and facts.get("schema") != schema:
        raise error(f"{path}: schema {facts.get('schema')!r} found; this version reads schema {schema}")
    if lacking := [key for key in needed if key not in facts]:
        raise error(f"{path}: key {', '.join(lacking)} missing; needed: {', '.join(needed)}")
    return facts


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


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


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
