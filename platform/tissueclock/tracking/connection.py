"""The connection to a tracker: MLflow's environment, a client for a URI, and one line where nothing answers.

Knows nothing of runs. MLflow is imported inside the functions: that takes seconds, and its environment must be set
first.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tissueclock.errors import InputError
from tissueclock.storage.locks import wait_for

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https")
_CHECK_TIMEOUT_S = 4.0
CREDENTIALS = (
    "its name and password stand in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or a token in "
    "MLFLOW_TRACKING_TOKEN)"
)
_SECRET_OPTION = re.compile(r"([?&](?:user|password|passwd|pwd|token)=)[^&\s'\"]*", re.IGNORECASE)
_SQLITE_MAGIC = b"SQLite format 3\x00"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # the follower goes back and looks before it tries again, so that a request that was answered too late is not
    # made twice: MLflow's own retries would double runs
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def prepare_environment() -> None:
    """Sets what MLflow reads when it is imported (telemetry off, short patience, quiet); a user's own values stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    spare_localhost()
    # deprecations between MLflow and SQLAlchemy are none of the user's business
    for module in (r"mlflow(\.|$)", r"sqlalchemy(\.|$)", r"alembic(\.|$)"):
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=module)


def spare_localhost() -> None:
    """Keeps this machine's own address from a proxy that the environment names."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if named != "*":
        spared = ",".join(dict.fromkeys([*filter(None, named.split(",")), "localhost", "127.0.0.1", "::1"]))
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = spared


def one_line_answer(error: Exception, uri: str) -> str:
    """Why a server did not do what was asked, in one line: away, slow, behind a proxy, or not this user's."""
    text, where = str(error), redacted(uri)
    if "ProxyError" in text or "Cannot connect to proxy" in text:
        proxies = {
            n: os.environ[n] for n in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY") if n in os.environ
        }
        named = " or ".join(f"{name}={redacted(value)}" for name, value in proxies.items()) or "a proxy"
        return f"{where} cannot be reached through {named}; name its host in NO_PROXY, or mend the proxy"
    if "Read timed out" in text or "ReadTimeout" in text:
        return f"the MLflow server at {where} is there and does not answer in time: busy or paused"
    if re.search(r"error code 40[13]\b", text):  # MLflow's words
        return f"the MLflow server at {where} refuses this user: {CREDENTIALS}"
    if "HTTPConnectionPool" in text or "HTTPSConnectionPool" in text:
        return f"no MLflow server answers at {where}"
    return one_line(error)


def is_forbidden(error: Exception) -> bool:
    """Whether a server that shows users their own alone refuses: it says the same of what is not there."""
    return getattr(error, "error_code", "") == "PERMISSION_DENIED" or "error code 403" in str(error)


def open_client(uri: str) -> Any:
    """An `MlflowClient` for tracking and registry; a fresh SQLite database is made first, by one process at a time.

    Args:
        uri: The tracker; see `SCHEMES`.

    Raises:
        InputError: The URI's scheme is not one of `SCHEMES`.
    """
    _check_scheme(uri)
    prepare_environment()
    from mlflow.tracking import MlflowClient

    with _making_database(uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client


def check_tracker(uri: str) -> None:
    """Says in one line if the tracker cannot be used; makes nothing, and returns within a few seconds.

    Args:
        uri: The tracker; see `SCHEMES`.

    Raises:
        InputError: The scheme is unknown, the database's folder cannot be written, the file is no SQLite database, or
            no MLflow server answers.
    """
    _check_scheme(uri)
    if (path := sqlite_path(uri)) is not None:
        _check_sqlite(path, uri)
    elif urlsplit(uri).scheme in ("http", "https"):
        _check_server(uri)
    else:
        _check_database(uri)


def sqlite_path(uri: str) -> Path | None:
    """The database file of a `sqlite:///` URI; None for any other."""
    prefix, _, rest = uri.partition(":///")
    return Path(rest.partition("?")[0]).absolute() if prefix.partition("+")[0] == "sqlite" and rest else None


def redacted(uri: str) -> str:
    """The URI without the user and the password that it may hold, before its host or among its options.

    >>> redacted("postgresql://ann:p@ss@db/mlflow?password=p&sslmode=require")
    'postgresql://***@db/mlflow?password=***&sslmode=require'
    """
    return _SECRET_OPTION.sub(r"\1***", re.sub(r"://[^/\s]*@", "://***@", uri))


def one_line(error: BaseException) -> str:
    """What an error says, on one line of at most 200 characters, without passwords."""
    text = redacted(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def _check_scheme(uri: str) -> None:
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in SCHEMES:
        raise InputError(
            f"tracking URI {redacted(uri)!r}: the scheme is {scheme or 'missing'}; allowed are {', '.join(SCHEMES)} "
            "(a local file: sqlite:///path/to/mlflow.db)"
        )
    if scheme == "sqlite" and sqlite_path(uri) is None:
        raise InputError(f"tracking URI {uri!r}: names no file; write sqlite:///path/to/mlflow.db")


def _check_sqlite(path: Path, uri: str) -> None:
    if path.exists():
        try:
            with path.open("rb") as stream:
                head = stream.read(len(_SQLITE_MAGIC))
        except OSError as error:
            raise InputError(f"tracking URI {uri!r}: {path} cannot be read ({error.strerror})") from error
        if head and head != _SQLITE_MAGIC:
            raise InputError(f"tracking URI {uri!r}: {path} is not an SQLite database (it begins with {head[:8]!r})")
    folder = path if path.exists() else next(parent for parent in path.parents if parent.exists())
    if not os.access(folder, os.W_OK):
        raise InputError(f"tracking URI {uri!r}: {folder} cannot be written")


def _check_server(uri: str) -> None:
    import requests

    spare_localhost()
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    try:
        answer = requests.post(
            url,
            json={"max_results": 1},
            timeout=_CHECK_TIMEOUT_S,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None,
        )
    except requests.RequestException as error:
        if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.ReadTimeout):
            raise InputError(f"tracking URI {redacted(uri)!r}: {one_line_answer(error, uri)}") from error
        raise InputError(
            f"tracking URI {redacted(uri)!r}: no MLflow server answers there (no connection); start it, or leave the "
            "URI out to log to a file in the study folder"
        ) from error
    if answer.status_code in (401, 403):
        raise InputError(
            f"tracking URI {redacted(uri)!r}: answered {answer.status_code} {answer.reason}: {CREDENTIALS}"
        )
    if not answer.ok:
        raise InputError(
            f"tracking URI {redacted(uri)!r}: answered {answer.status_code} {answer.reason}; an MLflow server is "
            "needed that lets this user search experiments"
        )


def _check_database(uri: str) -> None:
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(uri, pool_timeout=_CHECK_TIMEOUT_S)
        engine.connect().close()
        engine.dispose()
    except Exception as error:  # whatever a driver raises, or that there is none
        raise InputError(f"tracking URI {redacted(uri)!r}: cannot be reached ({one_line(error)})") from error


@contextlib.contextmanager
def _making_database(uri: str) -> Iterator[None]:
    """Holds a lock while an SQLite database is opened: two that make its tables at once crash (mlflow 3.17)."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with wait_for(path.with_name(f".{path.name}.lock")):
        yield
