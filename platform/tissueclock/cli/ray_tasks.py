"""What runs many patients on Ray, for the commands that have patients to run."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tissueclock.cli.console import say


@contextlib.contextmanager
def on_ray(address: str | None, cpus: int | None) -> Iterator[Callable[..., Any]]:
    """A runner on Ray, which is imported and started when there is something to run, and left at the end."""
    with contextlib.ExitStack() as stack:
        head = None

        def run(function: Callable[[Any], None], jobs: Sequence[Any], *, memory_mb: int) -> Any:
            nonlocal head
            if not jobs:
                return iter(())

            from tissueclock.sweeping import cluster
            from tissueclock.sweeping.tasks import run_tasks

            if head is None:
                head = cluster.connect(address=address, n_cpus=cpus, say=say)
                stack.callback(cluster.disconnect)
            return run_tasks(function, jobs, memory_mb=memory_mb, head=head)

        yield run
