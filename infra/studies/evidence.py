"""Does the chain beat scratch? Reads a study of `evidence.yaml`: python infra/studies/evidence.py STUDY_FOLDER.

Each sweep's promoted checkpoints differ by their seed. Printed: mean holdout AUC and standard deviation over them, and
chain minus scratch with Welch's 95 % interval. The interval is over seeds, on one cohort and one holdout: it says how
far chance in training moves the difference, not how it would fare on other patients (for that see the report).
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats


def holdout_aucs(sweep: Path) -> list[float]:
    """The holdout AUC of each promoted checkpoint, best on validation first."""
    ranks = sorted((sweep / "promoted").iterdir(), key=lambda path: int(path.name))
    facts = [json.loads((rank / "holdout.json").read_text()) for rank in ranks]
    return [each["metrics"]["auc"] for each in facts if "auc" in each["metrics"]]


def main(folder: Path) -> None:
    """Prints the table."""
    graph = json.loads((folder / "graph.json").read_text())
    aucs = {
        (arm, graph["sweeps"][sweep]["phase"]): holdout_aucs(folder / "sweeps" / sweep)
        for arm, sweeps in graph["arms"].items()
        for sweep in sweeps
    }
    for (arm, phase), found in aucs.items():
        if found:
            spread = f"(SD {np.std(found, ddof=1):.3f}, n={len(found)})" if len(found) > 1 else "(n=1)"
            print(f"{arm:<12} {phase:<10} {np.mean(found):.3f} {spread}")
    for dimensions in ("2d", "3d"):
        for phase in ("tss_3h", "tss_4h5"):
            chain, scratch = (aucs.get((f"{arm}_{dimensions}", phase), []) for arm in ("chain", "scratch"))
            if len(chain) > 1 and len(scratch) > 1:
                test = stats.ttest_ind(chain, scratch, equal_var=False)
                low, high = test.confidence_interval()
                gain = np.mean(chain) - np.mean(scratch)
                print(
                    f"chain - scratch, {dimensions}, {phase}: {gain:+.3f} "
                    f"[{low:+.3f}, {high:+.3f}], p {test.pvalue:.2f}"
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
