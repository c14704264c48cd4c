"""What we write as BIDS is BIDS, by the BIDS validator."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imaging.dicom import dicom_files as scanner
from tissueclock.imaging.dicom.ingest import ingest
from tissueclock.phantom.raw.make_raw import make_raw_phantom
from tissueclock.storage.tsv import read_rows

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")
pytestmark = pytest.mark.skipif(not VALIDATOR.exists(), reason=f"{VALIDATOR}: the BIDS validator is not installed")

UNSAID = {
    "TOO_FEW_AUTHORS", "NO_AUTHORS", "README_FILE_SMALL",  # the lab's to say
    "JSON_KEY_RECOMMENDED", "SIDECAR_KEY_RECOMMENDED",  # scanner facts that are not known, or identify
    "TSV_ADDITIONAL_COLUMNS_UNDEFINED",
}  # fmt: skip
"""Warnings that stand."""


def complaints(folder: Path) -> set[tuple[str, str]]:
    done = subprocess.run([VALIDATOR, "--format", "json", folder], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return {
        (issue["severity"], f"{issue['code']} {issue.get('location', '')}")
        for issue in issues
        if issue["code"] not in UNSAID
    }


def test_a_raw_phantom_is_bids(tmp_path: Path) -> None:
    make_raw_phantom(tmp_path / "raw", n_patients=2, seed=1)
    assert complaints(tmp_path / "raw") == set()


def test_what_ingest_writes_is_bids(tmp_path: Path) -> None:
    scanner.siemens_directions(tmp_path / "scans")
    scanner.flair(tmp_path / "scans")
    ingest(tmp_path / "scans", tmp_path / "bids", key_file=tmp_path / "key.tsv")
    assert len(read_rows(tmp_path / "bids" / "participants.tsv", required=("participant_id",))) == 1
    assert complaints(tmp_path / "bids") == set()
