"""What the commands share: the console, a line and a progress bar on it, and options that several of them have."""

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tissueclock.errors import InputError

console = Console(emoji=False)
if not console.is_terminal:
    console = Console(width=120, emoji=False)

Grid = Annotated[str, typer.Option(help="Slices, rows and columns of a hemisphere.")]
RayAddress = Annotated[
    str | None,
    typer.Option(help="A running Ray cluster: auto or HOST:PORT. Default: RAY_ADDRESS, else one on this machine."),
]


AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output; words go to stderr.")]


@contextlib.contextmanager
def told_as_json(asked: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Where `--json` was asked for, sends all that is printed to stderr while the block lasts; yields what tells it.

    The object is written when the block has ended well; numbers that are not finite are null. Without `--json`, what is
    yielded does nothing.

    Raises:
        InputError: There is no standard output.
    """
    if not asked:
        yield lambda _: None
        return
    if sys.stdout is None:
        raise InputError("--json: standard output is closed; allowed: a terminal, a pipe or a file")
    told: list[Mapping[str, Any]] = []
    console.stderr = True
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield told.append
    finally:
        console.stderr = False
    for facts in told:
        print(json.dumps(_finite(facts), allow_nan=False), flush=True)  # noqa: T201 (it is asked for)


def _finite(value: Any) -> Any:
    """The same, null in place of numbers that JSON has not."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


def say(text: str, *, style: str | None = None) -> None:
    """Prints a line as it is: no markup, no colours of rich's own, no breaks within a path."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def show_progress(unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar while the block lasts; yields what moves it: how many are done, of how many, and who is next."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(unit, total=None)

        def told(done: int, total: int, who: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{unit} {who}".strip())

        yield told


def parse_grid(text: str) -> tuple[int, int, int]:
    """Slices, rows and columns from text such as 24x224x112.

    Raises:
        InputError: It is not three whole numbers above 0.
    """
    try:
        n_slices, height, width = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise InputError(f"--grid is {text!r}; allowed: slices x rows x columns, such as 24x224x112") from error
    if min(n_slices, height, width) < 1:
        raise InputError(f"--grid is {text!r}; each number must be at least 1")
    return n_slices, height, width


def one_of(value: str, option: str, allowed: Sequence[str]) -> str:
    """The value of an option that takes one of a few words.

    Raises:
        InputError: It is none of them.
    """
    if value not in allowed:
        raise InputError(f"{option} is {value!r}; allowed: {', '.join(allowed)}")
    return value
