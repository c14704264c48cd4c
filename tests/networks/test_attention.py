import numpy as np
import pytest
import torch

from tissueclock.networks.attention import AttentionGate


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, 4, 6, 5, generator=generator), torch.randn(3, 8, 3, 3, generator=generator)


@pytest.mark.parametrize("norm", ["mean_flow", "softmax", "sigmoid"])
def test_it_computes_the_published_equation(maps, norm):
    x, g = maps
    gate = AttentionGate(n_map=4, n_gating=8, norm=norm)
    w_x, w_g, psi = (m.weight.detach().flatten(1).numpy() for m in (gate.from_map, gate.from_gating, gate.score))
    guide = torch.nn.functional.interpolate(
        torch.from_numpy(np.einsum("of,nfhw->nohw", w_g, g.numpy())), size=(6, 5), mode="bilinear"
    ).numpy()
    inner = np.maximum(np.einsum("of,nfhw->nohw", w_x, x.numpy()) + guide, 0.0)
    offset = {"mean_flow": 0.0, "softmax": 10.0, "sigmoid": 3.0}[norm]
    c = np.einsum("f,nfhw->nhw", psi[0], inner).reshape(3, -1) + gate.score.bias.item() + offset
    if norm == "mean_flow":
        flow = c - c.min(axis=1, keepdims=True)
        alpha = flow / flow.sum(axis=1, keepdims=True)
    elif norm == "softmax":
        alpha = np.exp(c) / np.exp(c).sum(axis=1, keepdims=True)
    else:
        alpha = 1 / (1 + np.exp(-c))
    pooled = np.einsum("np,nfp->nf", alpha, x.flatten(2).numpy()) / (alpha.shape[1] if norm == "sigmoid" else 1)
    with torch.no_grad():
        np.testing.assert_allclose(gate.attention(x, g).flatten(1).numpy(), alpha, rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(gate(x, g).numpy(), pooled, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("norm", ["mean_flow", "softmax"])
def test_attention_sums_to_one(maps, norm):
    total = AttentionGate(n_map=4, n_gating=8, norm=norm).attention(*maps).flatten(1).sum(1)
    torch.testing.assert_close(total, torch.ones(3))


@pytest.mark.parametrize("norm", ["mean_flow", "softmax", "sigmoid"])
def test_a_map_of_equal_scores_gives_numbers(norm):
    gate = AttentionGate(n_map=4, n_gating=8, norm=norm)
    pooled = gate(torch.zeros(2, 4, 6, 5), torch.zeros(2, 8, 3, 3))
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters() if parameter.grad is not None)


def test_it_reads_volumes_too():
    gate = AttentionGate(n_map=4, n_gating=8, norm="mean_flow", spatial_dims=3)
    x, g = torch.randn(2, 4, 6, 4, 4), torch.randn(2, 8, 3, 2, 2)
    assert gate.attention(x, g).shape == (2, 6, 4, 4)
    assert gate(x, g).shape == (2, 4)
