"""Who is run, kept, refused: with a runner that writes what `preprocess_patient` would, in milliseconds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.imaging.images import save, toy_head
from tests.imaging.preprocessed import write_patient
from tissueclock.errors import BusyError, ImageError, TissueclockError
from tissueclock.grid import make_grid
from tissueclock.imaging.derivatives import Derivatives, read_facts
from tissueclock.imaging.preparation import Preparation, find_lesions, prepare
from tissueclock.imaging.preprocessing import PatientJob, preprocess_patient
from tissueclock.imaging.settings import Settings
from tissueclock.storage.files import digest_facts

SETTINGS = Settings(make_grid((8, 12, 8)))


class Runner:
    """Stands for Ray and for the pipeline; remembers who was run against whose histogram."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str | None]] = []
        self.broken: dict[str, TissueclockError] = {}
        self.figures: dict[str, dict[str, float]] = {}

    def __call__(
        self, function: Callable[[PatientJob], None], jobs: Sequence[PatientJob]
    ) -> Iterator[tuple[int, TissueclockError | None]]:
        assert function is preprocess_patient
        for i, job in reversed(list(enumerate(jobs))):  # in whatever order
            subject = job.subject
            self.ran.append((subject, None if job.reference is None else job.reference.subject))
            try:
                digest = job.input_digest(job.file_digests())
            except TissueclockError as error:
                yield i, error
                continue
            if subject in self.broken:
                yield i, self.broken[subject]
                continue
            figures = self.figures.get(subject)
            write_patient(job.target, subject, seed=int(subject[-1]), figures=figures, input_digest=digest)
            yield i, None


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for i in range(1, 5):
        for kind, name in (("dwi", "dwi"), ("anat", "FLAIR")):
            save(tmp_path / "raw" / f"sub-0{i}" / kind / f"sub-0{i}_{name}.nii.gz", toy_head(i).data)
    (tmp_path / "raw" / "participants.tsv").write_text("participant_id\tage\nsub-01\t70\n")
    return tmp_path / "raw"


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def run(raw: Path, tmp_path: Path, runner: Runner) -> Callable[..., Preparation]:
    def call(**options: Any) -> Preparation:
        return prepare(raw, tmp_path / "deriv", run=runner, **{"settings": SETTINGS, **options})

    return call


def test_the_first_patient_is_everybody_s_reference(run: Callable[..., Preparation], runner: Runner) -> None:
    result = run()
    assert runner.ran == [("sub-01", None), ("sub-04", "sub-01"), ("sub-03", "sub-01"), ("sub-02", "sub-01")]
    assert sorted(result.done) == ["sub-01", "sub-02", "sub-03", "sub-04"]


def test_running_again_runs_nobody(run: Callable[..., Preparation], runner: Runner) -> None:
    run()
    runner.ran.clear()
    result = run()
    assert runner.ran == []
    assert len(result.kept) == 4


def test_a_new_file_or_another_setting_is_a_new_patient(
    run: Callable[..., Preparation], runner: Runner, raw: Path
) -> None:
    run()
    runner.ran.clear()
    save(raw / "sub-03" / "anat" / "sub-03_FLAIR.nii.gz", toy_head(9).data)
    run()
    assert runner.ran == [("sub-03", "sub-01")]
    runner.ran.clear()
    run(settings=Settings(SETTINGS.grid, registration="syn"))
    assert len(runner.ran) == 4


def test_one_bad_patient_is_told_and_the_others_go_on(
    run: Callable[..., Preparation], runner: Runner, raw: Path, tmp_path: Path
) -> None:
    (raw / "sub-02" / "dwi" / "sub-02_dwi.nii.gz").unlink()
    runner.broken["sub-03"] = ImageError("sub-03: no brain")
    result = run()
    assert sorted(result.done) == ["sub-01", "sub-04"]
    assert set(result.failed) == {"sub-02", "sub-03"}
    told = Derivatives(tmp_path / "deriv").failures.read_text()
    assert "sub-03\tsub-03: no brain\n" in told
    assert "sub-02\tsub-02: no *_dwi.nii.gz below" in told


def test_a_reference_that_cannot_be_is_replaced_or_if_asked_for_refused(
    run: Callable[..., Preparation], runner: Runner, tmp_path: Path
) -> None:
    runner.broken["sub-01"] = ImageError("sub-01: no brain")
    with pytest.raises(ImageError, match="--reference is sub-01, but: sub-01: no brain"):
        run(reference="sub-01")
    result = run()
    assert list(result.failed) == ["sub-01"]
    assert read_facts(Derivatives(tmp_path / "deriv").reference)["subject"] == "sub-02"
    with pytest.raises(ImageError, match=r"--reference is sub-77; .* has sub-01 to sub-04 \(4\)"):
        run(reference="sub-77")


def test_nobody_gets_the_histogram_of_a_patient_who_is_excluded_by_default(
    run: Callable[..., Preparation], runner: Runner
) -> None:
    runner.figures["sub-01"] = {"outside_signal_fraction": 0.4}
    result = run()
    assert ("sub-01", "sub-02") in runner.ran
    assert sorted(result.done) == ["sub-01", "sub-02", "sub-03", "sub-04"]


def test_the_reference_stays_when_patients_are_added(
    run: Callable[..., Preparation], runner: Runner, raw: Path
) -> None:
    run(reference="sub-03")
    for name in ("dwi/sub-00_dwi", "anat/sub-00_FLAIR"):
        save(raw / "sub-00" / f"{name}.nii.gz", toy_head(0).data)
    runner.ran.clear()
    run()
    assert runner.ran == [("sub-00", "sub-03")]


def test_without_matching_nobody_waits_for_a_reference(run: Callable[..., Preparation], runner: Runner) -> None:
    run(settings=Settings(SETTINGS.grid, matching=False))
    assert {reference for _, reference in runner.ran} == {None}


def test_the_participants_come_along(run: Callable[..., Preparation], tmp_path: Path) -> None:
    run()
    assert "sub-01\t70" in Derivatives(tmp_path / "deriv").participants.read_text()


def test_two_runs_at_once_do_not_mix(run: Callable[..., Preparation], raw: Path, tmp_path: Path) -> None:
    def meanwhile(*_: Any) -> Iterator[tuple[int, None]]:
        with pytest.raises(BusyError, match="is at work on this folder"):
            run()
        yield 0, None

    with pytest.raises(
        ImageError, match="no such file"
    ):  # the stand-in wrote nothing for the reference to be read from
        prepare(raw, tmp_path / "deriv", settings=SETTINGS, run=meanwhile)


def test_some_patients_are_prepared_beside_others_who_are_at_work(
    raw: Path, tmp_path: Path, run: Callable[..., Preparation], runner: Runner
) -> None:
    runner.broken["sub-02"] = ImageError("sub-02: broken")

    class Meanwhile(Runner):
        """While one process is at work on one patient, another comes for others, and a third for all."""

        def __call__(self, *arguments: Any) -> Iterator[tuple[int, TissueclockError | None]]:
            if self.ran:  # the reference is through
                assert sorted(run(only=["sub-02", "sub-03"]).kept) == ["sub-01"]
                with pytest.raises(BusyError):
                    run()
            yield from super().__call__(*arguments)

    first = Meanwhile()
    result = prepare(raw, tmp_path / "deriv", settings=SETTINGS, run=first, only=["sub-04"])

    assert (result.done, result.failed) == (["sub-01", "sub-04"], {})
    assert first.ran == [("sub-01", None), ("sub-04", "sub-01")]
    assert runner.ran == [("sub-03", "sub-01"), ("sub-02", "sub-01")]
    failures = Derivatives(tmp_path / "deriv").failures
    assert failures.read_text().splitlines()[1:] == ["sub-02\tsub-02: broken"]
    runner.broken.clear()
    run(only=["sub-02"])
    assert failures.read_text().splitlines()[1:] == []


def test_a_patient_s_job_answers_for_that_patient_alone(run: Callable[..., Preparation], runner: Runner) -> None:
    runner.broken["sub-01"] = ImageError("sub-01: broken")  # tried as everybody's reference
    result = run(only=["sub-03"])
    assert (sorted(result.done), result.failed) == (["sub-02", "sub-03"], {})


def test_a_job_of_other_settings_is_refused_and_changes_nothing(
    run: Callable[..., Preparation], tmp_path: Path
) -> None:
    run(only=["sub-01"])
    before = Derivatives(tmp_path / "deriv").settings.read_bytes()
    with pytest.raises(ImageError, match="its patients have registration 'affine', asked for is 'syn'"):
        run(only=["sub-02"], settings=replace(SETTINGS, registration="syn"))
    assert Derivatives(tmp_path / "deriv").settings.read_bytes() == before


def test_raw_scans_are_never_the_target(raw: Path, runner: Runner) -> None:
    files = sorted(raw.rglob("*"))
    for target in (raw, raw.parent / "raw" / ".." / "raw"):
        with pytest.raises(ImageError, match="a folder of raw scans; derivatives go to another"):
            prepare(raw, target, settings=SETTINGS, run=runner)
    other = raw.parent / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"DatasetType": "raw"}')
    with pytest.raises(ImageError, match="a folder of raw scans"):
        prepare(raw, other, settings=SETTINGS, run=runner)
    assert not runner.ran
    (other / "dataset_description.json").write_text('{"Name": "raw", "DatasetType": "derivative"}')
    prepare(raw, other, settings=SETTINGS, run=runner)
    assert sorted(raw.rglob("*")) == files


def test_a_patient_who_is_asked_for_and_not_there_is_told(run: Callable[..., Preparation]) -> None:
    with pytest.raises(ImageError, match=r"no sub-09; it has sub-01 to sub-04 \(4\)"):
        run(only=["sub-02", "sub-09"])


def test_lesion_masks_are_found_by_their_names(tmp_path: Path) -> None:
    save(tmp_path / "d" / "sub-01" / "ses-1" / "sub-01_ses-1_msk.nii.gz", toy_head().data)
    save(tmp_path / "d" / "sub-02" / "lesion_mask.nii.gz", toy_head().data)
    save(tmp_path / "d" / "sub-02" / "brain_mask.nii.gz", toy_head().data)
    found = find_lesions(tmp_path / "d", ["sub-01", "sub-02", "sub-03"])
    assert {subject: path.name for subject, path in found.items()} == {
        "sub-01": "sub-01_ses-1_msk.nii.gz",
        "sub-02": "lesion_mask.nii.gz",
    }
    save(tmp_path / "d" / "sub-02" / "lesion_2.nii.gz", toy_head().data)
    with pytest.raises(ImageError, match=r"sub-02: lesion masks lesion_2\.nii\.gz, lesion_mask\.nii\.gz found"):
        find_lesions(tmp_path / "d", ["sub-02"])


def test_what_a_killed_run_was_writing_is_cleared_away(run: Callable[..., Preparation], tmp_path: Path) -> None:
    remains = tmp_path / "deriv" / ".sub-02.0a1b2c3d.part"
    (remains / "dwi").mkdir(parents=True)
    (remains / "dwi" / "half.nii.gz").write_text("half")
    run()
    assert not remains.exists()


def test_a_wrong_word_in_the_quality_table_is_said_before_anybody_is_run(
    run: Callable[..., Preparation], runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "deriv").mkdir()
    Derivatives(tmp_path / "deriv").quality_table.write_text("participant_id\texclude\nsub-01\tmaybe\n")
    with pytest.raises(ImageError, match="exclude is 'maybe'; allowed: yes, no"):
        run()
    assert runner.ran == []


def test_a_changed_brain_mask_is_a_new_patient_and_a_missing_one_stops_nobody_else(
    run: Callable[..., Preparation], runner: Runner, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    for i in range(1, 5):
        save(masks / f"sub-0{i}" / f"sub-0{i}_desc-brain_mask.nii.gz", toy_head(i).data)
    run(brain_masks=masks)
    runner.ran.clear()
    run(brain_masks=masks)
    assert runner.ran == []
    save(masks / "sub-03" / "sub-03_desc-brain_mask.nii.gz", toy_head(9).data)
    (masks / "sub-02" / "sub-02_desc-brain_mask.nii.gz").unlink()
    result = run(brain_masks=masks)
    assert result.done == ["sub-03"]
    assert "sub-02: no sub-02_*desc-brain_mask.nii.gz below" in str(result.failed["sub-02"])


def test_without_brain_masks_a_patient_s_digest_is_what_it_was_before_there_were_any(raw: Path, tmp_path: Path) -> None:
    job = PatientJob(raw, "sub-01", SETTINGS, Derivatives(tmp_path / "deriv"), None, None)
    files = job.file_digests()
    facts = {"settings": SETTINGS.as_facts(), "reference": None, "files": files, "lesion": None}
    assert job.input_digest(files) == digest_facts(facts)
