"""A registered model's files, fetched from the tracker."""

import os
import re
from pathlib import Path

from tissueclock.errors import InputError
from tissueclock.tracking.connection import open_client, redacted

_NAME = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


def fetch_model(uri: str, tracking_uri: str | None, target: Path) -> Path:
    """Downloads a registered model.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        tracking_uri: The tracker; None: what MLFLOW_TRACKING_URI says.
        target: The folder that its files go to.

    Returns:
        The folder that holds the checkpoint's files.

    Raises:
        InputError: The name has another form, no tracker is named, or it knows no such model.
    """
    named = _NAME.fullmatch(uri)
    if named is None:
        raise InputError(f"{uri}: allowed: models:/NAME@ALIAS or models:/NAME/VERSION")
    tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not tracking_uri:
        raise InputError(f"{uri}: --tracking-uri (or MLFLOW_TRACKING_URI) must say which tracker knows it")
    client = open_client(tracking_uri)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    name = named["name"]
    try:
        if named["alias"]:
            found = client.get_model_version_by_alias(name, named["alias"])
        else:
            found = client.get_model_version(name, named["version"])
        model_id = found.tags.get("model_id") or found.model_id  # a store opened directly gives back our tag alone
        if not model_id:
            raise InputError(f"{uri}: version {found.version} was not registered by tissueclock")
        location = client.get_logged_model(model_id).artifact_location
        target.mkdir(parents=True, exist_ok=True)
        return Path(download_artifacts(artifact_uri=location, dst_path=str(target / name), tracking_uri=tracking_uri))
    except (MlflowException, OSError) as error:
        raise InputError(
            f"{uri}: {redacted(tracking_uri)} does not give it ({' '.join(str(error).split())})"
        ) from error
