"""A study folder that was moved takes its artifacts along: the store names them by absolute paths.

MLflow has no call that changes where an experiment's artifacts lie, so this writes to the store's tables; only where
the store is a database that we open ourselves, not a server that keeps artifacts of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PLACES = (
    ("experiments", "experiment_id", "artifact_location"),
    ("runs", "run_uuid", "artifact_uri"),
    ("logged_models", "model_id", "artifact_location"),
    ("model_versions", "name, version", "source"),
    ("model_versions", "name, version", "storage_location"),
)
"""Tables of mlflow 3.17, their keys, and the columns that hold a place."""


def relocate(uri: str, *, experiment: str, artifact_root: str, is_own: bool) -> str | None:
    """Lets an experiment's artifacts lie where the study folder lies now.

    Args:
        uri: The store: a database.
        experiment: The experiment's name.
        artifact_root: Where artifacts lie now, a `file:` URI.
        is_own: Whether the store lies in the study folder, and so has moved, or was copied, with it. In a store that
            others share, a place that is still a folder may be another study's of the same name, and is left alone.

    Returns:
        Where they lay before; None if nothing was moved: the experiment is new, or its artifacts are still there.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        with engine.begin() as connection:
            found = connection.execute(
                sqlalchemy.text("SELECT artifact_location FROM experiments WHERE name = :name"), {"name": experiment}
            ).scalar()
            if found is None or not found.startswith("file:") or _folder(found) == _folder(artifact_root):
                return None
            if not is_own and _folder(found).is_dir():
                return None
            for table, key, column in _PLACES:
                _replace(connection, table, key.split(", "), column, before=found, after=artifact_root)
            return str(found)
    finally:
        engine.dispose()


def _folder(uri: str) -> Path:
    return Path(uri.removeprefix("file://")).resolve()


def _replace(connection: Any, table: str, keys: Sequence[str], column: str, *, before: str, after: str) -> None:
    from sqlalchemy import text

    names = ", ".join((*keys, column))
    where = " AND ".join(f"{name} = :{name}" for name in keys)
    found = connection.execute(text(f"SELECT {names} FROM {table}")).mappings().all()  # noqa: S608 (names of ours)
    for row in found:
        if (place := row[column]) == before or str(place).startswith(f"{before}/"):
            moved = {**{name: row[name] for name in keys}, "place": after + place.removeprefix(before)}
            connection.execute(text(f"UPDATE {table} SET {column} = :place WHERE {where}"), moved)  # noqa: S608
