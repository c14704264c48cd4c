"""What stands beside the code says the same as the code."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
UNSAFE = r"allow_pickle=True|pickle\.loads?\(|yaml\.unsafe_load"


def test_the_citation_is_of_this_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["preferred-citation"]["doi"] in (ROOT / "README.md").read_text()


def test_what_security_says_is_never_unpickled_is_not() -> None:
    found = {}
    for path in (ROOT / "platform").rglob("*.py"):
        text = path.read_text()
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*\)", text)), path
        if unsafe := re.findall(UNSAFE, text):
            found[path.name] = len(unsafe)
    assert found == {"recorder.py": 1}  # Ray's error, of a moment before


def test_every_pin_installs_on_the_oldest_python_that_we_name() -> None:
    """Debian 12 has 3.11.2; a package may ask for a later one than the Python that pinned it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (oldest,) = SpecifierSet(project["requires-python"])
    asked = {each.name: each.metadata.get("Requires-Python", "") for each in distributions()}

    assert oldest.operator == ">="
    assert {name: python for name, python in asked.items() if oldest.version not in SpecifierSet(python)} == {}
