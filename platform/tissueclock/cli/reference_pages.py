"""The pages of the documentation's reference: `python -m tissueclock.cli.reference_pages docs/reference`."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from tissueclock.catalog import phase_names, space_names, tell_phase, tell_space
from tissueclock.cli.app import EXIT_CODES, app
from tissueclock.cli.reference import Entry, files, hyperparameters, network_keys, network_kinds, study_keys
from tissueclock.imaging.exclusion import CERTAIN
from tissueclock.imaging.quality import FIGURES

_MADE = "Made by `python -m tissueclock.cli.reference_pages docs/reference`; a test holds it against the code."


def commands() -> list[tuple[str, str, list[Entry]]]:
    """Every command: its name, what it does, and its arguments and options."""
    group: Any = typer.main.get_command(app)
    return [
        (name, " ".join((command.help or "").split()), [_option(parameter) for parameter in command.params])
        for name, command in group.commands.items()
    ]


def _option(parameter: Any) -> Entry:
    is_argument = parameter.param_type_name == "argument"
    name = (
        (parameter.metavar or parameter.name.upper())
        if is_argument
        else ", ".join([*parameter.opts, *parameter.secondary_opts])
    )
    default = parameter.default
    told = "" if default is None or callable(default) or parameter.required else str(default)
    return Entry(name, told, "", parameter.help or "")


def pages() -> dict[str, str]:
    """The pages of the reference, by file name."""
    return {
        "study-file.md": _page("The study file", "One YAML file; unknown keys are refused.", _study_file()),
        "hyperparameters.md": _page(
            "Hyperparameters",
            "What `fix` pins, `narrow` bounds and a search space tunes.",
            _table(hyperparameters(), "name"),
        ),
        "phases-and-spaces.md": _page("Phases and search spaces", "Ours; a lab adds its own.", _phases_and_spaces()),
        "command-line.md": _page("The command line", "", _command_line()),
        "quality-figures.md": _page("Quality figures", "Columns of `qc.tsv`.", _quality_figures()),
        "files.md": _page("Files of a study", "Where each lies, and what it holds.", _table(files(), "file")),
    }


def _study_file() -> list[str]:
    lines = [*_table(study_keys(), "key"), "", "`networks.NAME` has a `kind`, `slice` where it says none:", ""]
    for kind, meaning in network_kinds().items():
        lines += [f"## `kind: {kind}`", "", meaning, "", *_table(network_keys(kind), "setting"), ""]
    return lines


def _phases_and_spaces() -> list[str]:
    lines = ["| phase | title | learns | networks |", "|---|---|---|---|"]
    for name in phase_names():
        told = tell_phase(name)
        lines.append(f"| `{name}` | {told.phase.title} | {_cell(told.meaning)} | {', '.join(told.phase.kinds)} |")
    for name in space_names():
        space = tell_space(name)
        lines += ["", f"## `{name}`", "", space.meaning, "", "| tuned | within | why |", "|---|---|---|"]
        lines += [f"| `{knob}` | {_cell(bounds)} | {_cell(why)} |" for knob, bounds, why in space.knobs]
    return lines


def _quality_figures() -> list[str]:
    def beyond(low: float, high: float) -> str:
        said = [f"below {low:g}"] if low > -math.inf else []
        return " or ".join([*said, *([f"above {high:g}"] if high < math.inf else [])])

    lines = ["| column | what it is | flagged | left out by default |", "|---|---|---|---|"]
    for figure in FIGURES:
        flagged = beyond(figure.low, figure.high)
        certain = beyond(*CERTAIN[figure.name]) if figure.name in CERTAIN else ""
        lines.append(f"| `{figure.name}` | {_cell(figure.title)} | {flagged} | {certain} |")
    return lines


def _command_line() -> list[str]:
    lines: list[str] = []
    for name, told, options in commands():
        lines += [f"## `tissueclock {name}`", "", told, "", *_table(options, "option"), ""]
    codes = [Entry(str(code), "", "", meaning) for code, meaning in EXIT_CODES.items()]
    return [*lines, "## Exit codes", "", *_table(codes, "code")]


def _page(title: str, what: str, lines: Sequence[str]) -> str:
    return "\n".join([f"# {title}", "", f"{what} {_MADE}".strip(), "", *lines]).rstrip() + "\n"


def _table(entries: Sequence[Entry], what: str) -> list[str]:
    """A table of Markdown, without the columns that nobody needs."""
    shown = [name for name in ("default", "allowed") if any(getattr(entry, name) for entry in entries)]
    head = [what, *shown, "meaning"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for entry in entries:
        cells = [f"`{entry.name}`", *(_cell(getattr(entry, name)) for name in shown), _cell(entry.meaning)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main(folder: Path) -> None:
    """Writes the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
