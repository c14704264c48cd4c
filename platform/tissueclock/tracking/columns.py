"""The columns that the table of runs opens with: MLflow's own "shared view", a tag of the experiment that a link names.

Without it, the table shows the source and the models, and every metric and parameter only after many clicks. Pure.
"""

import json
from collections.abc import Iterable
from urllib.parse import urlencode

_VIEW_KEY = "tissueclock"
COLUMNS_TAG = f"mlflow.sharedViewState.{_VIEW_KEY}"
_METRICS = ("best_value", "holdout_auc", "epoch")
_WIDTHS = {"tags.`status`": 100, "metrics.`best_value`": 120, "metrics.`holdout_auc`": 110, "metrics.`epoch`": 80}


def columns_state(params: Iterable[str]) -> str:
    """What the tag holds, JSON: the status, the metrics that people compare, and these parameters.

    A parameter with a logarithm beside it is shown by its value alone; both are there to compare.
    """
    shown = [name for name in params if not name.startswith("log10_")]
    columns = ["tags.`status`", *(f"metrics.`{name}`" for name in _METRICS), *(f"params.`{name}`" for name in shown)]
    # oldest first: runs are nested only where they are sorted by time, and phases come in their order
    order = {"orderByKey": "attributes.start_time", "orderByAsc": True}
    return json.dumps({**order, "selectedColumns": columns, "columnOrder": columns, "columnWidths": _WIDTHS})


def table_path(experiment_id: str) -> str:
    """The path of that table behind a server's address; MLflow ignores the columns if the path asks for an order."""
    # without its kind, the page that is made for language models is shown around the runs
    query = {"workflowType": "machine_learning", "viewStateShareKey": _VIEW_KEY}
    return f"#/experiments/{experiment_id}/runs?{urlencode(query)}"
