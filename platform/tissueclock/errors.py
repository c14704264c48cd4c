"""The exception tree: one base, and leaves that also inherit the builtin a stranger would catch.

An `InputError` is a user's mistake and ends a command with exit code 2; every other `TissueclockError` is a failure of
the run and ends it with 1. A message is one line: whose it is (file, key, patient), what was found, what is allowed.
"""


class TissueclockError(Exception):
    """Anything this package raises on purpose."""


class InputError(TissueclockError, ValueError):
    """What the user gave is wrong: a file, a key, a value."""


class StudyError(InputError):
    """The study file is wrong, or does not fit the cohort, the phases or the spaces."""


class ImageError(InputError):
    """A scan, its header, or a folder of scans is wrong, incomplete or ambiguous."""


class CohortError(InputError):
    """A manifest or a packed cohort is wrong, incomplete or damaged."""


class NobodyLeftError(CohortError):
    """Of all who were to be packed, nobody can be."""


class CheckpointError(InputError):
    """A checkpoint or weights file is damaged, foreign, or does not fit the network."""


class StorageError(TissueclockError, OSError):
    """A folder cannot be written, or the disk is full."""


class DiskFullError(StorageError):
    """There is no room left; the same command goes on once there is."""


class HoldoutLeakError(TissueclockError, PermissionError):
    """A holdout patient was about to reach a sweep."""


class SweepError(TissueclockError, RuntimeError):
    """A sweep ended without a checkpoint that can be promoted."""


class BusyError(TissueclockError, RuntimeError):
    """Another process is at work on the same study."""
