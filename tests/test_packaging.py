"""sdist -> wheel -> an empty environment: what is shipped, and that it works with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {ROOT: "edgemse", ROOT / "agent": "edgemse_agent"}
SHIPPED = sorted(
    path.relative_to(base)
    for base, package in PACKAGES.items()
    for path in (base / package).rglob("*")
    if path.is_file()
    and "__pycache__" not in path.parts
    and path.suffix not in (".so", ".pyx", ".c", ".pyc")
)
EXTENSIONS = ("edgemse.stats.error_stats", "edgemse.stats.histogram")
EX_UNAVAILABLE = 69

pytestmark = pytest.mark.timeout(300)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # What the shell of whoever tests has set must not reach the build or the environment.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it, in isolation: no numpy."""
    folder = tmp_path_factory.mktemp("dist")
    ran = run(sys.executable, "-P", "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    if "No matching distribution found for setuptools" in ran.stdout and not os.environ.get("CI"):
        pytest.skip("no package index within reach")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False)
    ran = run(
        *(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"),
        *("--quiet", "--no-index", "--no-deps", wheel),
        cwd=folder,
    )
    assert ran.returncode == 0, ran.stderr
    return folder / "bin"


def test_the_sdist_has_everything_that_a_build_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        str(path.relative_to(ROOT))
        for base, package in PACKAGES.items()
        for path in (base / package).rglob("*")
        if path.suffix in (".pyx", ".pxd", ".h", ".py", ".pyi", ".sql", ".service")
    }
    assert wanted | {"pyproject.toml", "LICENSE"} <= names
    assert not [name for name in names if name.endswith((".so", ".c", ".pyc"))]


def test_the_wheel_holds_our_two_packages_and_nothing_beside_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    top = {name.partition("/")[0] for name in names}
    assert top == {"edgemse", "edgemse_agent", f"edgemse-{version}.dist-info"}
    assert not {str(path) for path in SHIPPED} - names
    assert "edgemse_agent/data/edgemse-agent.service" in names
    assert "edgemse/py.typed" in names
    assert not [name for name in names if name.endswith((".pyx", ".c", ".pyc"))]


def test_the_core_works_with_nothing_else_installed(alone: Path, tmp_path: Path) -> None:
    code = f"""
import importlib.util, sys
import edgemse, edgemse.monitor, edgemse_agent
for name in {EXTENSIONS!r}:
    found = sys.modules[name].__spec__
    assert found.origin.endswith(".so") and found.origin.startswith(sys.prefix), found
for name in ("numpy", "msgspec", "paho", "pip", "setuptools"):
    assert importlib.util.find_spec(name) is None, name
s = edgemse.ErrorStats()
s.update(1.0, 1.5)
s.update_many([1.0, 2.0], [0.5, 2.0])
assert (s.count, s.mse) == (3, 0.5 / 3.0), s
assert edgemse.ErrorStats.from_bytes(s.to_bytes()) == s
"""
    ran = run(alone / "python", "-I", "-W", "error", "-c", code, cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("command", ["edgemse", "edgemse-agent"])
def test_a_command_without_its_extra_says_so_in_one_line(
    alone: Path, tmp_path: Path, command: str
) -> None:
    ran = run(alone / command, "--help", cwd=tmp_path)
    assert ran.returncode == EX_UNAVAILABLE
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert "is not installed; pip install 'edgemse[" in line
