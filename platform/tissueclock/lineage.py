"""Where numbers come from: the code's version and git state, a lab's own code, and the environment that ran it."""

import ast
import hashlib
import json
import platform
import socket
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

import tissueclock

BUILT_FROM = "_built_from.json"
_N_SHORT = 12
_PACKAGES = ("torch", "ray", "optuna", "mlflow-skinny", "adabound", "scikit-learn", "numpy")
_NOT_CODE = ("ctx", "kind", "type_comment")
"""Fields of a syntax tree that follow from the others (`ctx`) or that nothing acts on."""


def code_facts() -> dict[str, Any]:
    """The package's version and the git state that it came from, where that is known.

    That is what `infra/submit_job.py` wrote beside shipped code, else the checkout that the package lies in; a package
    installed below somebody else's checkout is not tracked there, and comes from nowhere known.
    """
    here = Path(tissueclock.__file__).parent
    if (here / BUILT_FROM).exists():
        facts: dict[str, Any] = json.loads((here / BUILT_FROM).read_text(encoding="utf-8"))
        return facts
    commit = _git(here, "rev-parse", "HEAD") if _git(here, "ls-files", "--", "__init__.py") else None
    return {
        "version": tissueclock.__version__,
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git(here, "status", "--porcelain", "--untracked-files=no")),
    }


def describe_code(code: Mapping[str, Any]) -> str:
    """What `code_facts` gave, in words.

    >>> describe_code({"version": "0.1.0", "git_commit": "a14eec5f9e139c60b5f3", "git_dirty": True})
    'tissueclock 0.1.0, commit a14eec5f9e13, with uncommitted changes'
    """
    commit = code.get("git_commit")
    changed = ", with uncommitted changes" if code.get("git_dirty") else ""
    return f"tissueclock {code.get('version', '?')}, commit {str(commit)[:_N_SHORT] if commit else 'unknown'}{changed}"


def code_digests(name: str, file: Path, *, folder: Path | None, title: str) -> dict[str, str]:
    """The code of a module, and of all that it imports from a folder, digested so that only code counts.

    Compared are syntax trees without comments, docstrings, layout and the title. A file that is no Python source (a
    compiled module) counts by its bytes. An import counts where it stands as a statement, at whatever depth.

    Args:
        name: The module's, dotted.
        file: Where it was imported from.
        folder: On the import path; what is imported from elsewhere is not looked at. None: only the module itself.
        title: Text that changes no result, wherever it stands as a string of its own.

    Returns:
        SHA-256 by module name.
    """
    digests: dict[str, str] = {}
    to_read = {name: file}
    while to_read:
        name, file = to_read.popitem()
        source = file.read_bytes()
        try:
            with warnings.catch_warnings(action="ignore"):  # of doubtful escapes; Python said so when it compiled them
                tree = ast.parse(source)
            normal = json.dumps(_normal_form(tree, title)).encode()
        except (SyntaxError, ValueError, RecursionError):
            tree, normal = ast.Module([], []), source
        digests[name] = hashlib.sha256(normal).hexdigest()
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        if folder is not None:
            found = {each: _find_module(each, folder) for each in _imports(tree, package) if each not in digests}
            to_read |= {each: file for each, file in found.items() if file}
    return digests


def environment_facts() -> dict[str, Any]:
    """Python, host and the versions of the packages that results depend on."""
    return {
        "python": platform.python_version(),
        "hostname": socket.gethostname(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _normal_form(node: Any, title: str) -> Any:
    """A syntax tree as JSON facts that every Python version gives alike: newer ones add fields that are empty."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.Constant) and node.value == title:
            return ["title"]
        parts = {field: value for field, value in ast.iter_fields(node) if field not in _NOT_CODE and value != []}
        return [type(node).__name__, {field: _normal_form(value, title) for field, value in parts.items()}]
    if isinstance(node, list):
        return [_normal_form(each, title) for each in node if not _does_nothing(each)]
    return repr(node)


def _does_nothing(node: ast.AST) -> bool:
    """Whether it is a docstring or another constant that stands alone, or `pass`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The names of what may be modules that a syntax tree imports, and of the packages that these lie in."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = [*above, node.module] if node.module else above
            names = [".".join([*base, alias.name]) for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _find_module(name: str, folder: Path) -> Path | None:
    """The file that a module would be imported from."""
    at = folder.joinpath(*name.split("."))
    files = (Path(f"{stem}{suffix}") for stem in (at / "__init__", at) for suffix in all_suffixes())
    return next((file for file in files if file.is_file()), None)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
