"""A packed cohort, opened: facts, tables and one memory map, checked at this border and trusted inside.

However many trials of a node read it, the page cache holds one copy. Tensors are given out by its views
(`tissueclock.cohort.views`); whoever wants patients, tables or the split alone loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from tissueclock.channels import SERIES
from tissueclock.cohort.arrayfile import read_array_header
from tissueclock.cohort.facts import read_facts
from tissueclock.cohort.manifest import Patient, read_manifest
from tissueclock.cohort.split import Split, split_digest
from tissueclock.cohort.table import Hemisphere, make_table, read_table
from tissueclock.cohort.writer import FACTS, HEMISPHERES, MANIFEST, TABLE
from tissueclock.errors import CohortError
from tissueclock.storage.files import digest_facts, digest_file

if TYPE_CHECKING:
    from tissueclock.cohort.views import HoldoutView, SweepView

TRUTH, LESION_MASKS = "truth", "masks.npy"
CARRIED_MASKS = "lesion_masks.npy"
"""Masks that came along with patients, beside the hemispheres; a phantom's lie with its truth."""
"""What lies beside a phantom's hemispheres: the truth about them, among it the lesions."""


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Patients, packed. Open it with `Cohort.open`; pickled, it is a path and reopens.

    Attributes:
        folder: Where it is.
        name: What it is called.
        shape: Slices, height and width of a hemisphere, in voxels.
        spacing_mm: Distance of slices, rows and columns.
        split_digest: SHA-256 of the table patient -> split.
        by_site: Whether split and folds are alike in site, where the manifest tells it; not so before 0.2.
        digest: SHA-256 of the facts in `cohort.json`, which hold the digests of all files: the cohort's identity.
        source: Where it came from: tool, version, preset, seed.
        hemispheres: The memory map (hemisphere, series, slice, height, width), float16, read-only.
        table: One row per hemisphere, in the order of the array.
        patients: The manifest.
        copy_on_write: The same as torch takes it without complaint; nothing is ever written, pages stay shared.
    """

    folder: Path
    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    split_digest: str
    by_site: bool
    digest: str
    source: Mapping[str, Any]
    hemispheres: npt.NDArray[np.float16]
    table: tuple[Hemisphere, ...]
    patients: tuple[Patient, ...]
    copy_on_write: npt.NDArray[np.float16]

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> "Cohort":
        """Opens a packed cohort.

        Args:
            folder: Holds `cohort.json` and the files it names.
            verify: Also hash `hemispheres.npy` (reads it whole); its size and both tables' digests always are.

        Raises:
            CohortError: A file is missing, truncated, altered, of an unknown schema, or does not fit the others.
        """
        facts = read_facts(folder / FACTS)
        n_slices, height, width = (int(facts["shape"][axis]) for axis in ("n_slices", "height", "width"))
        slice_mm, row_mm, column_mm = (float(spacing) for spacing in facts["spacing_mm"])
        array = _map_array(
            folder / HEMISPHERES, shape=(int(facts["n_hemispheres"]), len(SERIES), n_slices, height, width)
        )
        for name in (TABLE, MANIFEST, HEMISPHERES) if verify else (TABLE, MANIFEST):
            _check_digest(folder / name, expected=facts["digests"][name])
        patients = read_manifest(folder / MANIFEST, onset_unit="minutes")
        table = read_table(folder / TABLE)
        _check_agreement(folder, facts=facts, patients=patients, table=table)
        readonly = array.view()
        readonly.flags.writeable = False
        return cls(
            folder=folder,
            name=facts["name"],
            shape=(n_slices, height, width),
            spacing_mm=(slice_mm, row_mm, column_mm),
            split_digest=facts["split"]["digest"],
            by_site=bool(facts["split"].get("by_site", False)),
            digest=digest_facts(facts),
            source=facts["source"],
            hemispheres=readonly,
            table=table,
            patients=patients,
            copy_on_write=array,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (Cohort.open, (self.folder,))

    @property
    def lesion_masks(self) -> npt.NDArray[np.bool_] | None:
        """Where the lesions are, `hemisphere slice height width`, memory-mapped; None where that is not known.

        A phantom's are, and those of patients whose masks came along; empty where a patient had none. No network
        is shown them.

        Raises:
            CohortError: The file is damaged, or of another cohort.
        """
        places = (self.folder / TRUTH / LESION_MASKS, self.folder / CARRIED_MASKS)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return None
        try:
            masks: npt.NDArray[np.bool_] = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise CohortError(f"{path}: cannot be read ({error}); delete it, or write the cohort again") from error
        if masks.shape != (wanted := (len(self.table), *self.shape)):
            raise CohortError(f"{path}: shape {masks.shape} found; the cohort's is {wanted}; delete it")
        return masks

    def sweep_view(self) -> "SweepView":
        """What a sweep gets: train and validation, never the holdout."""
        from tissueclock.cohort.views import SweepView

        return SweepView(self)

    def holdout_view(self) -> "HoldoutView":
        """What scoring of promoted checkpoints gets: the holdout alone."""
        from tissueclock.cohort.views import HoldoutView

        return HoldoutView(self)

    def split_rows(self, split: Split) -> npt.NDArray[np.int64]:
        """The rows of a split, ascending."""
        return np.array([i for i, hemisphere in enumerate(self.table) if hemisphere.split == split], dtype=np.int64)


def _check_digest(path: Path, *, expected: str) -> None:
    if not path.is_file():
        raise CohortError(f"{path}: no such file; {FACTS} names it")
    if (found := digest_file(path)) != expected:
        raise CohortError(f"{path}: SHA-256 {found[:12]}… found; {FACTS} says {expected[:12]}…: the file was altered")


def _map_array(path: Path, *, shape: tuple[int, ...]) -> npt.NDArray[np.float16]:
    header = read_array_header(path)
    if header.dtype != np.float16 or header.shape != shape:
        raise CohortError(
            f"{path}: {header.dtype} {header.shape} found; {FACTS} says float16 {shape}: the file is another's"
        )
    return np.memmap(path, dtype=np.float16, mode="c", offset=header.offset_bytes, shape=shape)


def _check_agreement(
    folder: Path, *, facts: Mapping[str, Any], patients: tuple[Patient, ...], table: tuple[Hemisphere, ...]
) -> None:
    """Raises CohortError where facts, manifest and table tell different stories."""
    for what, found, expected in (
        (MANIFEST, len(patients), facts["n_patients"]),
        (TABLE, len(table), facts["n_hemispheres"]),
    ):
        if found != expected:
            raise CohortError(f"{folder / what}: {found} rows found; {FACTS} says {expected}")
    split = {hemisphere.patient: hemisphere.split for hemisphere in table}
    if strangers := [p.participant_id for p in patients if p.participant_id not in split]:
        raise CohortError(f"{folder / TABLE}: patient {strangers[0]} of {MANIFEST} missing")
    if table != make_table(patients, split):
        raise CohortError(f"{folder / TABLE}: does not agree with {MANIFEST} (side, lesion or onset of a hemisphere)")
    if split_digest(split) != facts["split"]["digest"]:
        raise CohortError(
            f"{folder / TABLE}: split digest {split_digest(split)[:12]}… found; {FACTS} says "
            f"{str(facts['split']['digest'])[:12]}…; allowed splits: {', '.join(get_args(Split))}, made once"
        )
