"""sdist -> wheel -> an empty environment: what is shipped, and that it works with nothing else."""

from __future__ import annotations

import os
import shutil
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
EXTENSIONS = tuple(f"edgemse.stats.{n}" for n in ("error_stats", "grouped", "histogram", "parts"))
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
    assert wanted | {"pyproject.toml", "LICENSE", "deploy/edgemse_build.py"} <= names
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
    assert [n for n in names if n.startswith("edgemse/stores/arrow.") and n.endswith(".so")]
    assert not [name for name in names if name.endswith((".pyx", ".c", ".pyc"))]


def test_the_core_works_with_nothing_else_installed(alone: Path, tmp_path: Path) -> None:
    code = f"""
import importlib.util, sys
import edgemse, edgemse.monitor, edgemse_agent
import edgemse.stats.grouped, edgemse.stats.parts
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


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources without what is compiled, in a folder that is called as the package is."""
    folder = tmp_path_factory.mktemp("above") / "edgemse"
    for name in ("edgemse", "agent", "deploy"):
        left = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=left)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


WHERE = "import edgemse, edgemse_agent; print(edgemse.__file__); edgemse.ErrorStats()"


def test_python_beside_the_sources_finds_them_or_says_what_to_do(alone: Path, clone: Path) -> None:
    """The wheel is installed, and the folder that Python starts in goes before it."""
    ran = run(alone / "python", "-c", WHERE, cwd=clone)
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: edgemse in {clone / 'edgemse'} has no compiled module")
    assert f"pip install --editable {clone}" in last
    ran = run(alone / "python", "-P", "-c", WHERE, cwd=clone)
    assert (ran.returncode, ran.stderr) == (0, "")
    ran = run(alone / "python", "-c", WHERE, cwd=clone.parent)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_an_editable_install_is_found_from_everywhere(clone: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "edit", with_pip=False)
    python = tmp_path / "edit" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    ran = run(*pip, "install", "--quiet", "--no-deps", "--editable", clone, cwd=tmp_path)
    if "No matching distribution found for setuptools" in ran.stderr and not os.environ.get("CI"):
        pytest.skip("no package index within reach")
    assert ran.returncode == 0, ran.stderr[-3000:]
    for folder in (tmp_path, clone, clone.parent, clone / "edgemse"):
        ran = run(python, "-W", "error", "-c", WHERE, cwd=folder)
        assert (ran.stdout.strip(), ran.stderr) == (str(clone / "edgemse" / "__init__.py"), "")
    ran = run(*pip, "uninstall", "--quiet", "--yes", "edgemse", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert run(python, "-c", WHERE, cwd=tmp_path).returncode == 1
    assert not list((tmp_path / "edit").rglob("*edgemse*"))


@pytest.mark.parametrize("command", ["edgemse", "edgemse-agent"])
def test_a_command_without_its_extra_says_so_in_one_line(
    alone: Path, tmp_path: Path, command: str
) -> None:
    ran = run(alone / command, "--help", cwd=tmp_path)
    assert ran.returncode == EX_UNAVAILABLE
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert "is not installed; pip install 'edgemse[" in line
