"""The composition root: every command in the order that help shows, and the exit code of each way to end."""

import errno
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from tissueclock import __version__
from tissueclock.cli import answers, bids, explain, phantom, scans, starting, study
from tissueclock.cli.console import say
from tissueclock.errors import BusyError, InputError, StorageError, TissueclockError

_WrongUsage: type[Exception] = typer.BadParameter.mro()[1]
"""click's UsageError, which newer releases of typer carry without exporting it."""
_INTERRUPTED = 130
EXIT_CODES = {
    0: "Done.",
    1: "The run failed: a sweep or a patient; what was done is kept, and the same command goes on.",
    2: "The input is wrong, or the disk is full: one line says what was found and what is allowed.",
    _INTERRUPTED: "Interrupted (Ctrl+C, or SIGTERM as batch systems send it); the same command goes on.",
}
_DISK_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
)

app = typer.Typer(
    help="Sweeps multi-phase transfer learning that tells from brain MRI how long ago a stroke began.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _command in (
    scans.ingest,
    scans.preprocess,
    scans.pack,
    phantom.phantom,
    starting.init,
    explain.explain,
    study.plan,
    study.sweep,
    study.status,
    study.report,
    answers.predict,
    answers.evaluate,
    study.ui,
):
    app.command()(_command)
app.command(context_settings={"allow_extra_args": True})(bids.bids)  # --participant-label 01 02


def main() -> NoReturn:
    """Runs the command line; ends with one of `EXIT_CODES`."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(prog_name="tissueclock", standalone_mode=False)
    except (InputError, StorageError, BusyError) as error:
        _fail(error, 2)
    except TissueclockError as error:
        _fail(error, 1)
    except _WrongUsage as error:
        _fail(_usage_line(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        _fail(f"{error.filename or 'disk'}: cannot be read or written ({error.strerror})", 2)
    if code == _INTERRUPTED:  # newer releases of typer return it, older ones raise Abort
        Console(stderr=True).print("interrupted; the same command goes on from here", highlight=False)
    sys.exit(code if isinstance(code, int) else 0)


def _version(asked: bool) -> None:
    if asked:
        say(f"tissueclock {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Sweeps multi-phase transfer learning that tells from brain MRI how long ago a stroke began."""


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _usage_line(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "tissueclock"
    return f"{error.format_message().rstrip('.')}; `{command} --help` says what is allowed"


def _fail(error: Exception | str, code: int) -> NoReturn:
    line = " ".join(str(error).split())
    Console(stderr=True, soft_wrap=True, emoji=False).print(f"[red]error:[/red] {escape(line)}", highlight=False)
    sys.exit(code)
