"""What can be said in a study, made from the code, so that it cannot differ from it.

`tissueclock explain` shows an entry; `reference_pages` writes all of them into the documentation.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tissueclock.learning.hyperparameters import ROWS, Hyperparameters, RadiomicsHyperparameters, Row
from tissueclock.networks.settings import AnyNetwork
from tissueclock.storage import folders
from tissueclock.study import StudySettings

_NETWORKS: Mapping[str, type[BaseModel]] = {
    kind.model_fields["kind"].default: kind for kind, *_ in map(get_args, get_args(get_args(AnyNetwork)[0]))
}
_FILES = (
    (folders.StudyFolder, "STUDY/"),
    (folders.SweepFolder, "STUDY/sweeps/SWEEP/"),
    (folders.TrialFolder, "STUDY/sweeps/SWEEP/trials/TRIAL/"),
    (folders.CheckpointFolder, "STUDY/sweeps/SWEEP/trials/TRIAL/epoch-EPOCH/"),
    (folders.PromotedFolder, "STUDY/sweeps/SWEEP/promoted/RANK/"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be said.

    Attributes:
        name: As it is written: `sweep.trials`, `lr`.
        default: In words; empty where it must be said.
        allowed: In words.
        meaning: A sentence or two.
    """

    name: str
    default: str
    allowed: str
    meaning: str


def study_keys() -> list[Entry]:
    """Every key of the study file, in its order; networks have pages of their own."""
    return list(_keys(StudySettings, ""))


def network_keys(kind: str) -> list[Entry]:
    """The settings of a kind of network."""
    return [entry for entry in _keys(_NETWORKS[kind], "") if entry.name != "kind"]


def network_kinds() -> dict[str, str]:
    """The kinds of network, and what each is."""
    return {kind: _first_line(model) for kind, model in _NETWORKS.items()}


def hyperparameters() -> list[Entry]:
    """Every hyperparameter."""
    kinds = (Hyperparameters, RadiomicsHyperparameters)
    defaults = {field.name: field.default for kind in kinds for field in fields(kind)}
    return [Entry(name, str(defaults[name]), _allowed_of_row(row), row.meaning) for name, row in ROWS.items()]


def files() -> list[Entry]:
    """Every file of a study's folder, with what it holds."""
    found = []
    for kind, where in _FILES:
        for name, value in inspect.getmembers(kind, lambda member: isinstance(member, property)):
            path = getattr(kind(Path("FOLDER")), name)
            if isinstance(path, Path):
                found.append(Entry(f"{where}{path.name}", "", "", inspect.getdoc(value) or ""))
    return found


def _keys(model: type[BaseModel], above: str) -> Iterator[Entry]:
    schema = model.model_json_schema()
    meanings = _meanings(model)
    for name, own in schema["properties"].items():
        key = f"{above}{name}"
        part = _part(model, name)
        if part is not None:
            of_many = own.get("type") == "object"  # by a name of the user's
            yield from _keys(part, f"{key}.NAME." if of_many else f"{key}.")
            continue
        default = "" if name in schema.get("required", ()) else _in_yaml(own.get("default", {}))
        yield Entry(key, default, _allowed(own), meanings.get(name, ""))


def _part(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of a key's value, where it has keys of its own; of kinds of networks there are several: none."""
    for kind in _types_in(model.model_fields[name].annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in _NETWORKS.values():
            return kind
    return None


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _types_in(inner)


def _meanings(kind: type) -> dict[str, str]:
    """What a class's docstring, and those that it inherits from, say of each attribute."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        section = (inspect.cleandoc(each.__doc__ or "") + "\n").partition("Attributes:\n")[2]
        section = re.split(r"\n(?=\S)", section)[0]
        for item in re.split(r"\n    (?=\S)", "\n" + section):
            name, colon, text = item.strip().partition(": ")
            if colon and name.isidentifier():
                found[name] = re.sub(r"\bNone\b", "null", " ".join(text.split()))
    return found


def _first_line(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _in_yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict() | list():
            return "none" if not value else ", ".join(map(str, value))
    return str(value)


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(filter(None, (_allowed(each) for each in schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    match schema.get("type"):
        case "null":
            return "null"
        case "boolean":
            return "true, false"
        case "integer" | "number" as kind:
            return ("a whole number" if kind == "integer" else "a number") + _range(schema)
        case "array":
            return f"a list: {_allowed(schema['items'])}".removesuffix(": ")
        case "object":
            return "a mapping"
        case "string":
            return "a name (a-z, 0-9, _)" if schema.get("pattern", "").startswith("^[a-z]") else "text"
    return ""


def _range(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    said = [f"{word} {schema[key]:.10g}" for key, word in words.items() if key in schema]
    said += [f"a multiple of {schema['multipleOf']}"] if "multipleOf" in schema else []
    return "".join(f", {each}" for each in said)


def _allowed_of_row(row: Row) -> str:
    if row.choices:
        return ", ".join(f"`{choice}`" for choice in row.choices)
    allowed = f"at least {row.least:g}" if row.most == float("inf") else f"{row.least:g} to {row.most:.6g}"
    return f"{allowed}, by its logarithm" if row.log else allowed
