"""The command line: the one package that knows all the others.

Commands import what they need when they are called, so that `--help` answers at once: nothing here imports torch, Ray,
MLflow or pandas at its top, and `progress` and `tables`, which stand on the report, are imported by commands alone.
"""

from tissueclock.cli.app import main

__all__ = ["main"]
