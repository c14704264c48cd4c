"""How learning rates change over the steps of a trial.

A factor, by which the rates that a configuration asks for are multiplied.
"""

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]

_LEAST = 0.01
"""What a cosine ends at: small enough to stand still, and not 0, so that bounds of AdaBound stay apart."""


def rate_factor(schedule: Schedule, *, i_step: int, n_steps: int) -> float:
    """The factor at step `i_step` of `n_steps`, counted from 0: 1 at first, and always 1 if it is `constant`.

    Args:
        schedule: `cosine` falls from 1 to a hundredth, as half a period of a cosine does.
        i_step: At least 0; beyond the last step the factor stays what it is there.
        n_steps: At least 1.

    References:
        Loshchilov and Hutter 2017, arXiv:1608.03983.

    >>> [round(rate_factor("cosine", i_step=i, n_steps=100), 3) for i in (0, 50, 100)]
    [1.0, 0.505, 0.01]
    """
    if schedule == "constant":
        return 1.0
    done = min(i_step / n_steps, 1.0)
    return _LEAST + (1.0 - _LEAST) * 0.5 * (1.0 + math.cos(math.pi * done))
