"""The views that the table of runs opens with: MLflow's own "shared views", tags of the experiment that a link names.

Without one, the table shows the source and the models, one folded row of the study, and every metric and parameter only
after many clicks. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

LEVEL_TAG = "level"
"""Of every run: `study`, `sweep` or `trial`; MLflow loses the nesting where runs are sorted, a filter by this stays."""

BEGUN_TAG = "begun"
"""Of a sweep's run: when it was opened, by which a table can be sorted without being nested."""

AUC_TAG = "holdout_auc_95"
"""Of a sweep's run: the holdout AUC of its best checkpoint with its interval, as text."""

SWEEPS, ALL = "sweeps", "tissueclock"
_TAG = "mlflow.sharedViewState."
_ALL_METRICS = ("best_value", "holdout_auc", "epoch")
_SWEEP_COLUMNS = (
    "tags.`status`",
    "tags.`arms`",
    "tags.`trials`",
    "metrics.`best_value`",
    "metrics.`holdout_auc`",
    f"tags.`{AUC_TAG}`",
    "tags.`cost`",
)
_WIDTHS = {
    "tags.`status`": 100,
    "tags.`arms`": 140,
    "tags.`trials`": 80,
    "tags.`cost`": 120,
    f"tags.`{AUC_TAG}`": 150,
    "metrics.`best_value`": 120,
    "metrics.`holdout_auc`": 110,
    "metrics.`epoch`": 80,
}


def shared_views(params: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The experiment's tags that hold the views, JSON: the sweeps, each phase's trials, and all runs nested.

    A parameter with a logarithm beside it is shown by its value alone; both are there to compare.

    Args:
        params: The parameters of trials, by phase.
    """
    views = {
        _TAG + SWEEPS: _state(_SWEEP_COLUMNS, level="sweep", by=f"tags.`{BEGUN_TAG}`", ascending=True),
        _TAG + ALL: _state(_trial_columns(name for names in params.values() for name in names)),
    }
    for phase, names in params.items():
        columns = _trial_columns(names)
        views[_TAG + trials_view(phase)] = _state(
            columns, level="trial", phase=phase, by="metrics.`best_value`", ascending=False
        )
    return views


def trials_view(phase: str) -> str:
    """The name of the view of a phase's trials, best first."""
    return f"trials-{phase}"


def table_path(experiment_id: str, view: str = SWEEPS) -> str:
    """The path of a view behind a server's address; MLflow ignores the columns if the path asks for an order."""
    # without its kind, the page that is made for language models is shown around the runs
    query = {"workflowType": "machine_learning", "viewStateShareKey": view}
    return f"#/experiments/{experiment_id}/runs?{urlencode(query)}"


def _trial_columns(params: Iterable[str]) -> list[str]:
    shown = [name for name in dict.fromkeys(params) if not name.startswith("log10_")]
    return ["tags.`status`", *(f"metrics.`{name}`" for name in _ALL_METRICS), *(f"params.`{name}`" for name in shown)]


def _state(
    columns: Iterable[str],
    *,
    level: str = "",
    phase: str = "",
    by: str = "attributes.start_time",
    ascending: bool = True,
) -> str:
    # oldest first, so that phases come in their order; where runs are sorted by time, MLflow nests them, and folds
    # all of them into the study's row, whatever the filter says: so sweeps are sorted by a tag
    order = {"orderByKey": by, "orderByAsc": ascending}
    told = {LEVEL_TAG: level, "phase": phase}
    asked = " and ".join(f"tags.{name} = '{value}'" for name, value in told.items() if value)
    shown = list(columns)
    state = {**order, "selectedColumns": shown, "columnOrder": shown, "columnWidths": _WIDTHS}
    return json.dumps({**state, "searchFilter": asked} if asked else state)
