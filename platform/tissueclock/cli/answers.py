"""The commands on what a study promoted: `predict`, for patients; `evaluate`, on others with known onsets."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tissueclock.cli.console import RayAddress, console, say, show_progress
from tissueclock.cli.ray_tasks import on_ray
from tissueclock.errors import InputError

if TYPE_CHECKING:
    from tissueclock.answering.answers import Answer
    from tissueclock.answering.evaluating import Evaluation
    from tissueclock.answering.model import Model

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A study (file or folder) with --arm, a promoted checkpoint (sweeps/SWEEP/promoted/RANK), or a "
        "registered model (models:/NAME@best) with --tracking-uri.",
        show_default=False,
    ),
]
Arm = Annotated[str | None, typer.Option(help="Of a study: whose checkpoints answer.")]
TrackingUri = Annotated[
    str | None, typer.Option(help="Of a registered model: the tracker. Default: MLFLOW_TRACKING_URI.")
]
_MOST_LISTED = 12
WORK = "work"
"""What `predict` makes on the way to answers, below OUT; a second run goes on with it."""


def predict(
    model: ModelName,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="A packed cohort, preprocessed derivatives, BIDS or DICOM.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write answers to.", show_default=False)],
    arm: Arm = None,
    error_rate: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="How often a wrong yes or no may be told, in each class.")
    ] = 0.1,
    tracking_uri: TrackingUri = None,
    dicom_out: Annotated[
        bool,
        typer.Option("--dicom-out", help="Also a DICOM structured report and picture a patient, of an INPUT of DICOM."),
    ] = False,
    atlas: Annotated[Path | None, typer.Option(help="Yours, where the model's cohort was registered to it.")] = None,
    atlas_mask: Annotated[Path | None, typer.Option(help="Its brain mask.")] = None,
    memory_mb: Annotated[int, typer.Option(min=200, help="Reserved for each patient at work.")] = 1500,
    ray_address: RayAddress = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs of a cluster started here; default: all.")] = None,
) -> None:
    """Answer for patients, of unknown onset or known: hemisphere, probabilities, or a refusal. Research only."""
    if dicom_out:
        _check_dicom_out(source)
    with console.status("reading the model"):
        asked = read_model(model, arm=arm, tracking_uri=tracking_uri, out=out)

    from tissueclock.answering.answers import Answer, answer_cohort
    from tissueclock.cohort.store import Cohort
    from tissueclock.cohort.writer import FACTS

    cohort: Cohort | None = None
    refused: Mapping[str, str] = {}
    flags: Mapping[str, tuple[str, ...]] = {}
    if (source / FACTS).exists():
        cohort = Cohort.open(source)
    else:
        from tissueclock.answering.incoming import bring_in  # loads ANTs

        with on_ray(ray_address, cpus) as run, show_progress("patients") as told:
            incoming = bring_in(
                source,
                out / WORK,
                model=asked,
                run=lambda function, jobs: run(function, jobs, memory_mb=memory_mb),
                atlas=atlas,
                atlas_mask=atlas_mask,
                progress=lambda step, done, total: told(done, total, step),
            )
        cohort, refused, flags = incoming.cohort, incoming.refused, incoming.flags
    answers = [Answer(subject, refusal) for subject, refusal in sorted(refused.items())]
    images: dict[str, bytes] = {}
    if cohort is not None:
        with console.status("answering"):
            found = answer_cohort(asked, cohort, error_rate=error_rate)
            images = _draw(asked, cohort, found)
        answers = [*found, *answers]
    if not answers:
        raise InputError(f"{source}: nobody found to answer for")
    _write(asked, answers, flags, images, out=out, error_rate=error_rate)
    _say_answers(answers, out)
    if dicom_out:
        _write_dicom(source, out, answers, flags, images, model=asked.name, error_rate=error_rate)


def _say_answers(answers: "list[Answer]", out: Path) -> None:
    n_refused = sum(bool(answer.refusal) for answer in answers)
    for answer in [answer for answer in answers if answer.refusal][:_MOST_LISTED]:
        say(f"refused: {answer.patient}: {answer.refusal}", style="yellow")
    say(f"{out}: {len(answers) - n_refused} patients answered for, {n_refused} refused; research only")
    say(f"  look at {out / 'index.html'}; the table is {out / 'answers.tsv'}")


def _check_dicom_out(source: Path) -> None:
    """Raises InputError where no DICOM can be written: told before anybody is registered."""
    from tissueclock.answering.incoming import is_dicom
    from tissueclock.imaging.dicom.reporting import need_highdicom

    need_highdicom()
    if source.is_dir() and not is_dicom(source):
        raise InputError(f"{source}: --dicom-out needs a folder of DICOM: its headers name patient and study")


def _write_dicom(
    source: Path,
    out: Path,
    answers: "list[Answer]",
    flags: Mapping[str, Sequence[str]],
    images: Mapping[str, bytes],
    *,
    model: str,
    error_rate: float,
) -> None:
    from tissueclock.answering.incoming import key_file
    from tissueclock.imaging.dicom.reporting import Finding, taken_files, write_answer

    files = taken_files(source, key_file(out / WORK))
    faults = []
    for answer in answers:
        folder = out / "dicom" / answer.patient
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier run told of the patient
        if answer.refusal or answer.hemisphere is None:
            continue
        if answer.patient not in files:
            faults.append(f"{answer.patient}: its DICOM is not in {source}")
            continue
        try:
            write_answer(
                folder,
                files[answer.patient],
                hemisphere=answer.hemisphere,
                findings=[Finding(each.onset_before_min, each.probability, each.told) for each in answer.onset],
                remarks=[*answer.flags, *flags.get(answer.patient, ())],
                model=model,
                error_rate=error_rate,
                picture=images.get(answer.patient),
            )
        except InputError as error:
            faults.append(f"{answer.patient}: {error}")
    say(f"  DICOM: {out / 'dicom'}; names and dates in it are the patients' own")
    for fault in faults:
        say(f"  no DICOM of {fault}", style="yellow")
    if faults:
        raise InputError(f"no DICOM could be written of {len(faults)} patients (above); the answers are whole")


def evaluate(
    model: ModelName,
    cohort: Annotated[
        Path, typer.Argument(help="A packed cohort of patients who took no part, onsets known.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write figures and scores to.", show_default=False)],
    arm: Arm = None,
    tracking_uri: TrackingUri = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    ids_are_others: Annotated[
        bool,
        typer.Option("--ids-are-others", help="The same id is another person there, as where two sites count from 1."),
    ] = False,
) -> None:
    """Validate a model on patients who took no part: the comparison's figures, by group, beside its own holdout's."""
    with console.status("reading the model"):
        asked = read_model(model, arm=arm, tracking_uri=tracking_uri, out=out)

    from tissueclock.answering.evaluating import evaluate as evaluate_model
    from tissueclock.answering.evaluating import write_evaluation
    from tissueclock.cohort.store import Cohort

    with console.status("evaluating"):
        evaluations = evaluate_model(asked, Cohort.open(cohort, verify=True), seed=seed, ids_are_others=ids_are_others)
        write_evaluation(out, evaluations)
    console.print(_evaluation_table(evaluations))
    if asked.intake.cohort["is_phantom"]:
        say("The model was trained on a phantom cohort: these figures say nothing of patients.")
    say(f"{out / 'evaluation.tsv'}: every figure, by group too; scores beside it; research only")


def _evaluation_table(evaluations: "list[Evaluation]") -> Table:
    from tissueclock.comparing.formats import format_auc, format_estimate, format_interval, format_rate, format_signed

    table = Table(title="On patients who took no part; threshold and temperature of the model's own validation")
    headings = ("phase", "n", "AUC", "own holdout", "change", "sensitivity", "specificity", "in the large", "slope")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "phase" else "right")
    for each in evaluations:
        change = "" if each.change is None else f"{format_signed(each.change[0])} {format_interval(each.change[1])}"
        table.add_row(
            each.phase,
            str(len(each.scores.units)),
            format_auc(each.auc),
            format_auc(each.own),
            change,
            format_rate(each.confusion.sensitivity),
            format_rate(each.confusion.specificity),
            format_estimate(each.calibration.intercept),
            format_estimate(each.calibration.slope),
        )
    return table


def read_model(model: str, *, arm: str | None, tracking_uri: str | None, out: Path) -> "Model":
    """The model that a word names."""
    from tissueclock.storage.folders import PromotedFolder, StudyFolder

    if model.startswith("models:"):
        from tissueclock.answering.model import model_of_checkpoint
        from tissueclock.tracking.download import fetch_model

        return model_of_checkpoint(PromotedFolder(fetch_model(model, tracking_uri, out / WORK / "model")))

    path = Path(model)
    if path.is_file():
        from tissueclock.study import read_study

        folder = read_study(path).folder
    elif PromotedFolder(path).trial.is_file():
        from tissueclock.answering.model import model_of_checkpoint

        return model_of_checkpoint(PromotedFolder(path))
    else:
        folder = StudyFolder(path)
    if not folder.graph.is_file():
        raise InputError(f"{model}: neither a study that was started, nor a promoted checkpoint, nor models:/NAME@best")

    from tissueclock.answering.model import model_of_arm

    return model_of_arm(folder, arm)


def _draw(model: "Model", cohort: Any, answers: "list[Answer]") -> dict[str, bytes]:
    from tissueclock.answering.looking import look_at_rows
    from tissueclock.answering.pages import draw_patient

    read = [(answer.patient, answer.row) for answer in answers if answer.row is not None]
    looked = look_at_rows(model, cohort, [row for _, row in read])
    return {
        patient: draw_patient(series, map_, kind=kind)
        for (patient, _), (series, map_, kind) in zip(read, looked, strict=True)
    }


def _write(
    model: "Model", answers: "list[Answer]", flags: Any, images: dict[str, bytes], *, out: Path, error_rate: float
) -> None:
    from tissueclock.answering.model import describe_coverage
    from tissueclock.answering.pages import TABLE, write_pages, write_table

    write_table(out / TABLE, answers, flags=flags)
    coverage = describe_coverage(model, error_rate=error_rate)
    for line in coverage:
        say(line)
    write_pages(
        out,
        answers,
        flags=flags,
        images=images,
        model=model.name,
        cohort=model.intake.cohort,
        error_rate=error_rate,
        coverage=coverage,
    )
