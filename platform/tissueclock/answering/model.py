"""What is asked for an answer: one promoted checkpoint, or those along an arm of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tissueclock.answering.judging import Judges, fit_side_temperature, measure_coverage, read_judges
from tissueclock.comparing.scores import read_scores
from tissueclock.errors import CheckpointError, StudyError
from tissueclock.networks.settings import can_do_without_flair
from tissueclock.storage.folders import PromotedFolder, StudyFolder
from tissueclock.storage.ledger import read_ledger
from tissueclock.training.intake import Intake, read_intake


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question's promoted checkpoints.

    Attributes:
        phase: That they were promoted by.
        onset_before_min: The cut; None for detection.
        folders: The best first, which answers; how far the others differ is told.
        judges: Of the best.
        takes_missing_flair: Whether their networks can read a patient without FLAIR.
    """

    phase: str
    onset_before_min: float | None
    folders: tuple[PromotedFolder, ...]
    judges: Judges
    takes_missing_flair: bool


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """All that answers for a patient.

    Attributes:
        name: For people.
        intake: What the cohort was like.
        detection: Chooses the hemisphere; None where only an onset checkpoint is at hand.
        onset: By cut, the lowest first; empty where only detection is at hand.
        side_temperature: Of the difference between the halves' logits; 1 without detection.
    """

    name: str
    intake: Intake
    detection: Asked | None
    onset: tuple[Asked, ...]
    side_temperature: float

    @property
    def takes_missing_flair(self) -> bool:
        """Whether a patient without FLAIR can be answered for."""
        return all(asked.takes_missing_flair for asked in (self.detection, *self.onset) if asked is not None)


def describe_coverage(model: Model, *, error_rate: float) -> list[str]:
    """How each onset checkpoint met the error rate on the holdout of its own cohort, a sentence each."""
    lines = []
    for asked in model.onset:
        holdout = read_scores(asked.folders[0].holdout_scores)
        found = measure_coverage(asked.judges, holdout, error_rate=error_rate)
        right, told = found.right, found.told
        lines.append(
            f"Onset below {(asked.onset_before_min or 0) / 60:g} h, on {len(holdout.units)} patients held out of the "
            f"model's cohort: a wrong answer was told to {1 - right.value:.0%} "
            f"[{1 - right.interval.high:.0%}, {1 - right.interval.low:.0%}], and any to {told.value:.0%}."
        )
    return lines


def model_of_checkpoint(promoted: PromotedFolder) -> Model:
    """One checkpoint as a model.

    Raises:
        InputError: It is no scored checkpoint of a phase that answers a question.
    """
    asked = _asked((promoted,))
    return _model(f"{asked.phase} ({promoted.path})", [asked])


def model_of_arm(study: StudyFolder, arm: str | None) -> Model:
    """The checkpoints along an arm: detection, and of each onset cut the last phase's.

    Args:
        study: A study folder; every sweep that is used must be complete.
        arm: Which; may be left out where there is one alone.

    Raises:
        InputError: There is no such arm, nothing of it is scored, or a file is damaged.
    """
    graph = study.read_graph()
    arms = list(graph["arms"])
    if arm is None and len(arms) > 1:
        raise StudyError(f"{study.path}: --arm is needed; allowed: {', '.join(arms)}")
    arm = arm if arm is not None else arms[0]
    if arm not in arms:
        raise StudyError(f"{study.path}: --arm is {arm!r}; allowed: {', '.join(arms)}")
    found = []
    for name in graph["arms"][arm]:
        sweep = study.sweep(name)
        ranks = sorted(read_ledger(sweep.ledger).promoted)
        folders = tuple(sweep.promoted(rank) for rank in ranks)
        if folders and folders[0].holdout.is_file():
            found.append(_asked(folders))
    if not found:
        raise CheckpointError(
            f"{study.path}: nothing of arm {arm} is promoted and scored yet; tissueclock status tells"
        )
    return _model(f"arm {arm} of {graph['study']}", found)


def _model(name: str, asked: Sequence[Asked]) -> Model:
    by_cut = {one.onset_before_min: one for one in asked}  # of one question the last phase's
    detection = by_cut.pop(None, None)
    onset = tuple(by_cut[cut] for cut in sorted(cut for cut in by_cut if cut is not None))
    last = onset[-1] if onset else detection
    assert last is not None  # noqa: S101 (`asked` is not empty)
    temperature = (
        1.0
        if detection is None
        else fit_side_temperature(detection.judges.scores, read_scores(detection.folders[0].holdout_scores))
    )
    return Model(name, read_intake(last.folders[0]), detection, onset, temperature)


def _asked(folders: tuple[PromotedFolder, ...]) -> Asked:
    best = folders[0]
    trial: dict[str, Any] = best.read_trial()
    if "threshold" not in trial["metrics"]:
        raise CheckpointError(
            f"{best.path}: a checkpoint of phase {trial['phase']}, which answers no question; name one that does"
        )
    holdout = best.read_holdout("threshold")
    cut = holdout.get("onset_before_min")
    if cut is None and holdout["unit"] != "hemisphere":
        raise CheckpointError(f"{best.path}: phase {trial['phase']} asks neither for a lesion nor for an onset")
    judges = read_judges(best, n_folds=trial.get("folds", 1))
    without = all(can_do_without_flair(each.read_trial()["network"].get("inputs", ())) for each in folders)
    return Asked(str(trial["phase"]), None if cut is None else float(cut), folders, judges, without)
