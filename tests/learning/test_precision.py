import pytest
import torch

from tissueclock.learning.precision import autocast, uses_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has_amx", "wanted"), [(True, True), (False, False)])
def test_a_cpu_runs_in_bfloat16_only_where_it_pays(monkeypatch, has_amx, wanted):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_amx, "avx512_bf16": True}, raising=False
    )
    assert uses_bfloat16("auto", device=CPU) is wanted


def test_a_torch_that_cannot_tell_runs_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not uses_bfloat16("auto", device=CPU)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_choice_is_obeyed(precision, dtype):
    with autocast(precision, device=CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
