import json
import pickle

import pytest
import torch

from tissueclock.errors import CheckpointError
from tissueclock.learning.checkpoint import read_checkpoint, read_tensors, write_checkpoint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor(7)}

BEST = "best.safetensors"
FACTS = "facts.json"
OPTIMISER = "optimiser.safetensors"
WEIGHTS = "weights.safetensors"


@pytest.fixture
def checkpoint(folder):
    write_checkpoint(folder, weights=TENSORS, best={"a": torch.zeros(2)}, optimiser={}, facts={"epoch": 3})
    return folder


def test_what_is_written_is_read(checkpoint):
    read = read_checkpoint(checkpoint)
    assert read.facts["epoch"] == 3
    assert all(torch.equal(read.weights()[name], tensor) for name, tensor in TENSORS.items())
    assert torch.equal(read.best_weights()["a"], torch.zeros(2))
    assert read.optimiser() == {}
    assert sorted(path.name for path in checkpoint.iterdir()) == sorted([FACTS, WEIGHTS, BEST, OPTIMISER])


def test_a_newer_checkpoint_takes_the_place_of_an_older_one(checkpoint):
    write_checkpoint(checkpoint, weights={"c": torch.ones(1)}, best={}, optimiser={}, facts={"epoch": 4})
    assert read_checkpoint(checkpoint).facts["epoch"] == 4
    assert list(read_checkpoint(checkpoint).weights()) == ["c"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-4])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [WEIGHTS, BEST])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing, but facts.json names it"),
        (truncate, "digest is [0-9a-f]{12}, but facts.json says [0-9a-f]{12}; it was altered"),
        (flip_a_bit, "it was altered"),
        (lambda path: path.write_bytes(pickle.dumps({})), "it was altered"),
    ],
)
def test_damaged_files_are_refused_in_one_line(checkpoint, name, damage, message):
    damage(checkpoint / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(checkpoint)
    assert str(caught.value).startswith(str(checkpoint / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing; the folder holds no whole checkpoint"),
        (lambda path: path.write_text('{"schema": 1'), "cannot be read as JSON"),
        (lambda path: path.write_text("[]"), "a JSON list found; an object is allowed"),
        (lambda path: path.write_text('{"schema": 2}'), "schema 2 found; this version reads schema 1"),
        (lambda path: path.write_text('{"schema": 1, "digests": {}}'), "digests must name weights.safetensors"),
        (lambda path: path.write_bytes(b"\x80\x04\x95\xff"), "cannot be read as JSON"),
    ],
)
def test_foreign_facts_are_refused_in_one_line(checkpoint, damage, message):
    damage(checkpoint / FACTS)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)


def test_a_write_that_is_cut_short_leaves_no_checkpoint(checkpoint, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tissueclock.learning.checkpoint.digest_file", full)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(checkpoint, weights=TENSORS, best={}, optimiser={}, facts={})
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), "is a pickle, which can run code"),
        (b"PK\x03\x04rest of a torch file", "is a pickle, which can run code"),
        (b"", "is truncated or no safetensors file"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "is truncated or no safetensors file"),
        (b"a text that someone left here", "is truncated or no safetensors file"),
    ],
)
def test_foreign_weights_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none.safetensors: is missing"):
        read_tensors(tmp_path / "none.safetensors")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|cannot be written"):
        write_checkpoint(tmp_path / "file" / "inside", weights=TENSORS, best={}, optimiser={}, facts={})


def test_no_file_of_a_learner_is_a_pickle(make_learner, folder):
    learner = make_learner()
    learner.run_epoch()
    learner.save(folder)
    for path in folder.iterdir():
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(path.read_bytes()[:200] + b".")
    facts = json.loads((folder / FACTS).read_text())
    assert facts["hyperparameters"]["batch_size"] == 16
    assert facts["network"]["kind"] == "slice"
