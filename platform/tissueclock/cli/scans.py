"""The commands from the scanner to the packed cohort: `ingest`, `preprocess`, `pack`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.markup import escape
from rich.table import Table

from tissueclock.cli.console import Grid, RayAddress, console, one_of, parse_grid, say, show_progress
from tissueclock.cli.ray_tasks import on_ray
from tissueclock.errors import InputError, TissueclockError

if TYPE_CHECKING:
    from tissueclock.imaging.preparation import Preparation
    from tissueclock.imaging.quality_table import JudgedPatient

BValue = Annotated[float, typer.Option("--b", min=200, help="The b-value wanted beside b0, s/mm2.")]
BTolerance = Annotated[float, typer.Option(min=0, help="How far the nearest b-value may lie from it, s/mm2.")]
DuplicatesOption = Annotated[
    str,
    typer.Option(
        "--duplicates",
        help="Of two candidates for one series take: refuse, first or last; or by patient, as a table says (TSV with "
        "participant_id and take).",
    ),
]
DuplicatesOrTable = Annotated[
    str,
    typer.Option(
        "--duplicates",
        help="Of two candidates for one series take: refuse, first or last; or by patient, as a table says (TSV with "
        "participant_id, role: dwi, b0, adc or flair, take: first, last, SeriesNumber or SeriesInstanceUID).",
    ),
]
MOST_LISTED = 12


def ingest(
    source: Annotated[Path, typer.Argument(help="A folder of DICOM, of one or many patients.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The BIDS folder to write, or to add to.", show_default=False)],
    key: Annotated[
        Path | None, typer.Option(help="The table patient to subject; private. Default: TARGET_key.tsv beside TARGET.")
    ] = None,
    b: BValue = 1000.0,
    b_tolerance: BTolerance = 300.0,
    duplicates: DuplicatesOrTable = "refuse",
) -> None:
    """Turn DICOM into BIDS without names: b0, b1000 and FLAIR of every patient."""
    from tissueclock.imaging.bvalues import BValues, flags
    from tissueclock.imaging.dicom.ingest import ingest as ingest_folder

    target = target.absolute()
    b_values = BValues(b, b_tolerance)
    with show_progress("files") as told:
        report = ingest_folder(
            source,
            target,
            key_file=key or target.with_name(f"{target.name}_key.tsv"),
            b_values=b_values,
            duplicates=_word_or_table(duplicates),
            progress=lambda done, total: told(done, total, ""),
        )
    table = Table(title="patients", title_justify="left")
    for column in ("subject", "", "taken", "left", "why"):
        table.add_column(column)
    for patient in report.patients:
        taken = ", ".join(f"{line.taken_as} ({line.name})" for line in patient.series if line.taken_as)
        left = [line for line in patient.series if not line.taken_as]
        table.add_row(patient.subject, patient.outcome, taken, str(len(left)), escape(patient.reason))
    console.print(table)
    _list_remarks(report.patients)
    _list_left(report.patients)
    n_lost = _list_lost(report.patients)
    for line in report.damaged_files[:MOST_LISTED]:
        say(f"  of nobody known: {line}")
    if len(report.damaged_files) > MOST_LISTED:
        say(f"  ... and {len(report.damaged_files) - MOST_LISTED} more, in the list of every series")
    for reason, n_files in sorted(report.left_files.items()):
        say(f"  {n_files} files left: {reason}")
    n_refused = sum(patient.outcome == "refused" for patient in report.patients)
    n_there = len(report.patients) - n_refused
    say(f"{target}: {sum(p.outcome == 'written' for p in report.patients)} patients written")
    say(f"  who they are (private, mode 0600): {report.key_file}; every series: {report.log_file}")
    options = flags(b_values, instead_of=BValues()).split()  # of an image that was asked for, preprocess must know
    if n_there:
        say(f"  next: fill in onset_to_mri_min and lesion_side in {target / 'participants.tsv'}")
        say(" ".join(["        tissueclock preprocess", str(target), f"{target}-preprocessed", *options]))
    others = _others(report.patients)
    faults = {
        f"{n_refused} of {len(report.patients)} patients refused (above); {others}": n_refused,
        f"{n_lost} series lost to damaged files (above); "
        "restore the files, remove the subjects that lack them and run again": n_lost,
        f"{len(report.damaged_files)} damaged or absent files of nobody known (above)": len(report.damaged_files),
    }
    if any(faults.values()):
        raise InputError("; ".join(fault for fault, n in faults.items() if n))


def preprocess(
    raw: Annotated[Path, typer.Argument(help="A BIDS folder.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="Its derivatives; an unfinished run goes on.", show_default=False)],
    grid: Grid = "24x224x112",
    registration: Annotated[str, typer.Option(help="b0 to the atlas: affine, or syn on top of it.")] = "affine",
    atlas: Annotated[Path | None, typer.Option(help="A T2w atlas of yours; default: ICBM 2009a's brain.")] = None,
    atlas_mask: Annotated[Path | None, typer.Option(help="Its brain mask, if it is not skull-stripped.")] = None,
    backend: Annotated[str, typer.Option(help="ants, or fsl where it is installed.")] = "ants",
    reference: Annotated[
        str | None, typer.Option(help="Whose histogram everybody gets: a subject, or none. Default: the first.")
    ] = None,
    lesions: Annotated[Path | None, typer.Option(help="Derivatives with lesion masks, to carry along.")] = None,
    brain_masks: Annotated[
        Path | None, typer.Option(help="Derivatives with brain masks on b0's voxels, taken as they are.")
    ] = None,
    b: BValue = 1000.0,
    b_tolerance: BTolerance = 300.0,
    duplicates: DuplicatesOption = "refuse",
    session: Annotated[str | None, typer.Option(help="Which session, where patients have several.")] = None,
    memory_mb: Annotated[int, typer.Option(min=200, help="Reserved for each patient at work.")] = 1500,
    ray_address: RayAddress = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs of a cluster started here; default: all.")] = None,
) -> None:
    """Register and normalise every patient of a BIDS folder, one thread each, with a picture to judge the result by."""
    from tissueclock.grid import make_grid
    from tissueclock.imaging.bvalues import BValues
    from tissueclock.imaging.preparation import prepare
    from tissueclock.imaging.quality_table import write_quality
    from tissueclock.imaging.settings import Settings

    table = _table(duplicates, "participant_id, take")
    settings = Settings(
        make_grid(parse_grid(grid)),
        atlas=atlas,
        atlas_mask=atlas_mask,
        backend=cast("Any", one_of(backend, "--backend", ("ants", "fsl"))),
        registration=cast("Any", one_of(registration, "--registration", ("affine", "syn"))),
        b_values=BValues(b, b_tolerance),
        duplicates=cast("Any", duplicates if table is None else "refuse"),
        session=session,
        matching=reference != "none",
    )
    with on_ray(ray_address, cpus) as run, show_progress("patients") as told:
        result = prepare(
            raw,
            target,
            settings=settings,
            run=lambda function, jobs: run(function, jobs, memory_mb=memory_mb),
            reference=None if reference == "none" else reference,
            lesions=lesions,
            brain_masks=brain_masks,
            duplicates=table,
            progress=told,
        )
    with console.status("writing the quality page"):
        from tissueclock.imaging.derivatives import Derivatives, find_reference

        folder = Derivatives(target)
        judged = write_quality(folder, failed={subject: str(error) for subject, error in result.failed.items()})
    _print_quality(judged, result)
    say(f"{target}: {len(result.done)} patients done, {len(result.kept)} were done before, {len(result.failed)} failed")
    _say_incomplete(judged)
    _say_excluded(judged, reference=find_reference(folder) if settings.matching else None)
    say(f"  look at {folder.quality_page}, and write yes into the exclude column of {folder.quality_table.name}")
    if result.done or result.kept:
        say(f"  next: tissueclock pack {target} COHORT")
    end(result)


def pack(
    derivatives: Annotated[Path, typer.Argument(help="Of tissueclock preprocess.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="The packed cohort to write; must not exist.", show_default=False)],
    participants: Annotated[
        Path | None, typer.Option(help="The manifest. Default: the participants.tsv of the raw folder.")
    ] = None,
    onset_unit: Annotated[
        str | None, typer.Option(help="Of onset_to_mri_min: minutes, hours or seconds. Default: minutes, if plausible.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it. Default: the folder's name.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split into train, validation and holdout.")] = 0,
    allow_missing: Annotated[
        str | None, typer.Option(help="flair: patients without it are packed too; see the README.")
    ] = None,
) -> None:
    """Pack preprocessed patients into the cohort that studies read; heeds the exclude column of qc.tsv."""
    from tissueclock.cohort.manifest import OnsetUnit
    from tissueclock.packing import pack_cohort

    with show_progress("patients") as told:
        packing = pack_cohort(
            derivatives,
            folder,
            participants=participants,
            onset_unit=None
            if onset_unit is None
            else cast("Any", one_of(onset_unit, "--onset-unit", get_args(OnsetUnit))),
            name=name,
            seed=seed,
            allow_missing=()
            if allow_missing is None
            else (cast("Any", one_of(allow_missing, "--allow-missing", ("flair",))),),
            progress=lambda done, total: told(done, total, ""),
        )
    table = Table(title=escape(str(folder)), title_justify="left")
    for column in ("split", "patients", "onset or side not known", "hemispheres", "with a lesion"):
        table.add_column(column, justify="left" if column == "split" else "right")
    unknown = {patient.participant_id for patient in packing.cohort.patients if not patient.is_scored}
    for split in ("train", "validation", "holdout"):
        rows = [half for half in packing.cohort.table if half.split == split]
        n_unknown = len({half.patient for half in rows} & unknown)
        n_lesions = sum(bool(half.lesion) for half in rows)
        table.add_row(split, *map(str, (len(rows) // 2, n_unknown, len(rows), n_lesions)))
    console.print(table)
    if len(unknown) == len(packing.cohort.patients):
        say("  nobody's onset and side are known: predict can be asked, no study learns; is the table filled in?")
    if without := [patient.participant_id for patient in packing.cohort.patients if not patient.has_flair]:
        say(f"  without FLAIR: {len(without)}; networks need the input flair_present")
    for subject, reason in list(packing.left.items())[:MOST_LISTED]:
        say(f"  left out: {subject}: {reason}")
    if len(packing.left) > MOST_LISTED:
        say(f"  ... and {len(packing.left) - MOST_LISTED} more")
    if packing.left:
        say(f"  left out in all: {len(packing.left)} ({'; '.join(f'{reason}: {n}' for reason, n in packing.reasons)})")
    say(f"  next: name it in a study file (cohort: {folder}), then tissueclock plan STUDY")


def _print_quality(judged: "Sequence[JudgedPatient]", result: "Preparation") -> None:
    flagged = [patient for patient in judged if patient.quality.flags]
    if flagged:
        table = Table(title=f"to be looked at: {len(flagged)} of {len(judged)}", title_justify="left")
        for column in ("subject", "flags", "excluded"):
            table.add_column(column)
        for patient in flagged[:MOST_LISTED]:
            flags = escape("; ".join(patient.quality.flags))
            table.add_row(patient.folder.subject, flags, "yes" if patient.said.exclude else "")
        console.print(table)
    assuming = sorted((patient.folder.subject, line) for patient in judged for line in patient.assumed)
    for subject, line in assuming[:MOST_LISTED]:
        say(f"assumed: {subject}: {line}", style="yellow")
    if len(assuming) > MOST_LISTED:
        say(f"... and {len(assuming) - MOST_LISTED} more, in the assumed column", style="yellow")
    for subject, error in sorted(result.failed.items()):
        say(f"failed: {subject}: {' '.join(str(error).split())}", style="red")


def _say_incomplete(judged: "Sequence[JudgedPatient]") -> None:
    """Who cannot be packed for want of a series, and how many for which."""
    from tissueclock.imaging.derivatives import describe_missing

    told = ((patient.folder.subject, patient.folder.missing_series(patient.facts)) for patient in judged)
    lacking = sorted((subject, describe_missing(missing)) for subject, missing in told if missing)
    for subject, missing in lacking[:MOST_LISTED]:
        say(f"{subject}: {missing}", style="yellow")
    if lacking:
        counted = Counter(missing for _, missing in lacking).most_common()
        why = "; ".join(f"{missing}: {n}" for missing, n in counted)
        say(f"  registered, but pack will leave out: {len(lacking)} ({why})")
    if any(missing == describe_missing(["flair"]) for _, missing in lacking):
        say("  pack --allow-missing flair keeps them, for networks that are trained to do without FLAIR")


def _say_excluded(judged: "Sequence[JudgedPatient]", *, reference: str | None) -> None:
    """Who is excluded by default, and why; and whether everybody was given the histogram of one of them."""
    excluded = sorted((patient.folder.subject, patient.said.reason) for patient in judged if patient.said.by_default)
    for subject, reason in excluded[:MOST_LISTED]:
        say(f"excluded by default: {subject}: {reason}", style="yellow")
    if len(excluded) > MOST_LISTED:
        say(f"... and {len(excluded) - MOST_LISTED} more", style="yellow")
    if excluded:
        say(f"  excluded by default: {len(excluded)}; a no of yours in the exclude column of qc.tsv is kept")
    if reference in [subject for subject, _ in excluded]:
        say(f"everybody has the histogram of {reference}, who is excluded: give --reference another", style="yellow")


def end(result: "Preparation") -> None:
    """Exit code 2 where what a patient brought is wrong, 1 where something else failed."""
    others = [error for error in result.failed.values() if not isinstance(error, InputError)]
    if others:
        raise TissueclockError(f"{len(others)} patients failed (above); run the same command again to go on")
    if result.failed:
        rest = "the others are done" if result.done or result.kept else "none is done"
        raise InputError(f"{len(result.failed)} patients refused (above); {rest}")


def _others(patients: Sequence[Any]) -> str:
    """What became of those who were not refused."""
    outcomes = {patient.outcome for patient in patients}
    if "written" in outcomes:
        return "the others were written" if "kept" not in outcomes else "the others are written"
    return "the others were there already" if "kept" in outcomes else "nothing was written"


def _word_or_table(duplicates: str) -> Any:
    from tissueclock.imaging.dicom.choices import COLUMNS, read_duplicates

    table = _table(duplicates, COLUMNS)
    return duplicates if table is None else read_duplicates(table)


def _table(duplicates: str, columns: str) -> Path | None:
    """The table that the option names; None where it says a word."""
    if duplicates in ("refuse", "first", "last"):
        return None
    if not Path(duplicates).is_file():
        raise InputError(
            f"--duplicates is {duplicates!r}, and no such file is there; allowed: refuse, first, last, "
            f"or a table (TSV) with columns {columns}"
        )
    return Path(duplicates)


def _list_remarks(patients: Sequence[Any]) -> None:
    """What is said of patients, each remark once."""
    subjects: dict[str, list[str]] = {}
    for patient in patients:
        for remark in patient.remarks:
            subjects.setdefault(remark, []).append(patient.subject)
    for remark, named in subjects.items():
        more = f" and {len(named) - MOST_LISTED} more" if len(named) > MOST_LISTED else ""
        say(f"  {', '.join(named[:MOST_LISTED])}{more}: {remark}")


def _list_left(patients: Sequence[Any]) -> None:
    """The reasons for which series were left, counted."""
    reasons: dict[str, int] = {}
    for patient in patients:
        for line in patient.series:
            if not line.taken_as and not line.lost:
                reasons[line.reason] = reasons.get(line.reason, 0) + 1
    for reason, n_series in sorted(reasons.items(), key=lambda entry: -entry[1]):
        say(f"  {n_series} series left: {reason}")


def _list_lost(patients: Sequence[Any]) -> int:
    """Each series that damage has cost; returns how many those of written patients are."""
    for patient in patients:
        for line in patient.series:
            if line.lost:
                say(f"  {patient.subject}: {line.name} lost: {line.n_files} files, {line.reason}")
    return sum(line.lost for patient in patients if patient.outcome == "written" for line in patient.series)
