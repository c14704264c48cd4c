"""How often the map of a network that was never trained is told from permuted weights; nominal: 5 %.

python -m tests.benchmarks.untrained_looks
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from tissueclock.cohort.questions import OnsetBefore
from tissueclock.cohort.store import Cohort
from tissueclock.learning.standardising import standardise
from tissueclock.networks.building import build_network
from tissueclock.phantom.generate import make_phantom
from tissueclock.storage.folders import PromotedFolder
from tissueclock.training.looking import look_on_holdout
from tissueclock.training.scoring import samples_of

CPU = torch.device("cpu")
NETWORKS = {
    "attention": ({"kind": "voxel", "cell": 1, "width": 8, "attention": "softmax"}, 60),
    "attention off": ({"kind": "voxel", "cell": 1, "width": 8, "attention": "off"}, 60),
    "slice": ({"kind": "slice", "width": 4}, 20),
    "volume": ({"kind": "volume", "width": 4}, 20),
}


def main() -> None:
    """Prints for each kind how many of its networks have p of at most .05; weights are drawn with seeds 0, 1, ..."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_phantom(folder / "cohort", preset="easy", n_patients=20, n_held_out=30, shape=(8, 32, 16), seed=3)
        cohort, asked = Cohort.open(folder / "cohort"), OnsetBefore(270.0)
        view, sweep = cohort.holdout_view(), cohort.sweep_view()
        samples = samples_of(asked, cohort.table, view, view.rows("holdout"))
        train = samples_of(asked, cohort.table, sweep, sweep.rows("train"))
        masks = cohort.lesion_masks
        if masks is None:
            raise AssertionError("a phantom's lesions are known")
        for name, (description, n) in NETWORKS.items():
            p = []
            for seed in range(n):
                generator = torch.Generator().manual_seed(seed)
                network = build_network({**description, "n_slices": 8})
                standardise(network, train, device=CPU)
                network.reset_parameters(generator)
                with torch.no_grad():
                    for parameter in network.parameters():
                        if not parameter.any():  # what starts at zero looks evenly
                            parameter.normal_(0, 0.5, generator=generator)
                promoted = PromotedFolder(folder / f"{name}-{seed}")
                promoted.path.mkdir()
                names = [str(row) for row in samples.rows]
                looked = look_on_holdout(promoted, [network.eval()], view, samples.rows, masks, names=names)
                if looked is not None:
                    ranks = np.array(looked.facts["hit_permuted"]) >= looked.facts["hit"]
                    p.append((1 + ranks.sum()) / (1 + len(ranks)))
            print(f"{name}: {int((np.array(p) <= 0.05).sum())} of {len(p)}", flush=True)


if __name__ == "__main__":
    main()
