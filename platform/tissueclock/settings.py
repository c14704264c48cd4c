"""What a study says of a sweep, each setting once: its name in the file, its bounds, its default, what it means.

Learning settings say what a trial means, and name the sweep; the budget says how much is wanted and on what, and
changing it continues the same sweep. A sweep's record holds these very objects.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from tissueclock.networks.settings import Precision

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Count = Annotated[int, Field(ge=1)]


def expand_home(path: str) -> str:
    """A path with `~` written out: the home folder of who reads the study.

    Raises:
        ValueError: It begins with `~` and the name of nobody known here.
    """
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise ValueError(f"no home folder of {path.partition('/')[0]} is known here; write it out") from None


AnyPath = Annotated[str, Field(pattern=r"^[^\x00]+$"), AfterValidator(expand_home)]


def is_number(text: str) -> bool:
    """Whether a word is how a finite number is spelled, although YAML did not read it as one."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _pin(value: Any) -> Any:
    is_word = isinstance(value, str) and not is_number(value)
    if is_word or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("allowed: a finite number, a word, true or false")


Pin = Annotated[str | int | float | bool, PlainValidator(_pin)]


def _as_part(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError("allowed: a list of a least and a largest number, or of two words and more")
    return tuple(value)


Part = Annotated[tuple[Pin, ...], BeforeValidator(_as_part)]


class Strict(BaseModel):
    """A part of the study file: no unknown keys, no other types, never changed."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


EQUIVALENCE_MARGIN = 0.05
"""AUC differences below it do not matter to a study that says none."""

REMOVED_SCHEDULERS: Mapping[str, str] = {
    "hyperband": "with fewer slots than trials it compared none and stopped none",
    "pbt": "what it promoted had the metrics, threshold and configuration of another trial's weights",
}
"""Schedulers of 0.1, and why each was removed."""


def _scheduler(value: Any) -> Any:
    if value in ("none", "asha", *REMOVED_SCHEDULERS):
        return value
    raise ValueError("allowed: none, asha")


SchedulerName = Annotated[str, PlainValidator(_scheduler)]


class SchedulerSettings(Strict):
    """What stops trials early, and how early.

    Attributes:
        name: `none` or `asha`. Studies of 0.1 could also say `hyperband` or `pbt`: what they left can be looked at, and
            no sweep is started.
        grace_epochs: No trial is stopped before this epoch.
        reduction_factor: One in this many trials survives a rung.
        perturb_epochs: Of `pbt`, and without effect.
    """

    name: SchedulerName = "asha"
    grace_epochs: Count = 3
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    perturb_epochs: Count = 3


class LearningSettings(Strict):
    """What a trial means, as far as `sweep` in the study file says it.

    Attributes:
        space: The search space's name, a module of `search_spaces`; None: the phase's.
        fix: Hyperparameters pinned by the study.
        narrow: Hyperparameters of which a part of what the space offers is searched: a least and a largest number, or
            the words that are left of a choice.
        epochs: Most epochs of a trial.
        patience: Epochs without a better one after which a trial ends by itself.
        searcher: `tpe`, `random` or `grid`.
        scheduler: What stops trials early.
        precision: `auto`, `float32` or `bfloat16`.
        folds: 1: the cohort's own validation patients judge an epoch. Else training and validation patients are dealt
            into so many folds, each of which judges a network that learned from the others; a trial trains them all in
            step and is judged by their mean.
        leave_one_site_out: Each fold is the patients of one site, who are judged by networks that saw nobody from
            there; `folds` is then the number of sites.
        seeds: How often each fold is learned, from fresh seeds.
        smooth: Where `folds` is 1: an epoch is judged by the objective's mean over it and those before it, so many in
            all; 1: each by itself. The best of many noisy epochs flatters itself. Folds average already.
    """

    space: Name | None = None
    fix: dict[str, Pin] = {}
    narrow: dict[str, Part] = {}
    epochs: Count = 100
    patience: Count = 15
    searcher: Literal["tpe", "random", "grid"] = "tpe"
    scheduler: SchedulerSettings = SchedulerSettings()
    precision: Precision = "auto"
    folds: Annotated[int, Field(ge=1, le=20)] = 1
    leave_one_site_out: bool = False
    seeds: Annotated[int, Field(ge=1, le=20)] = 1
    smooth: Annotated[int, Field(ge=1, le=20)] = 5

    @model_validator(mode="after")
    def _pins_or_narrows(self) -> "LearningSettings":
        if both := sorted(self.fix.keys() & self.narrow.keys()):
            raise ValueError(f"{both[0]} stands under fix and under narrow; what is pinned is not searched")
        return self

    @property
    def epochs_judged(self) -> int:
        """Epochs whose mean judges one."""
        return self.smooth if self.folds == 1 else 1

    @property
    def n_replicas(self) -> int:
        """Networks of a trial."""
        return self.folds * self.seeds


@dataclass(frozen=True, slots=True)
class Resources:
    """What one trial takes.

    Attributes:
        cpus: All its workers' together; at least a fraction of one.
        gpus: All its workers' together; 0.5: two trials share a device.
        workers: Processes that train it together, each on its part of a batch.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 1

    @property
    def devices(self) -> float:
        """What its hours are counted in: its GPUs, or its CPUs where it takes none."""
        return self.gpus or self.cpus

    @property
    def unit(self) -> str:
        """The unit of these: `GPU` or `CPU`."""
        return "GPU" if self.gpus else "CPU"


class Budget(Strict):
    """How much of a sweep is wanted, and on what.

    Attributes:
        trials: Trials asked for.
        promote: How many best checkpoints are promoted.
        confirm: How many of the best trials are learned again, from fresh seeds, before promotion ranks them by what
            these reach: the best of many owes part of its value to its seed. 0: none.
        confirm_seeds: Fresh seeds of each.
        contrast: Knobs that are changed, one at a time, in the winner's configuration, which is then learned again from
            the seeds that confirmed it: what each knob was worth. Needs `confirm`.
        max_concurrent: Most trials at once; None lets the resources decide.
        cpus_per_trial: All of a trial's workers' together; at least a tenth.
        gpus_per_trial: All of a trial's workers' together; 0.5: two trials share a device; 2: a trial has two.
        workers_per_trial: Processes of a trial; None: one for each whole GPU.
        time_budget_min: Minutes after which no further trial is started and running ones are stopped; None: no limit.
        max_failures: How often a trial that lost its worker or raised is taken up again from its last checkpoint.
        checkpoint_every: Epochs between two checkpoints; also written whenever the trial improves.
    """

    trials: Count = 24
    promote: Count = 3
    confirm: Annotated[int, Field(ge=0)] = 0
    confirm_seeds: Count = 2
    contrast: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    max_concurrent: Count | None = None
    cpus_per_trial: Annotated[float, Field(ge=0.1)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0.0)] = 0.0
    workers_per_trial: Count | None = None
    time_budget_min: Annotated[float, Field(gt=0)] | None = None
    max_failures: Annotated[int, Field(ge=0)] = 2
    checkpoint_every: Count = 1

    @model_validator(mode="after")
    def _gives_each_worker_whole_gpus(self) -> "Budget":
        if self.gpus_per_trial > 1 and self.gpus_per_trial % self.resources.workers:
            raise ValueError(
                f"gpus_per_trial above 1 must be a whole number for each of {self.resources.workers} workers"
            )
        return self

    @model_validator(mode="after")
    def _has_what_to_contrast_with(self) -> "Budget":
        if self.contrast and not self.confirm:
            raise ValueError(
                "contrast needs confirm, at least 1: a changed winner is held against the winner's own runs"
            )
        if len(set(self.contrast)) < len(self.contrast):
            raise ValueError(f"contrast names a knob twice: {', '.join(self.contrast)}")
        return self

    @property
    def confirming(self) -> int:
        """Runs after the search, at most: those that confirm the best trials, and those of the winner changed."""
        return self.confirming_of(self.confirm)

    def confirming_of(self, n_trials: int) -> int:
        """The same, where the search leaves so many trials."""
        return (min(self.confirm, n_trials) + len(self.contrast)) * self.confirm_seeds

    @property
    def resources(self) -> Resources:
        """What one trial takes."""
        workers = self.workers_per_trial or max(1, int(self.gpus_per_trial))
        return Resources(cpus=self.cpus_per_trial, gpus=self.gpus_per_trial, workers=workers)


class SweepSettings(LearningSettings, Budget):
    """The key `sweep` of a study file, and what `phases` overrides of it."""

    def learning(self) -> dict[str, Any]:
        """What of it is a learning setting."""
        return {name: getattr(self, name) for name in LearningSettings.model_fields}

    def budget(self) -> Budget:
        """What of it is budget."""
        return Budget(**{name: getattr(self, name) for name in Budget.model_fields})


class TrunkSettings(Strict):
    """How trials on a node share what frozen stages compute.

    Attributes:
        share: Whether they do; a trial learns the same without, only slower.
        folder: On each node's own disk; None is `tissueclock-trunks-UID` in its temporary folder.
        limit_gb: The most that it may take; what was used longest ago goes first.
    """

    share: bool = True
    folder: AnyPath | None = None
    limit_gb: Annotated[float, Field(gt=0.0)] = 20.0


class WeightsSettings(Strict):
    """First weights from a file.

    Attributes:
        file: The user's file.
        layout: Whose names and shapes it has; `auto` recognises the first three; `mapping`: any other state dict.
        mapping: Prefixes of names, theirs to ours, for `mapping`.
    """

    file: AnyPath
    layout: Literal["auto", "resnet18", "medicalnet", "models_genesis", "mapping"] = "auto"
    mapping: dict[str, str] = {}

    @model_validator(mode="after")
    def _maps_where_it_says_so(self) -> "WeightsSettings":
        if bool(self.mapping) != (self.layout == "mapping"):
            raise ValueError("layout mapping needs a mapping, and only it has one")
        return self

    def located(self, base: Path) -> "WeightsSettings":
        """The same with an absolute path."""
        return self.model_copy(update={"file": str((base / self.file).resolve())})
