"""`preprocess_patient`, one patient on one core, seconds by step.

python -m tests.benchmarks.scans.ours RAW SUBJECT
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.measuring import answer
from tests.benchmarks.preprocessing_error import landmark_errors, patient_transform
from tissueclock.grid import make_grid
from tissueclock.imaging.derivatives import Derivatives
from tissueclock.imaging.preprocessing import PatientJob, preprocess_patient
from tissueclock.imaging.settings import Settings


def main(raw: Path, subject: str) -> None:
    """Prints seconds by step, peak memory and the landmarks' errors."""
    settings = Settings(make_grid((24, 224, 112)))
    settings.load_atlas()
    with tempfile.TemporaryDirectory() as folder:
        job = PatientJob(raw, subject, settings, Derivatives(Path(folder)), None, None)
        preprocess_patient(job)
        times = json.loads(job.target.patient(subject).times.read_text())
        errors = landmark_errors(raw, subject, patient_transform(job.target.patient(subject)))
    answer(
        seconds=times["seconds"], total_s=sum(times["seconds"].values()), peak_mb=max(times["peak_mb"].values()),
        median_mm=float(np.median(errors)), max_mm=float(errors.max()),
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
