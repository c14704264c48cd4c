"""Reference tables that are made from the code, so that they cannot differ from it."""

from dataclasses import fields

from tissueclock.learning.hyperparameters import ROWS, Hyperparameters, RadiomicsHyperparameters, Row

_HEAD = """# Hyperparameters

What `fix` in a study may pin and what a search space may tune. Made by `python -m tissueclock.cli.reference`.

| name | default | allowed | scale | meaning |
|---|---|---|---|---|
"""


def hyperparameter_table() -> str:
    """Every hyperparameter as a page of Markdown: default, what is allowed, scale, meaning."""
    kinds = (Hyperparameters, RadiomicsHyperparameters)
    defaults = {field.name: field.default for kind in kinds for field in fields(kind)}
    lines = [
        f"| `{name}` | {defaults[name]} | {_allowed(row)} | {'log' if row.log else ''} | {row.meaning} |"
        for name, row in ROWS.items()
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _allowed(row: Row) -> str:
    if row.choices:
        return ", ".join(f"`{choice}`" for choice in row.choices)
    return f"at least {row.least:g}" if row.most == float("inf") else f"{row.least:g} to {row.most:.6g}"


if __name__ == "__main__":
    print(hyperparameter_table(), end="")  # noqa: T201 (it is what is asked for)
