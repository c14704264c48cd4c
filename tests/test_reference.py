"""Reference pages are what the code says."""

from pathlib import Path

from tissueclock.cli.reference import hyperparameter_table

DOCS = Path(__file__).parents[1] / "docs"


def test_the_table_of_hyperparameters_is_that_of_the_code() -> None:
    said = (DOCS / "hyperparameters.md").read_text()

    assert said == hyperparameter_table(), "run python -m tissueclock.cli.reference > docs/hyperparameters.md"
