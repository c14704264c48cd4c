"""The command `explain`: what can be said in a study, and why its bounds are what they are."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tissueclock.cli.console import console, say
from tissueclock.errors import InputError

if TYPE_CHECKING:
    from tissueclock.cli.reference import Entry

_LEAST_LIKE = 0.5


def explain(
    name: Annotated[
        str | None,
        typer.Argument(help="A phase, a space, a kind of network, a hyperparameter or a key; none: all by name."),
    ] = None,
    extensions: Annotated[Path | None, typer.Option(help="A lab's own folder of phases and spaces.")] = None,
) -> None:
    """Say what a phase, network, hyperparameter or key of a study is, what is allowed and why."""
    from tissueclock import catalog
    from tissueclock.cli import reference

    if extensions is not None:
        catalog.use_extensions(extensions.resolve())
    known = {
        "phases": catalog.phase_names(),
        "search spaces": catalog.space_names(),
        "kinds of network": list(reference.network_kinds()),
        "hyperparameters": [entry.name for entry in reference.hyperparameters()],
        "keys of a study": [entry.name for entry in reference.study_keys()],
    }
    if name is None:
        for what, names in known.items():
            say(f"{what}:", style="bold")
            console.print("  " + ", ".join(names), highlight=False, markup=False)
        say("tissueclock explain NAME tells more of each")
        return
    name = name.strip()
    tell = {"phases": _phase, "search spaces": _space, "kinds of network": _kind, "hyperparameters": _hyperparameter}
    found = [what for what in tell if name in known[what]]
    for what in found:
        tell[what](name)
    if not (_settings(name) or _keys(name) or found):
        every = dict.fromkeys(each for names in known.values() for each in names)
        near = difflib.get_close_matches(name, every, n=5, cutoff=_LEAST_LIKE)
        hint = f"near it: {', '.join(near)}" if near else "without a name it lists all"
        raise InputError(f"explain {name}: no phase, space, network, hyperparameter or key of that name; {hint}")


def _kind(name: str) -> None:
    from tissueclock.cli import reference

    say(f"network of kind {name}: {reference.network_kinds()[name]}")
    _entries(reference.network_keys(name), "setting")


def _hyperparameter(name: str) -> None:
    from tissueclock.cli import reference

    (entry,) = (entry for entry in reference.hyperparameters() if entry.name == name)
    say(f"hyperparameter {name}: {entry.meaning}")
    say(f"  default {entry.default}; allowed: {entry.allowed}")
    _spaces_of(name)


def _settings(name: str) -> bool:
    """Tells of the settings of networks that are called so; whether there are any."""
    from tissueclock.cli import reference

    found = {kind: [e for e in reference.network_keys(kind) if e.name == name] for kind in reference.network_kinds()}
    for kind, entries in found.items():
        if entries:
            say(f"setting of a network of kind {kind}:")
            _entries(entries, "setting")
    return any(found.values())


def _keys(name: str) -> bool:
    """Tells of the study's keys that are called so, or lie below it; whether there are any."""
    from tissueclock.cli import reference

    found = [
        entry
        for entry in reference.study_keys()
        if name in (entry.name, entry.name.rpartition(".")[2]) or entry.name.startswith(f"{name}.")
    ]
    if found:
        _entries(found, "key of a study")
    return bool(found)


def _phase(name: str) -> None:
    from tissueclock.catalog import tell_phase

    told = tell_phase(name)
    phase = told.phase
    say(f"phase {name} ({phase.title}): {told.meaning}")
    say(f"  networks: {', '.join(phase.kinds)}; trials are ranked by {phase.task.objective}")
    if phase.needs_parent:
        say("  first weights: previous, or a file's")
    if phase.defaults:
        say("  unless tuned or pinned: " + ", ".join(f"{knob} {value}" for knob, value in phase.defaults.items()))
    say(f"  can be tuned or pinned: {', '.join(sorted(phase.task.accepted()))}")


def _space(name: str) -> None:
    from tissueclock.catalog import tell_space

    told = tell_space(name)
    say(f"search space {name}: {told.meaning}")
    table = Table("tuned", "within", "why")
    for row in told.knobs:
        table.add_row(*map(escape, row))
    console.print(table)


def _spaces_of(knob: str) -> None:
    from tissueclock.catalog import space_names, tell_space

    for name in space_names():
        try:
            knobs = tell_space(name).knobs
        except InputError as error:  # a lab's, which was not asked for
            say(f"  {error}", style="yellow")
            continue
        for tuned, bounds, why in knobs:
            if tuned == knob:
                say(f"  {name}: {bounds}. {why}")


def _entries(entries: "Sequence[Entry]", what: str) -> None:
    table = Table(what, "default", "allowed", "meaning")
    for entry in entries:
        table.add_row(*map(escape, (entry.name, entry.default, entry.allowed, entry.meaning)))
    console.print(table)
