"""Seconds and peak memory of a job, step by step."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Takes the seconds and the peak memory of a job's steps.

    Attributes:
        seconds: By step, in the order they began.
        peak_mb: Most memory of the process up to the end of each step.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times what happens within; a step that is taken again adds up."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 3)
        self.peak_mb[name] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0, 1)
