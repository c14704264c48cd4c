"""A step of five replicas, one after another and as one batched computation: `KIND SLICES ROWS COLUMNS BATCH`."""

import copy
import sys
import time

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.benchmarks.measuring import answer
from tissueclock.networks.building import build_network

N_REPLICAS, N_ROUNDS = 5, 9
NETWORKS = {
    "voxel": {"kind": "voxel", "width": 16, "cell": 2, "inputs": ["b0", "b1000", "flair", "adc"], "mirror_cells": 1},
    "slice": {"kind": "slice", "width": 8, "stem_stride": 2},
}


def main(kind: str, grid: tuple[int, ...], n_batch: int) -> None:
    """Forward and backward of each; prints seconds and the largest difference between the gradients."""
    torch.manual_seed(0)
    networks = [build_network({**NETWORKS[kind], "n_slices": grid[0]}) for _ in range(N_REPLICAS)]
    for network in networks:
        network.train(kind == "voxel")  # BatchNorm cannot keep running statistics under vmap: here neither side does
    x = torch.rand(N_REPLICAS, n_batch, 3, *grid) + 0.1
    labels = torch.randint(0, 2, (N_REPLICAS, n_batch)).float()
    parameters, buffers = stack_module_state(networks)
    base = copy.deepcopy(networks[0]).to("meta")

    def loss(own: dict[str, Tensor], held: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(functional_call(base, (own, held), (x,)), labels)

    together = vmap(grad(loss))

    def in_turn() -> list[dict[str, Tensor]]:
        for network, own_x, own_labels in zip(networks, x, labels, strict=True):
            network.zero_grad(set_to_none=True)
            binary_cross_entropy_with_logits(network(own_x), own_labels).backward()
        return [{n: p.grad for n, p in network.named_parameters() if p.grad is not None} for network in networks]

    fused, alone = together(parameters, buffers, x, labels), in_turn()
    apart = max(float((fused[n][i] - g).abs().max()) for i, own in enumerate(alone) for n, g in own.items())
    seconds: dict[str, list[float]] = {"in turn": [], "fused": []}
    for _ in range(N_ROUNDS):
        started = time.perf_counter()
        in_turn()
        between = time.perf_counter()
        together(parameters, buffers, x, labels)
        seconds["in turn"].append(between - started)
        seconds["fused"].append(time.perf_counter() - between)
    answer(seconds=seconds, apart=apart)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], tuple(map(int, sys.argv[2:5])), int(sys.argv[5]))
