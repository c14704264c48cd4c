"""The study file: YAML read to strict, frozen models, and expanded to the graph of sweeps.

Knows what a study says, not what a phase does: whether phases and spaces exist is for `plan` to ask.
"""

import shlex
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, Field, ValidationError

from tissueclock.errors import StudyError
from tissueclock.networks.settings import AnyNetwork
from tissueclock.records import SweepInputs, SweepSpec, WeightsFile
from tissueclock.settings import (
    EQUIVALENCE_MARGIN,
    AnyPath,
    Count,
    Name,
    Strict,
    SweepSettings,
    TrunkSettings,
    WeightsSettings,
    expand_home,
    is_number,
)
from tissueclock.storage.files import digest_file
from tissueclock.storage.folders import StudyFolder

_MOST_SHOWN = 80
_I_KIND = 2
"""Where pydantic names a network's kind in the path to a fault below `networks`: a study file has no such level."""


class ArmSettings(Strict):
    """One column of the comparison: a network, and where each phase's first weights come from, in the order trained.

    Attributes:
        network: One of `networks`, by name.
        phases: By phase, in the order trained, where its first weights come from: `random`, `previous` (the promoted
            checkpoints of the phase before), or one of `weights`, by name.
    """

    network: Name
    phases: Annotated[dict[Name, Name], Field(min_length=1)]


def _sqlite_parts(uri: str) -> tuple[str, str]:
    """Scheme and file of a `sqlite:///` URI; no file in any other."""
    scheme, _, path = uri.partition(":///")
    return scheme, path if scheme.partition("+")[0] == "sqlite" else ""


def _tracking_uri(uri: str) -> str:
    scheme, path = _sqlite_parts(uri)
    if path == ":memory:":
        raise ValueError("it would be gone with the command; allowed: sqlite:///FILE")
    return f"{scheme}:///{expand_home(path)}" if path else uri


class TrackingSettings(Strict):
    """Where MLflow's runs go.

    Attributes:
        uri: Any tracking URI; None: a SQLite file in the study folder. User and password never stand in it: they are in
            MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    """

    uri: Annotated[str, AfterValidator(_tracking_uri)] | None = None


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be read as a command line ({error})") from None
    if not words:
        raise ValueError("allowed: a program and its arguments")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        return text
    raise ValueError("allowed: an address that begins with http:// or https://")


class NotifySettings(Strict):
    """Whom to tell that a study ended; each is told once, with how it stands as JSON.

    Attributes:
        command: A program with arguments, as a shell would read them (but no shell does); JSON on its standard input.
        url: An address that takes a POST.
    """

    command: Annotated[str, AfterValidator(_command)] | None = None
    url: Annotated[str, AfterValidator(_web_address)] | None = None


class StudySettings(Strict):
    """The study file.

    Attributes:
        name: The study's, and its experiment's on the tracker.
        seed: From which every other seed is derived.
        cohort: The packed cohort's folder, relative to the study file, as all paths are.
        folder: Where everything goes; None: the study's name, beside the file.
        extensions: A lab's folder with `trainables/` and `search_spaces/` of its own.
        tracking: Where MLflow's runs go.
        trunks: How trials of a node share frozen stages.
        notify: Whom to tell at the end.
        budget_h: What the epochs of all sweeps may cost together, GPU-hours where trials take GPUs, else CPU-hours;
            shared out as sweeps start, by what is left of each. None: no limit.
        parallel_sweeps: Most sweeps at once; they share the machine's or the cluster's room.
        equivalence_margin: AUC differences below it do not matter to the study: the report tests for that.
        networks: What arms train, by a name of yours.
        weights: First weights from files of yours, by a name of yours.
        arms: The columns of the comparison, by a name of yours.
        sweep: What holds for every sweep, unless `phases` says otherwise.
        phases: By phase, single settings of `sweep` that differ there; `fix` and `narrow` are joined.
    """

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    cohort: AnyPath
    folder: AnyPath | None = None
    extensions: AnyPath | None = None
    tracking: TrackingSettings = TrackingSettings()
    trunks: TrunkSettings = TrunkSettings()
    notify: NotifySettings = NotifySettings()
    budget_h: Annotated[float, Field(gt=0)] | None = None
    parallel_sweeps: Count = 2
    equivalence_margin: Annotated[float, Field(gt=0, lt=1)] = EQUIVALENCE_MARGIN
    networks: Annotated[dict[Name, AnyNetwork], Field(min_length=1)]
    weights: dict[Name, WeightsSettings] = Field(default_factory=dict)
    arms: Annotated[dict[Name, ArmSettings], Field(min_length=1)]
    sweep: SweepSettings = SweepSettings()
    phases: dict[Name, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Study:
    """A study, resolved: paths absolute, arms expanded.

    Attributes:
        file: Where it was read from.
        settings: What it says.
        cohort: The packed cohort's folder.
        folder: Where everything that it makes lies.
        extensions: A lab's own phases and spaces, or None.
        vertices: The sweeps by vertex name, parents before children. `cohort_digest` is empty until `with_cohort`.
        arms: The vertices of each arm, in the order trained.
    """

    file: Path
    settings: StudySettings
    cohort: Path
    folder: StudyFolder
    extensions: Path | None
    vertices: Mapping[str, SweepSpec]
    arms: Mapping[str, tuple[str, ...]]

    @property
    def tracking_uri(self) -> str:
        """Where MLflow's runs go; a SQLite file is relative to the study file's folder, as all paths are."""
        uri = self.settings.tracking.uri or self.folder.default_tracking_uri
        scheme, path = _sqlite_parts(uri)
        return f"{scheme}:///{self.file.resolve().parent / path}" if path else uri

    def with_cohort(self, digest: str) -> "Study":
        """The same study with its cohort's identity known."""
        vertices, arms = _expand(self, digest)
        return replace(self, vertices=vertices, arms=arms)


def read_study(file: Path) -> Study:
    """Reads a study file.

    Args:
        file: YAML; relative paths in it are relative to its folder.

    Raises:
        StudyError: The file is missing or no YAML, a key is unknown, a value has the wrong type or is out of bounds, or
            an arm does not make sense.
    """
    settings = _parse(file, _load_yaml(file))
    base = file.resolve().parent
    study = Study(
        file=file,
        settings=settings,
        cohort=(base / settings.cohort).resolve(),
        folder=StudyFolder((base / (settings.folder or settings.name)).resolve()),
        extensions=None if settings.extensions is None else (base / settings.extensions).resolve(),
        vertices={},
        arms={},
    )
    return study.with_cohort("")


def _expand(study: Study, cohort_digest: str) -> tuple[dict[str, SweepSpec], dict[str, tuple[str, ...]]]:
    """Arms to vertices: two arms that agree up to a phase share its vertex."""
    vertices: dict[str, SweepSpec] = {}
    arms: dict[str, tuple[str, ...]] = {}
    for arm, settings in study.settings.arms.items():
        if settings.network not in study.settings.networks:
            raise StudyError(
                f"{study.file}: arms.{arm}.network is {settings.network!r}; networks has "
                f"{', '.join(study.settings.networks)}"
            )
        upstream: str | None = None
        names = []
        for phase, weights in settings.phases.items():
            if weights not in ("random", "previous", *study.settings.weights):
                named = "".join(f", {name}" for name in study.settings.weights)
                raise StudyError(
                    f"{study.file}: arms.{arm}.phases.{phase} is {weights!r}; allowed: random, previous{named} (files "
                    "named under weights)"
                )
            if weights == "previous" and upstream is None:
                raise StudyError(
                    f"{study.file}: arms.{arm}.phases.{phase} is 'previous', but no phase is before it; allowed: random"
                )
            spec = _spec(study, arm=arm, phase=phase, weights=weights, upstream=upstream, cohort_digest=cohort_digest)
            above = vertices[upstream].inputs if spec.inputs.upstream and upstream else spec.inputs
            for name in ("folds", "leave_one_site_out", "seeds"):
                if (own := getattr(spec.inputs, name)) != (theirs := getattr(above, name)):
                    raise StudyError(
                        f"{study.file}: phase {phase} has {name} {own}, but {above.phase}, which it starts from, has "
                        f"{theirs}; they are handed over one by one, so along an arm they must be the same"
                    )
            shared = vertices.get(spec.vertex, spec)
            vertices[spec.vertex] = replace(spec, arms=(*shared.arms, arm) if shared is not spec else (arm,))
            upstream = spec.vertex
            names.append(spec.vertex)
        arms[arm] = tuple(names)
    unused = sorted(set(study.settings.phases) - {spec.phase for spec in vertices.values()})
    if unused:
        raise StudyError(f"{study.file}: phases.{unused[0]} is set, but no arm trains that phase")
    if study.settings.budget_h is not None and len({spec.budget.resources.unit for spec in vertices.values()}) > 1:
        raise StudyError(
            f"{study.file}: budget_h counts GPU-hours or CPU-hours, but some phases take GPUs and others none; give "
            "all gpus_per_trial, or none"
        )
    return vertices, arms


def _spec(study: Study, *, arm: str, phase: str, weights: str, upstream: str | None, cohort_digest: str) -> SweepSpec:
    sweep = _sweep_settings(study.file, study.settings, phase)
    inputs = SweepInputs(
        **{
            **sweep.learning(),
            "phase": phase,
            "space": sweep.space or phase,
            "network": study.settings.networks[study.settings.arms[arm].network],
            "weights": weights,
            "weights_file": _weights_file(study, weights),
            "upstream": upstream if weights == "previous" else None,
            "cohort_digest": cohort_digest,
            "seed": study.settings.seed,
        }
    )
    return SweepSpec(
        inputs=inputs,
        budget=sweep.budget(),
        cohort=study.cohort,
        arms=(arm,),
        extensions=study.extensions,
        trunks=_trunks(study),
        study_budget_h=study.settings.budget_h,
    )


def _weights_file(study: Study, name: str) -> WeightsFile | None:
    if name not in study.settings.weights:
        return None
    settings = study.settings.weights[name].located(study.file.resolve().parent)
    path = Path(settings.file)
    return WeightsFile(settings=settings, digest=digest_file(path) if path.is_file() else "")


def _trunks(study: Study) -> TrunkSettings:
    """The settings, their folder absolute; it is each node's own, so it need not be here."""
    settings = study.settings.trunks
    if settings.folder is None:
        return settings
    return settings.model_copy(update={"folder": str(study.file.resolve().parent / settings.folder)})


def _sweep_settings(file: Path, settings: StudySettings, phase: str) -> SweepSettings:
    """`sweep` with what `phases` says of this phase in its place; `fix` and `narrow` are joined, not replaced.

    Of a hyperparameter the phase has the last word: what it pins is not narrowed by `sweep`, nor the other way round.
    """
    given = settings.phases.get(phase, {})
    base = settings.sweep.model_dump()
    joined = {**base, **given}
    for name, other in (("fix", "narrow"), ("narrow", "fix")):
        if isinstance(own := given.get(name, {}), dict):
            left = given.get(other)
            left = left if isinstance(left, dict) else {}
            joined[name] = {**{key: value for key, value in base[name].items() if key not in left}, **own}
    try:
        return SweepSettings.model_validate(joined)
    except ValidationError as error:
        raise StudyError(_one_line(file, error, prefix=f"phases.{phase}.")) from error


def _parse(file: Path, data: Any) -> StudySettings:
    if not isinstance(data, dict):
        raise StudyError(f"{file}: holds {type(data).__name__}; a study is a mapping with name, seed, cohort, …")
    try:
        return StudySettings.model_validate(data)
    except ValidationError as error:
        raise StudyError(_one_line(file, error)) from error


def _one_line(file: Path, error: ValidationError, prefix: str = "") -> str:
    first, *others = error.errors()
    loc = [str(part) for part in first["loc"]]
    kind = loc.pop(_I_KIND) if loc[:1] == ["networks"] and len(loc) > _I_KIND else ""
    key = (prefix + ".".join(loc)).rstrip(".")
    found, shown = first["input"], _clipped(repr(first["input"]))
    match first["type"]:
        case "union_tag_invalid":
            said = f"{key}.kind is {first['ctx']['tag']}; allowed: {first['ctx']['expected_tags']}"
        case "extra_forbidden" if kind:
            said = f"{key} is not a setting of a network of kind {kind}"
        case "extra_forbidden":
            said = f"{key} is not a key of a study"
        case "missing":
            said = f"{key} is missing"
        case "value_error" if isinstance(found, dict) or not loc:  # of several keys together: the message names them
            said = f"{key}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        case _:
            wanted = first["msg"].removeprefix("Value error, ")
            said = f"{key} is {shown} ({type(found).__name__}); {wanted[:1].lower()}{wanted[1:]}"
    if isinstance(found, str) and is_number(found):
        said += _yaml_hint(found)
    more = f" (and {len(others)} more)" if others else ""
    return f"{file}: {said}{more}"


def _yaml_hint(number: str) -> str:
    """Why YAML read a number as a word, and what to write."""
    mantissa, _, exponent = number.lower().partition("e")
    if not exponent:
        return "; without quotes it is a number"
    written = f"{float(mantissa)}e{int(exponent):+d}"
    return f"; YAML reads a number with an exponent only with a point and a sign: write {written}"


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice; PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or a mapping", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _load_yaml(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise StudyError(f"{file}: cannot be read ({why})") from error
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # what is no YAMLError: PyYAML stumbles over what looks like a date and is none, a wrong tag, a deep nest
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise StudyError(f"{file}{line}: not YAML ({getattr(error, 'problem', None) or error})") from error
