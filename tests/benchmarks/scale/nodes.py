"""A sweep on simulated nodes: python -m tests.benchmarks.scale.nodes STUDY N_NODES"""

import subprocess
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from tests.benchmarks.measuring import answer


def main(study: Path, n_nodes: int) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(n_nodes):
        cluster.add_node(num_cpus=1)
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "tissueclock", "sweep", str(study), "--ray-address", cluster.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - started_s
    cluster.shutdown()
    if done.returncode:
        sys.exit(done.stdout[-1000:] + done.stderr[-1000:])
    answer(wall_s=wall_s)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
