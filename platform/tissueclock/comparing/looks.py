"""How often a holdout has been looked at: each look that shows something new wears it out a little.

A look is a set of holdout scores that a report showed, of whatever study; showing the same scores again is none. It is
written beside the cohort, by the digest of the split, since studies share the holdout; where the cohort cannot be
written to, beside the study.
"""

import fcntl
import hashlib
from pathlib import Path

from tissueclock.comparing.results import StudyResult
from tissueclock.storage.folders import StudyFolder

LOOKS = "holdout_looks.tsv"
MANY = 10
"""From this look on the report warns."""

_N_SHORT = 16


def count_look(study: StudyResult, folder: StudyFolder) -> int:
    """Writes down what a report shows of a holdout, if it has not been shown before.

    Args:
        study: What the report shows.
        folder: The study's: where looks are counted if the cohort is not there, or cannot be written to.

    Returns:
        Which look at this holdout this is, from 1; 0 where nothing is shown or nothing can be written.
    """
    splits = [split for sweep in study.sweeps if (split := sweep.ledger.facts.get("lineage", {}).get("split"))]
    if not study.shown or not splits:
        return 0
    look = hashlib.sha256("\n".join(sorted(study.shown)).encode()).hexdigest()[:_N_SHORT]
    for place in ([study.cohort.folder] if study.cohort else []) + [folder.path]:
        try:
            return _count(place / LOOKS, split=splits[0][:_N_SHORT], look=look, name=" ".join(study.name.split()))
        except OSError:
            continue
    return 0


def _count(path: Path, *, split: str, look: str, name: str) -> int:
    with path.open("a+", encoding="utf-8", errors="replace") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # two reports at once count as two
        stream.seek(0)
        known = [line.split("\t") for line in stream.read().splitlines()]
        looks = list(dict.fromkeys(cells[1] for cells in known if len(cells) > 1 and cells[0] == split))
        if look not in looks:
            if not known:
                stream.write("split\tlook\tstudy\n")
            stream.write(f"{split}\t{look}\t{name}\n")
            looks.append(look)
    return looks.index(look) + 1
