"""What `cohort.json` says, read strictly: every key there, every value of its kind.

Knows nothing of the files that the facts describe.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tissueclock.channels import SERIES
from tissueclock.cohort.writer import HEMISPHERES, MANIFEST, SCHEMA, TABLE
from tissueclock.errors import CohortError
from tissueclock.storage.files import read_json

_AXES = ("n_slices", "height", "width")
_FILES = (HEMISPHERES, TABLE, MANIFEST)


def read_facts(path: Path) -> dict[str, Any]:
    """Reads `cohort.json`.

    Raises:
        CohortError: The file is missing, not JSON or of an unknown schema, lacks a key, or a value is not of its kind.
    """
    missing = "no such file; a packed cohort has one"
    facts = read_json(path, schema=SCHEMA, needed=tuple(_KINDS), error=CohortError, missing=missing)
    for key, (fits, allowed) in _KINDS.items():
        if not fits(facts[key]):
            raise CohortError(f"{path}: {key} {facts[key]!r} found; allowed: {allowed}")
    return facts


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_distance(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _has_texts(value: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in keys)


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "a text"),
    "series": (lambda value: value == list(SERIES), f"{list(SERIES)}"),
    "shape": (
        lambda value: isinstance(value, dict) and all(_is_count(value.get(axis)) for axis in _AXES),
        f"{', '.join(_AXES)}, each a whole number above 0",
    ),
    "spacing_mm": (
        lambda value: isinstance(value, list) and len(value) == len(_AXES) and all(map(_is_distance, value)),
        "three numbers above 0",
    ),
    "n_patients": (_is_count, "a whole number above 0"),
    "n_hemispheres": (_is_count, "a whole number above 0"),
    "split": (lambda value: _has_texts(value, ("digest",)), "the split's digest, seed and fractions"),
    "digests": (lambda value: _has_texts(value, _FILES), f"the SHA-256 of {', '.join(_FILES)}"),
    "source": (lambda value: isinstance(value, dict), "facts on where the cohort comes from"),
}
