"""Tells whom a study names that it has ended: a command or an address is handed how it stands. Harms no study."""

import json
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tissueclock.study import NotifySettings

COMMAND_PATIENCE_S = 30.0
URL_PATIENCE_S = 10.0


def notify(settings: NotifySettings, status: Mapping[str, Any]) -> list[str]:
    """Tells all that are asked for, each once.

    Args:
        settings: Whom.
        status: How the study stands, as JSON facts. A command reads them from its standard input; an address is sent
            them by POST.

    Returns:
        What went wrong, a line each; nothing is raised. Of an address only the host is named: the rest may be a secret.
    """
    body = json.dumps(status).encode()
    faults = []
    if settings.command is not None and (fault := _call(settings.command, body)):
        faults.append(f"notify.command: {fault}")
    if settings.url is not None and (fault := _post(settings.url, body)):
        faults.append(f"notify.url: {urlsplit(settings.url).hostname}: {fault}")
    return faults


def missing_program(settings: NotifySettings) -> str | None:
    """Why the command cannot be called, as far as that is known before; one line."""
    if settings.command is None or shutil.which(program := shlex.split(settings.command)[0]):
        return None
    return f"notify.command: {program}: no such program"


def _call(command: str, body: bytes) -> str | None:
    try:
        done = subprocess.run(  # its output goes nowhere, so that what it leaves running holds up nobody
            shlex.split(command),
            input=body,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"ended after {COMMAND_PATIENCE_S:.0f} s: it had not by itself"
    except OSError as error:
        return f"cannot be called ({error.strerror or error})"
    return f"exit code {done.returncode}" if done.returncode else None


def _post(url: str, body: bytes) -> str | None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=URL_PATIENCE_S):  # noqa: S310 (settings allow http and https)
            return None
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'reason', error) or type(error).__name__})"
