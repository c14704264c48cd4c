"""AdaBound against its equations, the package where it is right, another library, and each fault that is mended."""

import copy
import io
import math
import pickle
import warnings

import adabound
import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch import Tensor, nn

from tissueclock.learning.adabound import AdaBound, rate_bounds

N_STEPS = 60


def parameters(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (5,), (2, 3, 2), ()]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def set_gradients(params: list[nn.Parameter], *, step: int) -> None:
    """Gradients that depend on the parameters, and are noisy and of very different sizes."""
    generator = torch.Generator().manual_seed(1000 + step)
    for i, parameter in enumerate(params):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = (parameter.detach().double() * 10.0 ** (i - 2) + 0.3 * noise).to(parameter.dtype)


def run(optimiser: torch.optim.Optimizer, params: list[nn.Parameter], *, first: int = 1, last: int = N_STEPS) -> None:
    for step in range(first, last + 1):
        set_gradients(params, step=step)
        optimiser.step()


def reference(
    *, lr=1e-3, betas=(0.9, 0.999), final_lr=0.1, gamma=1e-3, eps=1e-8, weight_decay=0.0, amsbound=False,
    decoupled=False, lr_at=lambda step: None,
) -> list[np.ndarray]:  # fmt: skip
    """Every number for itself, in Python's floats, after SCIENCE section 5."""
    params = parameters()
    moments = [(np.zeros(p.shape), np.zeros(p.shape), np.zeros(p.shape)) for p in params]
    base_lr = lr
    for t in range(1, N_STEPS + 1):
        lr = lr_at(t) or lr
        set_gradients(params, step=t)
        for parameter, (m, v, v_max) in zip(params, moments, strict=True):
            p, g = parameter.detach().numpy(), parameter.grad.numpy()
            for i in np.ndindex(p.shape):
                gradient = g[i] + (0.0 if decoupled else weight_decay * p[i])
                m[i] = betas[0] * m[i] + (1 - betas[0]) * gradient
                v[i] = betas[1] * v[i] + (1 - betas[1]) * gradient**2
                v_max[i] = max(v_max[i], v[i])
                s = lr * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
                f = final_lr * lr / base_lr
                eta = s / (math.sqrt(v_max[i] if amsbound else v[i]) + eps)
                eta = min(max(eta, f * (1 - 1 / (gamma * t + 1))), f * (1 + 1 / (gamma * t)))
                p[i] -= eta * m[i] + (lr * weight_decay * p[i] if decoupled else 0.0)
    return [parameter.detach().numpy() for parameter in params]


CONFIGURATIONS = [
    {},
    {"amsbound": True, "betas": (0.8, 0.9)},
    {"weight_decay": 0.05},
    {"gamma": 0.5, "final_lr": 0.01},  # both bounds bite
    {"lr": 0.1, "final_lr": 1e-4, "gamma": 0.1, "amsbound": True, "weight_decay": 1e-3},
]


@pytest.mark.parametrize("foreach", [True, False, None])
@pytest.mark.parametrize("options", [*CONFIGURATIONS, {"weight_decay": 0.05, "decoupled": True}], ids=str)
def test_it_follows_the_equations(options, foreach):
    params = parameters()
    run(AdaBound(params, **options, foreach=foreach), params)
    for ours, theirs in zip(params, reference(**options), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12, atol=1e-14)


def test_final_lr_follows_the_learning_rate_of_a_schedule():
    params = parameters()
    optimiser = AdaBound(params, lr=1e-3, gamma=0.5)
    for step in range(1, N_STEPS + 1):
        optimiser.param_groups[0]["lr"] = 1e-3 * 0.97**step
        set_gradients(params, step=step)
        optimiser.step()
    wanted = reference(lr=1e-3, gamma=0.5, lr_at=lambda step: 1e-3 * 0.97**step)
    for ours, theirs in zip(params, wanted, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12)


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
@pytest.mark.filterwarnings("ignore:This overload of:UserWarning")  # the package's deprecated signatures
def test_it_agrees_with_the_package_where_the_package_is_right(options):
    ours, theirs = parameters(dtype=torch.float32), parameters(dtype=torch.float32)
    run(AdaBound(ours, **options), ours)
    run(adabound.AdaBound(theirs, **options), theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("options", CONFIGURATIONS[:4], ids=str)
def test_it_agrees_with_another_library(options):
    ours, theirs = parameters(), parameters()
    run(AdaBound(ours, **options), ours)
    other = {"ams_bound" if name == "amsbound" else name: value for name, value in options.items()}
    run(pytorch_optimizer.AdaBound(theirs, weight_decouple=False, **other), theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-7, atol=2e-8)


def test_a_group_that_is_added_later_learns():
    early, late = parameters(seed=1), parameters(seed=2)
    before = [p.detach().clone() for p in late]
    optimiser = AdaBound(early, lr=1e-3)
    run(optimiser, early, last=5)
    optimiser.add_param_group({"params": late, "lr": 1e-2})
    set_gradients(early, step=6)
    set_gradients(late, step=6)
    optimiser.step()
    assert all(not torch.equal(a, b) for a, b in zip(late, before, strict=True))
    assert optimiser.base_lrs == [1e-3, 1e-2]
    assert optimiser.state[late[0]]["step"] == 1
    assert optimiser.state[early[0]]["step"] == 6


def copied(optimiser: AdaBound, params: list[nn.Parameter]) -> tuple[AdaBound, list[nn.Parameter]]:
    return copy.deepcopy((optimiser, params))


def pickled(optimiser: AdaBound, params: list[nn.Parameter]) -> tuple[AdaBound, list[nn.Parameter]]:
    return pickle.loads(pickle.dumps((optimiser, params)))


def saved(optimiser: AdaBound, params: list[nn.Parameter]) -> tuple[AdaBound, list[nn.Parameter]]:
    """Through a file, into an optimiser that was built with other rates."""
    buffer = io.BytesIO()
    torch.save(optimiser.state_dict(), buffer)
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    other = AdaBound(twins, lr=0.7, final_lr=3.0, gamma=0.2)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other, twins


@pytest.mark.parametrize("way", [copied, pickled, saved])
def test_it_goes_on_the_same_after_being(way):
    whole, halved = parameters(), parameters()
    options = {"lr": 2e-3, "gamma": 0.05, "weight_decay": 0.01, "decoupled": True, "amsbound": True}
    run(AdaBound(whole, **options), whole)
    optimiser = AdaBound(halved, **options)
    run(optimiser, halved, last=20)
    optimiser, halved = way(optimiser, halved)
    run(optimiser, halved, first=21)
    assert optimiser.base_lrs == [2e-3]
    assert all(torch.equal(a, b) for a, b in zip(whole, halved, strict=True))


def test_a_state_that_the_package_saved_can_be_loaded():
    params = parameters()
    theirs = adabound.AdaBound(parameters(), lr=4e-3)
    ours = AdaBound(params)
    ours.load_state_dict(theirs.state_dict())
    run(ours, params, last=3)
    assert ours.base_lrs == [4e-3]


@pytest.mark.parametrize("frozen", [{"lr": 0.0}, {"final_lr": 0.0}], ids=str)
def test_a_rate_of_zero_moves_nothing_and_divides_by_nothing(frozen):
    params = parameters()
    before = [p.detach().clone() for p in params]
    run(AdaBound(params, **frozen), params, last=3)
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))


def test_a_rate_raised_from_zero_reaches_final_lr_unscaled():
    optimiser = AdaBound(parameters(), lr=0.0, final_lr=0.1)
    optimiser.param_groups[0]["lr"] = 1e-3
    bounds = rate_bounds(optimiser.param_groups[0], step=10**9)
    assert bounds.lower == pytest.approx(0.1, rel=1e-5)
    assert bounds.upper == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(("step", "lower", "upper"), [(34, 0.0033, 3.04), (340, 0.025, 0.39), (3400, 0.077, 0.129)])
def test_bounds_are_those_published(step, lower, upper):
    bounds = rate_bounds(AdaBound(parameters()).param_groups[0], step=step)
    assert (bounds.lower, bounds.upper) == (pytest.approx(lower, rel=0.02), pytest.approx(upper, rel=0.02))


def test_without_gamma_it_is_adam():
    ours, theirs = parameters(), parameters()
    run(AdaBound(ours, lr=1e-3, gamma=0.0), ours)
    run(torch.optim.Adam(theirs, lr=1e-3, eps=0.0), theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # eps stands elsewhere in Adam


def test_parameters_without_a_gradient_are_left_alone():
    params = parameters()
    optimiser = AdaBound(params)
    set_gradients(params, step=1)
    params[0].grad = None
    before = params[0].detach().clone()
    optimiser.step()
    assert torch.equal(params[0], before)
    assert params[0] not in optimiser.state


def test_a_closure_is_called_with_gradients_on():
    params = parameters()
    optimiser = AdaBound(params)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = sum((p**2).sum() for p in params)
        loss.backward()
        return loss

    first = optimiser.step(closure)
    assert closure() < first


@pytest.mark.parametrize(
    ("options", "message"),
    [({"weight_decay": -1.0}, "weight_decay: -1.0, but it must be at least 0"), ({"gamma": 1.0}, "Invalid gamma")],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AdaBound(parameters(), **options)


def test_no_warning_is_given():
    params = parameters()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        run(AdaBound(params, weight_decay=0.1, amsbound=True), params, last=2)
    assert given == []


def test_it_works_under_a_scheduler():
    params = parameters()
    optimiser = AdaBound(params, lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.5)
    set_gradients(params, step=1)
    optimiser.step()
    scheduler.step()
    assert optimiser.param_groups[0]["lr"] == pytest.approx(5e-4)
    assert rate_bounds(optimiser.param_groups[0], step=10**9).lower == pytest.approx(0.05, rel=1e-5)
