"""Slice pooling against probabilities in high precision, and at the ends of the range of floats."""

from decimal import Decimal, getcontext
from typing import get_args

import pytest
import torch
from torch import Tensor

from tissueclock.networks.slice_pooling import SlicePoolingName, build_slice_pooling

getcontext().prec = 60
NAMES = get_args(SlicePoolingName)
N_SLICES, N_FEATURES = 6, 5


def build(name: str):
    pooling = build_slice_pooling(name, n_slices=N_SLICES, n_features=N_FEATURES)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.normal_(generator=generator)
    return pooling


@pytest.fixture
def features() -> Tensor:
    return torch.randn(4, N_SLICES, N_FEATURES, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def mask() -> Tensor:
    return torch.tensor([[1] * 6, [0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 1]]).bool()


def exact_logit(z: Tensor, w: Tensor) -> float:
    """log(P / (1 - P)) of P = sum of w p, in 60 digits."""
    pairs = [(Decimal(float(a)), Decimal(float(b))) for a, b in zip(z, w, strict=True) if b > 0]
    p = sum(b / (1 + (-a).exp()) for a, b in pairs)
    q = sum(b / (1 + a.exp()) for a, b in pairs)
    return float((p / q).ln())


@pytest.mark.parametrize("name", ["position", "position_sigmoid", "gated_mil"])
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
def test_a_mixture_is_the_weighted_sum_of_probabilities(name, scale, features, mask):
    pooling = build(name)
    z = scale * torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4))
    w = pooling.slice_weights(z, features, mask)
    wanted = [exact_logit(z[i], w[i].detach()) for i in range(4)]
    assert pooling(z, features, mask).tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("scale", [-30.0, -8.0, 0.1, 3.0, 60.0])
def test_noisy_or_is_one_minus_the_product(scale, features, mask):
    z = scale + torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4))
    wanted = []
    for i in range(4):
        q = Decimal(1)
        for a, holds in zip(z[i], mask[i], strict=True):
            q *= 1 / (1 + Decimal(float(a)).exp()) if holds else 1
        wanted.append(float(((1 - q) / q).ln()))
    assert build("noisy_or")(z, features, mask).tolist() == pytest.approx(wanted, rel=1e-5)


def test_the_literal_rule_divides_by_its_weights(features, mask):
    pooling = build("position_sigmoid")
    w = torch.sigmoid(pooling.theta) * mask
    z = torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4))
    p = (w * z.sigmoid()).sum(1) / w.sum(1)
    torch.testing.assert_close(pooling(z, features, mask), torch.logit(p))


def test_the_logit_sum_adds_logits(features, mask):
    pooling = build("logit_sum")
    z = torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4))
    w = torch.softmax(pooling.theta.masked_fill(~mask, -torch.inf), dim=1)
    torch.testing.assert_close(pooling(z, features, mask), (w * z).sum(1) + pooling.bias)


def test_soft_maximum_lies_between_mean_and_maximum(features, mask):
    z = torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4))
    hard = build("max")(z, features, mask)
    soft = build("lse")(z, features, mask)
    assert torch.equal(hard, torch.stack([row[m].max() for row, m in zip(z, mask, strict=True)]))
    mean = torch.stack([row[m].mean() for row, m in zip(z, mask, strict=True)])
    assert ((mean <= soft + 1e-6) & (soft <= hard + 1e-6)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extreme", [1e4, -1e4])
@pytest.mark.parametrize("alternating", [False, True])
def test_logits_and_gradients_are_finite_at_the_ends(name, extreme, alternating, features, mask):
    pooling = build(name)
    z = torch.full((4, N_SLICES), extreme)
    if alternating:
        z[:, ::2] *= -1
    z.requires_grad_()
    logit = pooling(z, features, mask)
    for label in (0.0, 1.0):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.full((4,), label))
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    assert logit.isfinite().all()
    if not alternating and name not in ("logit_sum", "noisy_or"):
        assert logit.tolist() == pytest.approx([extreme] * 4, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_slices_outside_the_mask_do_not_count(name, features, mask):
    pooling = build(name)
    z = torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4), requires_grad=True)
    changed = torch.where(mask, z, 77.0).detach()
    logit = pooling(z, features, mask)
    assert torch.equal(logit, pooling(changed, features, mask))
    (gradient,) = torch.autograd.grad(logit.sum(), z)
    assert (gradient[~mask] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_slice_weights_are_shares(name, features, mask):
    z = torch.randn(4, N_SLICES, generator=torch.Generator().manual_seed(4))
    w = build(name).slice_weights(z, features, mask)
    torch.testing.assert_close(w.sum(1), torch.ones(4))
    assert (w >= 0).all()
    assert (w[~mask] == 0).all()


def test_positions_start_as_the_mean():
    pooling = build_slice_pooling("position", n_slices=N_SLICES, n_features=N_FEATURES)
    mask = torch.ones(1, N_SLICES, dtype=torch.bool)
    w = pooling.slice_weights(torch.zeros(1, N_SLICES), torch.zeros(1, N_SLICES, N_FEATURES), mask)
    torch.testing.assert_close(w, torch.full((1, N_SLICES), 1 / N_SLICES))


@pytest.mark.parametrize(("n", "wanted"), [(3, [0.0, 2.0, 4.0]), (9, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0])])
def test_theta_is_interpolated_from_the_first_to_the_last_slice(n, wanted):
    pooling = build_slice_pooling("position", n_slices=5, n_features=N_FEATURES)
    with torch.no_grad():
        pooling.theta.copy_(torch.arange(5.0))
    assert pooling.theta_at(n).tolist() == pytest.approx(wanted)
