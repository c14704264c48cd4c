"""A packed cohort, opened: facts, tables and one memory map, checked at this border and trusted inside.

However many trials of a node read it, the page cache holds one copy. What a sweep may see and what is kept for the end
are two views; neither gives out the other's hemispheres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float16
from torch import Tensor

from tissueclock.channels import SERIES
from tissueclock.cohort.arrayfile import read_array_header
from tissueclock.cohort.facts import read_facts
from tissueclock.cohort.manifest import Patient, read_manifest
from tissueclock.cohort.split import Split, split_digest
from tissueclock.cohort.table import Hemisphere, make_table, read_table
from tissueclock.cohort.writer import FACTS, HEMISPHERES, MANIFEST, TABLE
from tissueclock.errors import CohortError, HoldoutLeakError
from tissueclock.storage.files import digest_facts, digest_file

Rows = npt.NDArray[np.int64] | Tensor
TRUTH, LESION_MASKS = "truth", "masks.npy"
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
        digest: SHA-256 of the facts in `cohort.json`, which hold the digests of all files: the cohort's identity.
        source: Where it came from: tool, version, preset, seed.
        hemispheres: The memory map (hemisphere, series, slice, height, width), float16, read-only.
        table: One row per hemisphere, in the order of the array.
        patients: The manifest.
    """

    folder: Path
    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    split_digest: str
    digest: str
    source: Mapping[str, Any]
    hemispheres: npt.NDArray[np.float16]
    table: tuple[Hemisphere, ...]
    patients: tuple[Patient, ...]
    _tensor: Tensor

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
        patients = read_manifest(folder / MANIFEST)
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
            digest=digest_facts(facts),
            source=facts["source"],
            hemispheres=readonly,
            table=table,
            patients=patients,
            _tensor=torch.from_numpy(array),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (Cohort.open, (self.folder,))

    @property
    def lesion_masks(self) -> npt.NDArray[np.bool_] | None:
        """Where the lesions are, `hemisphere slice height width`, memory-mapped; None where that is not known.

        Only a phantom's are; no network is shown them.

        Raises:
            CohortError: The file is damaged, or of another cohort.
        """
        path = self.folder / TRUTH / LESION_MASKS
        if not path.is_file():
            return None
        try:
            masks: npt.NDArray[np.bool_] = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise CohortError(f"{path}: cannot be read ({error}); delete it, or write the phantom again") from error
        if masks.shape != (wanted := (len(self.table), *self.shape)):
            raise CohortError(f"{path}: shape {masks.shape} found; the cohort's is {wanted}; delete it")
        return masks

    def sweep_view(self) -> "SweepView":
        """What a sweep gets: train and validation, never the holdout."""
        return SweepView(self)

    def holdout_view(self) -> "HoldoutView":
        """What scoring of promoted checkpoints gets: the holdout alone."""
        return HoldoutView(self)

    def split_rows(self, split: Split) -> npt.NDArray[np.int64]:
        """The rows of a split, ascending."""
        return np.array([i for i, hemisphere in enumerate(self.table) if hemisphere.split == split], dtype=np.int64)


class SweepView:
    """The train and validation hemispheres of a cohort; a holdout patient asked of it raises."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._holdout = np.array([hemisphere.split == "holdout" for hemisphere in cohort.table])

    def __reduce__(self) -> tuple[Any, ...]:
        return (SweepView, (self._cohort,))

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """The rows of `train` or `validation`, ascending.

        Raises:
            HoldoutLeakError: The holdout was asked for.
        """
        if split == "holdout":
            raise HoldoutLeakError(
                f"{self._cohort.folder}: a sweep asked for the holdout; it may see train and validation"
            )
        return self._cohort.split_rows(split)

    def read(self, rows: Rows) -> Float16[Tensor, "row series slice height width"]:
        """Gathers hemispheres from the memory map in one copy.

        Args:
            rows: Integers, in any order, repeats allowed.

        Returns:
            Hemispheres on the CPU in the order of `rows`.

        Raises:
            HoldoutLeakError: A row belongs to a holdout patient.
            CohortError: A row does not exist.
        """
        return _gather(self._cohort, self._checked(rows))

    def facts(self, rows: Rows) -> tuple[Hemisphere, ...]:
        """The table's rows, under the same guard as `read`.

        Raises:
            HoldoutLeakError: A row belongs to a holdout patient.
            CohortError: A row does not exist.
        """
        return tuple(self._cohort.table[row] for row in self._checked(rows))

    def _checked(self, rows: Rows) -> npt.NDArray[np.int64]:
        index = _index(self._cohort, rows)
        if (leaks := self._holdout[index]).any():
            patient = self._cohort.table[int(index[leaks][0])].patient
            raise HoldoutLeakError(
                f"{self._cohort.folder}: a sweep asked for holdout patient {patient} (row {int(index[leaks][0])}); "
                "it may see train and validation"
            )
        return index


class HoldoutView:
    """The holdout hemispheres of a cohort, for scoring promoted checkpoints; other patients asked of it raise."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._holdout = np.array([hemisphere.split == "holdout" for hemisphere in cohort.table])

    def __reduce__(self) -> tuple[Any, ...]:
        return (HoldoutView, (self._cohort,))

    def rows(self, split: Split = "holdout") -> npt.NDArray[np.int64]:
        """The holdout's rows, ascending.

        Raises:
            CohortError: Another split was asked for.
        """
        if split != "holdout":
            raise CohortError(f"{self._cohort.folder}: the holdout view was asked for {split}; it has the holdout only")
        return self._cohort.split_rows(split)

    def read(self, rows: Rows) -> Float16[Tensor, "row series slice height width"]:
        """Gathers hemispheres as `SweepView.read` does.

        Raises:
            CohortError: A row does not exist or is not of the holdout.
        """
        return _gather(self._cohort, self._checked(rows))

    def facts(self, rows: Rows) -> tuple[Hemisphere, ...]:
        """The table's rows, under the same guard as `read`.

        Raises:
            CohortError: A row does not exist or is not of the holdout.
        """
        return tuple(self._cohort.table[row] for row in self._checked(rows))

    def _checked(self, rows: Rows) -> npt.NDArray[np.int64]:
        index = _index(self._cohort, rows)
        if (others := ~self._holdout[index]).any():
            row = int(index[others][0])
            raise CohortError(
                f"{self._cohort.folder}: row {row} is of {self._cohort.table[row].split}, not the holdout"
            )
        return index


def _index(cohort: Cohort, rows: Rows) -> npt.NDArray[np.int64]:
    index: npt.NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
    n_rows = len(cohort.table)
    if index.size and (index.min() < 0 or index.max() >= n_rows):
        bad = int(index.min() if index.min() < 0 else index.max())
        raise CohortError(f"{cohort.folder}: row {bad} asked for; there are rows 0 to {n_rows - 1}")
    return index


def _gather(cohort: Cohort, index: npt.NDArray[np.int64]) -> Tensor:
    return cohort._tensor.index_select(0, torch.from_numpy(index))


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
    # Copy-on-write, so that torch takes it without complaint; nothing is ever written, the pages stay shared.
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
