"""Whatever is given becomes a packed cohort, in the way of the model's own: DICOM, BIDS or derivatives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tissueclock.answering.model import Model
from tissueclock.channels import SeriesName
from tissueclock.cohort.manifest import REQUIRED_COLUMNS
from tissueclock.cohort.store import Cohort
from tissueclock.cohort.writer import FACTS
from tissueclock.errors import CohortError, ImageError, InputError, NobodyLeftError
from tissueclock.grid import make_grid
from tissueclock.imaging.bvalues import BValues
from tissueclock.imaging.derivatives import Derivatives, read_facts
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.imaging.preparation import Runner, prepare
from tissueclock.imaging.quality import far_outside
from tissueclock.imaging.quality_table import write_quality
from tissueclock.imaging.raw import list_subjects
from tissueclock.imaging.settings import PIPELINE, Reference, Settings
from tissueclock.packing import pack_cohort
from tissueclock.storage.files import digest_facts
from tissueclock.storage.tsv import MISSING, read_rows, write_rows


@dataclass(frozen=True, slots=True)
class Incoming:
    """Who is to be answered for.

    Attributes:
        cohort: Packed; None where nobody came through.
        refused: Who did not come through, and why.
        flags: By patient, what stands on the quality page.
    """

    cohort: Cohort | None
    refused: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def bring_in(
    source: Path,
    work: Path,
    *,
    model: Model,
    run: Runner,
    atlas: Path | None = None,
    atlas_mask: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Incoming:
    """Brings patients to the form that a model reads; the steps before are kept in `work`, and go on where they ended.

    Args:
        source: Derivatives of `tissueclock preprocess`, a BIDS folder, or a folder of DICOM.
        work: Where what is made goes: `bids/`, `preprocessed/`, `cohort-*/`.
        model: Whose settings and reference histogram are used.
        run: Runs many patients; see `prepare`.
        atlas: The user's, where the model's cohort had one.
        atlas_mask: Its mask.
        progress: Told the step, and how many of how many patients are through.

    Raises:
        InputError: The folder is none of these, or the model cannot be used on images that are not packed.
    """
    if not source.is_dir():
        raise CohortError(f"{source}: no such folder; a packed cohort, derivatives, BIDS or DICOM is needed")
    refused: dict[str, str] = {}

    def told(step: str) -> Callable[..., None]:
        return lambda done, total, *_: progress(step, done, total) if progress else None

    if Derivatives(source).settings.exists():
        derivatives = Derivatives(source)
    else:
        settings, reference = same_way(model, atlas=atlas, atlas_mask=atlas_mask)
        if is_dicom(source):
            report = ingest(
                source,
                work / "bids",
                key_file=key_file(work),
                b_values=settings.b_values,
                progress=told("files"),
            )
            refused |= {each.subject: f"ingest: {each.reason}" for each in report.patients if each.outcome == "refused"}
            source = work / "bids"
            if len(refused) == len(report.patients):
                return Incoming(None, refused)
        derivatives = Derivatives(work / "preprocessed")
        result = prepare(
            source, derivatives.path, settings=settings, run=run, reference=reference, progress=told("preprocess")
        )
        refused |= {subject: f"preprocess: {' '.join(str(e).split())}" for subject, e in result.failed.items()}
        write_participants(source, derivatives)
        write_quality(derivatives, failed=refused)
    allowed: tuple[SeriesName, ...] = ("flair",) if model.takes_missing_flair else ()
    return _pack(derivatives, work, refused, model=model, allow_missing=allowed, progress=told("pack"))


def is_dicom(source: Path) -> bool:
    """Whether a folder is taken for one of DICOM: it is no packed cohort, no derivatives, and has no `sub-*/`."""
    packed_or_prepared = (source / FACTS).exists() or Derivatives(source).settings.exists()
    return not packed_or_prepared and not any(path.is_dir() for path in source.glob("sub-*"))


def key_file(work: Path) -> Path:
    """Where `bring_in` keeps who is who of a folder of DICOM: private."""
    return work / "bids_key.tsv"


def _pack(
    derivatives: Derivatives,
    work: Path,
    refused: Mapping[str, str],
    *,
    model: Model,
    allow_missing: tuple[SeriesName, ...],
    progress: Callable[..., None],
) -> Incoming:
    """Packs whoever came through; a cohort of the same patients is there already when a command is run again."""
    done = sorted(patient.subject for patient in derivatives.done())
    if not done:
        return Incoming(None, refused)
    flags = {subject: own for subject, own in _flags(derivatives).items() if own}
    for subject in done:
        figures = read_facts(derivatives.patient(subject).facts, needed=("quality",))["quality"]["figures"]
        if odd := far_outside(figures, model.intake.quality):
            flags[subject] = (*flags.get(subject, ()), *odd)
    files = [derivatives.patient(subject).facts for subject in done]
    files += [table for table in (derivatives.participants, derivatives.quality_table) if table.exists()]
    made_of = {file.name: file.read_text(encoding="utf-8") for file in files}
    folder = work / f"cohort-{digest_facts({'made_of': made_of, 'allow_missing': allow_missing})[:12]}"
    try:
        packing = (
            None
            if folder.exists()
            else pack_cohort(derivatives.path, folder, distinct=False, allow_missing=allow_missing, progress=progress)
        )
    except NobodyLeftError as error:
        return Incoming(None, {**dict.fromkeys(done, str(error)), **refused}, flags)
    cohort = Cohort.open(folder)
    left = dict(cohort.source.get("left_out", {})) if packing is None else dict(packing.left)
    return Incoming(cohort, {**left, **refused}, flags)


def _flags(derivatives: Derivatives) -> dict[str, tuple[str, ...]]:
    rows = read_rows(derivatives.quality_table, required=("participant_id", "flags"))
    told = {row.cells["participant_id"]: row.cells["flags"] for row in rows}
    return {subject: () if text in ("", MISSING) else tuple(text.split("; ")) for subject, text in told.items()}


def write_participants(raw: Path, derivatives: Derivatives) -> None:
    """A table for `pack` where the raw folder has none, or one without onset and side: then nothing is known."""
    path = raw / "participants.tsv"
    if path.exists():
        try:
            read_rows(path, required=REQUIRED_COLUMNS)
        except InputError:
            pass
        else:
            return
    rows = [
        {"participant_id": subject, **dict.fromkeys(REQUIRED_COLUMNS[1:], MISSING)} for subject in list_subjects(raw)
    ]
    write_rows(derivatives.participants, columns=REQUIRED_COLUMNS, rows=rows)


def same_way(
    model: Model, *, atlas: Path | None = None, atlas_mask: Path | None = None
) -> tuple[Settings, Reference | None]:
    """How the model's own cohort was preprocessed, and whose histogram it has.

    Raises:
        CohortError: It was not preprocessed by us, or by another version.
        ImageError: The atlas is another one, or the back end is not installed.
    """
    told: dict[str, Any] | None = model.intake.preprocessing
    if told is None:
        raise CohortError(
            f"{model.name} was trained on images that tissueclock preprocess did not make (a packed phantom, it "
            "seems); give a packed cohort"
        )
    if told["pipeline"] != PIPELINE or "brain masks" in told:
        raise CohortError(
            f"{model.name}: its cohort was preprocessed by pipeline {told['pipeline']}"
            f"{' with brain masks of its own' if 'brain masks' in told else ''}; this is pipeline {PIPELINE}: "
            "give a packed cohort that was made in the same way"
        )
    settings = Settings(
        make_grid(model.intake.shape, model.intake.spacing_mm),
        atlas=atlas,
        atlas_mask=atlas_mask,
        backend="fsl" if told["backend"].startswith("FSL") else "ants",
        registration=told["registration"],
        b_values=BValues(told["b_s_mm2"], told["b_tolerance_s_mm2"]),
        matching=told["matching"],
    )
    if (found := settings.load_atlas()).digest != told["atlas"]["digest"]:
        raise ImageError(
            f"{model.name}: its cohort was registered to the atlas {told['atlas']['name']}, this is {found.name}: "
            "give --atlas the same file"
        )
    if model.intake.histogram is None:
        return settings, None
    quantiles = {name: tuple(values) for name, values in model.intake.histogram["quantiles"].items()}
    return settings, Reference(str(model.intake.histogram["subject"]), quantiles)
