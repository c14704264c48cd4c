"""The house stands: `platform` stays the standard library's, and the wheel imports from an empty folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python(code: str, *, cwd: Path, path: Path | None = None) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(
        [sys.executable, *code.split(" ", 1)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_platform_is_the_standard_library_s_from_the_repository_root() -> None:
    found = python("-c import platform; print(platform.__file__); print(platform.system())", cwd=ROOT).splitlines()

    assert not Path(found[0]).is_relative_to(ROOT)
    assert found[1]
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_the_wheel_imports_from_an_empty_folder_and_shadows_nothing(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    (tmp_path / "empty").mkdir()

    code = (
        "-c import platform, tissueclock, tissueclock.cli, trainables.detection, search_spaces.detection;"
        "print(tissueclock.__file__); print(trainables.__file__); print(platform.__file__)"
    )
    ours, theirs, stdlib = python(code, cwd=tmp_path / "empty", path=unpacked).splitlines()

    assert Path(ours).is_relative_to(unpacked)
    assert Path(theirs).is_relative_to(unpacked)
    assert not Path(stdlib).is_relative_to(unpacked)


def test_the_wheel_carries_our_packages_and_the_templates_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"tissueclock", "trainables", "search_spaces"}
    for template in ("report.html.j2", "quality.html.j2"):
        assert any(name.endswith(template) for name in names)
