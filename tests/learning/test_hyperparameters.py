import json

import pytest

from tissueclock.learning.hyperparameters import HyperparameterError, Hyperparameters


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"momentum": 0.9}, "^momentum: not a hyperparameter; these are parent, learned, freeze_depth"),
        ({"optimiser": "adam"}, "^optimiser: 'adam', but it must be one of adabound, amsbound, sgd, adamw$"),
        ({"learned": "heads"}, "^learned: 'heads', but it must be one of network, gates"),
        ({"lr": -1e-3}, "^lr: -0.001, but it must be a number from 0 to"),
        ({"lr": "1e-4"}, "^lr: '1e-4', but it must be a number"),
        ({"lr": float("nan")}, "^lr: nan, but it must be a number"),
        ({"gamma": 1.0}, "^gamma: 1.0, but it must be a number"),
        ({"batch_size": 0}, "^batch_size: 0, but it must be a whole number at least 1$"),
        ({"batch_size": 8.0}, "^batch_size: 8.0, but it must be a whole number"),
        ({"freeze_depth": 6}, "^freeze_depth: 6, but it must be a whole number from 0 to 5$"),
        ({"dropout": 1.0}, "^dropout: 1.0, but"),
        ({"augmentation": True}, "^augmentation: True, but"),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed(values, message):
    with pytest.raises(HyperparameterError, match=message):
        Hyperparameters.from_mapping(values)


def test_what_is_left_out_has_its_default():
    assert Hyperparameters.from_mapping({"lr": 1e-4}) == Hyperparameters(lr=1e-4)


def test_facts_survive_json():
    given = Hyperparameters(optimiser="sgd", augmentation=0.5)
    assert Hyperparameters.from_mapping(json.loads(json.dumps(given.as_facts()))) == given
