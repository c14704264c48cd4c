"""What can be had of a phantom: onset from the lesion's mean signals under its true mask, which no network is shown.

    tissueclock phantom test --preset paper-like --patients 1000 --grid 12x48x24 --seed 9105
    python infra/studies/lesion_ceiling.py test

Logistic regression on the logarithms of the three series' means, of the own half, and with their ratios to the same
place of the other half; ten folds, by patient. Printed: the AUC of each cut.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onset_evidence import ONSET, TASKS, WholeCohort
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tissueclock.cohort.pairs import other_halves

_LEAST = 1e-3


def lesion_means(hemisphere: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The logarithm of each series' mean within a mask, brain alone."""
    inside = mask & (hemisphere[0] > 0)
    if not inside.any():
        return np.full(len(hemisphere), np.nan)
    return np.log(np.maximum([float(series[inside].mean()) for series in hemisphere], _LEAST))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, help="packed phantom cohort")
    data = WholeCohort(parser.parse_args().cohort)
    table, masks, others = data.cohort.table, data.masks, other_halves(data.cohort.table)
    if masks is None:
        parser.error("the cohort has no lesion masks")
    for phase in ONSET:
        rows = [i for i, hemisphere in enumerate(table) if TASKS[phase].label(hemisphere) is not None]
        means = np.array([lesion_means(data.read([i])[0].numpy(), masks[i] > 0) for i in rows])
        mirrored = np.array([lesion_means(data.read([others[i]])[0].numpy(), masks[i] > 0) for i in rows])
        usable = np.isfinite(means).all(axis=1)
        ratios = np.where(np.isfinite(mirrored), means - mirrored, 0.0)
        labels = np.array([bool(TASKS[phase].label(table[i])) for i in rows])[usable]
        patients = [table[i].patient for i, use in zip(rows, usable, strict=True) if use]
        for name, features in (("own half", means), ("with ratios", np.hstack([means, ratios]))):
            scores = cross_val_predict(
                make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
                features[usable],
                labels,
                groups=patients,
                cv=StratifiedGroupKFold(10, shuffle=True, random_state=0),
                method="decision_function",
            )
            print(f"{phase} {name:<12} {roc_auc_score(labels, scores):.3f}  {len(labels)} hemispheres")


if __name__ == "__main__":
    main()
