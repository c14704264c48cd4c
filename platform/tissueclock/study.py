"""The study file: YAML read to strict, frozen models, and expanded to the graph of sweeps.

Knows what a study says, not what a phase does: whether phases and spaces exist is for `plan` to ask.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from tissueclock.errors import StudyError
from tissueclock.files import digest_file
from tissueclock.records import NetworkSpec, Resources, SchedulerSpec, StudyFolder, SweepSpec, TrunkSpec, WeightsFile

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Count = Annotated[int, Field(ge=1)]
_Path = Annotated[str, Field(pattern=r"^[^\x00]+$")]
_MOST_SHOWN = 80


def _pin(value: Any) -> Any:
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("allowed: a finite number, a word, true or false")


_Pin = Annotated[str | int | float | bool, PlainValidator(_pin)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


_InputName = Literal["b0", "b1000", "flair", "adc", "surround", "mirror"]


class NetworkSettings(_Strict):
    """A network of the study; see `tissueclock.records.NetworkSpec`."""

    kind: Literal["slice", "volume", "voxel"] = "slice"
    width: Annotated[int, Field(ge=4, le=256, multiple_of=4)] = 64
    stem_stride: Literal[1, 2, 4] = 4
    attn_level: Literal["A", "B", "C"] = "A"
    slice_pooling: Literal["position", "position_sigmoid", "logit_sum", "gated_mil", "max", "lse", "noisy_or"] = (
        "position"
    )
    readout: Literal["mean", "attended"] = "mean"
    read_at: Literal["stem", "layer1", "layer2", "layer3", "layer4"] = "stem"
    cell: Annotated[int, Field(ge=1, le=16)] = 2
    inputs: Annotated[tuple[_InputName, ...], Field(min_length=1, strict=False)] = ("b0", "b1000", "flair", "adc")
    mirror_cells: Literal[1, 3, 5, 7] = 3  # odd: windows are centred
    values: Literal["inputs", "features", "both"] = "inputs"

    @model_validator(mode="after")
    def _has_slices(self) -> "NetworkSettings":
        if self.kind == "volume" and (
            of_slices := {"stem_stride", "attn_level", "slice_pooling"} & self.model_fields_set
        ):
            raise ValueError(f"{min(of_slices)} is a setting of kind slice; kind volume has width alone")
        return self


class SchedulerSettings(_Strict):
    """What stops trials early; see `tissueclock.records.SchedulerSpec`."""

    name: Literal["none", "asha", "hyperband", "pbt"] = "asha"
    grace_epochs: _Count = 3
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    perturb_epochs: _Count = 3


class SweepSettings(_Strict):
    """How a sweep is run; see `tissueclock.records.SweepSpec`. `fix` pins hyperparameters."""

    trials: _Count = 24
    epochs: _Count = 100
    patience: _Count = 15
    promote: _Count = 3
    searcher: Literal["tpe", "random", "grid"] = "tpe"
    scheduler: SchedulerSettings = SchedulerSettings()
    max_concurrent: _Count | None = None
    cpus_per_trial: Annotated[float, Field(ge=0.1)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0.0)] = 0.0
    workers_per_trial: _Count | None = None
    time_budget_min: Annotated[float, Field(gt=0)] | None = None
    max_failures: Annotated[int, Field(ge=0)] = 2
    checkpoint_every: _Count = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    space: _Name | None = None
    fix: dict[str, _Pin] = {}

    @model_validator(mode="after")
    def _gives_each_worker_whole_gpus(self) -> "SweepSettings":
        if self.gpus_per_trial > 1 and self.gpus_per_trial % self.workers:
            raise ValueError(f"gpus_per_trial above 1 must be a whole number for each of {self.workers} workers")
        return self

    @property
    def workers(self) -> int:
        """One for each GPU, unless said otherwise."""
        return self.workers_per_trial or max(1, int(self.gpus_per_trial))


class WeightsSettings(_Strict):
    """First weights from a file; see `tissueclock.records.WeightsFile`."""

    file: _Path
    layout: Literal["auto", "resnet18", "medicalnet", "models_genesis", "mapping"] = "auto"
    mapping: dict[str, str] = {}

    @model_validator(mode="after")
    def _maps_where_it_says_so(self) -> "WeightsSettings":
        if bool(self.mapping) != (self.layout == "mapping"):
            raise ValueError("layout mapping needs a mapping, and only it has one")
        return self


class ArmSettings(_Strict):
    """One column of the comparison: a network, and where each phase's first weights come from, in the order trained."""

    network: _Name
    phases: Annotated[dict[_Name, _Name], Field(min_length=1)]


class TrunkSettings(_Strict):
    """How trials share what frozen stages compute; see `tissueclock.records.TrunkSpec`."""

    share: bool = True
    folder: _Path | None = None
    limit_gb: Annotated[float, Field(gt=0.0)] = 20.0


class TrackingSettings(_Strict):
    """Where MLflow's runs go: any tracking URI; None is a SQLite file in the study folder."""

    uri: str | None = None


class StudySettings(_Strict):
    """The study file.

    `phases` overrides single settings of `sweep` for the phases it names.
    """

    name: _Name
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    cohort: _Path
    folder: _Path | None = None
    extensions: _Path | None = None
    tracking: TrackingSettings = TrackingSettings()
    trunks: TrunkSettings = TrunkSettings()
    parallel_sweeps: _Count = 2
    networks: Annotated[dict[_Name, NetworkSettings], Field(min_length=1)]
    weights: dict[_Name, WeightsSettings] = {}
    arms: Annotated[dict[_Name, ArmSettings], Field(min_length=1)]
    sweep: SweepSettings = SweepSettings()
    phases: dict[_Name, dict[str, Any]] = {}


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
        """Where MLflow's runs go."""
        return self.settings.tracking.uri or self.folder.default_tracking_uri

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
            shared = vertices.get(spec.vertex, spec)
            vertices[spec.vertex] = replace(spec, arms=(*shared.arms, arm) if shared is not spec else (arm,))
            upstream = spec.vertex
            names.append(spec.vertex)
        arms[arm] = tuple(names)
    unused = sorted(set(study.settings.phases) - {spec.phase for spec in vertices.values()})
    if unused:
        raise StudyError(f"{study.file}: phases.{unused[0]} is set, but no arm trains that phase")
    return vertices, arms


def _spec(study: Study, *, arm: str, phase: str, weights: str, upstream: str | None, cohort_digest: str) -> SweepSpec:
    sweep = _sweep_settings(study.file, study.settings, phase)
    return SweepSpec(
        phase=phase,
        space=sweep.space or phase,
        network=NetworkSpec(**study.settings.networks[study.settings.arms[arm].network].model_dump()),
        weights=weights,
        upstream=upstream if weights == "previous" else None,
        fixed=sweep.fix,
        epochs=sweep.epochs,
        patience=sweep.patience,
        searcher=sweep.searcher,
        scheduler=SchedulerSpec(**sweep.scheduler.model_dump()),
        cohort=study.cohort,
        cohort_digest=cohort_digest,
        seed=study.settings.seed,
        precision=sweep.precision,
        weights_file=_weights_file(study, weights),
        arms=(arm,),
        trials=sweep.trials,
        promote=sweep.promote,
        max_concurrent=sweep.max_concurrent,
        resources=Resources(cpus=sweep.cpus_per_trial, gpus=sweep.gpus_per_trial, workers=sweep.workers),
        time_budget_min=sweep.time_budget_min,
        max_failures=sweep.max_failures,
        checkpoint_every=sweep.checkpoint_every,
        extensions=study.extensions,
        trunks=_trunks(study),
    )


def _weights_file(study: Study, name: str) -> WeightsFile | None:
    settings = study.settings.weights.get(name)
    if settings is None:
        return None
    path = (study.file.resolve().parent / settings.file).resolve()
    digest = digest_file(path) if path.is_file() else ""
    return WeightsFile(path=path, digest=digest, layout=settings.layout, mapping=settings.mapping)


def _trunks(study: Study) -> TrunkSpec:
    """The settings, their folder absolute; it is each node's own, so it need not be here."""
    settings = study.settings.trunks
    folder = None if settings.folder is None else (study.file.resolve().parent / settings.folder)
    return TrunkSpec(share=settings.share, folder=folder, limit_gb=settings.limit_gb)


def _sweep_settings(file: Path, settings: StudySettings, phase: str) -> SweepSettings:
    """`sweep` with what `phases` says of this phase in its place; `fix` is joined, not replaced."""
    given = settings.phases.get(phase, {})
    base = settings.sweep.model_dump()
    joined = {**base, **given}
    if isinstance(given.get("fix"), dict):
        joined["fix"] = {**base["fix"], **given["fix"]}
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
    key = prefix + ".".join(str(part) for part in first["loc"])
    found, shown = first["input"], _clipped(repr(first["input"]))
    match first["type"]:
        case "extra_forbidden":
            said = f"{key} is not a key of a study"
        case "missing":
            said = f"{key} is missing"
        case _:
            wanted = first["msg"].removeprefix("Value error, ")
            said = f"{key} is {shown} ({type(found).__name__}); {wanted[:1].lower()}{wanted[1:]}"
    if isinstance(found, str) and _is_number(found):
        said += "; YAML reads a number with an exponent only with a point and a sign: 1.0e-4"
    more = f" (and {len(others)} more)" if others else ""
    return f"{file}: {said}{more}"


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
