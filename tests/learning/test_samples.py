import numpy as np
import pytest
import torch

from tissueclock.errors import CohortError
from tissueclock.learning.samples import Samples, even_batches, read_batches


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"), [(17, 8, [6, 6, 5]), (16, 8, [8, 8]), (3, 8, [3]), (9, 1, [1] * 9)]
)
def test_no_batch_is_a_remnant(n, batch_size, sizes):
    batches = even_batches(np.arange(n), batch_size=batch_size)
    assert [len(batch) for batch in batches] == sizes
    assert np.array_equal(np.concatenate(batches), np.arange(n))


def test_batches_come_in_order_as_float32(fake_view):
    batches = [np.array([5, 3]), np.array([0]), np.array([119, 118, 7])]
    read = list(read_batches(fake_view, batches, device=torch.device("cpu")))
    for rows, batch in zip(batches, read, strict=True):
        assert batch.dtype == torch.float32
        assert np.array_equal(batch.numpy(), fake_view.hemispheres[rows].astype(np.float32))


def test_reading_ahead_gives_the_same_batches(fake_view):
    batches = [np.array([5, 3]), np.array([0]), np.array([119, 118, 7])]
    ahead = list(read_batches(fake_view, batches, device=torch.device("meta")))
    assert [len(batch) for batch in ahead] == [2, 1, 3]
    assert list(read_batches(fake_view, [], device=torch.device("meta"))) == []


def test_a_reader_that_fails_ahead_fails_the_loop(fake_view):
    with pytest.raises(IndexError):
        list(read_batches(fake_view, [np.array([0]), np.array([1000])], device=torch.device("meta")))


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([1, 1, 1], None, "3 of 3 are positive, but both classes are needed"),
        ([0, 0, 0], None, "0 of 3 are positive"),
        ([0, 1, 1], ("a",), "3 rows, 3 labels and 1 groups do not match"),
        ([0, 1, 2], None, "a label is neither 0 nor 1"),
    ],
)
def test_samples_that_cannot_be_learned_from_are_refused(fake_view, labels, groups, message):
    with pytest.raises(CohortError, match=message):
        Samples(view=fake_view, rows=np.arange(3), labels=np.array(labels), groups=groups)


def test_no_samples_at_all_are_refused(fake_view):
    with pytest.raises(CohortError, match="0 of 0 are positive"):
        Samples(view=fake_view, rows=np.arange(0), labels=np.zeros(0))
