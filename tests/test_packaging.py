"""sdist -> wheel -> an empty environment: what is shipped, and that it works with nothing else."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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
EXTENSIONS = tuple(
    f"edgemse.stats.{name}"
    for name in ("coverage_counts", "error_stats", "grouped", "histogram", "observer", "parts")
)
EX_UNAVAILABLE = 69

pytestmark = pytest.mark.timeout(300)


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    # What the shell of whoever tests has set must not reach the build or the environment.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        command, cwd=cwd, env=clean | more, capture_output=True, text=True, timeout=240
    )


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
    for module in ("edgemse/stores/arrow", "edgemse_agent/pairs", "edgemse_agent/intake/usual"):
        assert [n for n in names if n.startswith(f"{module}.") and n.endswith(".so")], module
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


UNOPTIMISED = """\
#!/bin/sh
for each; do
    shift
    case $each in -O*) set -- "$@" -O0 ;; *) set -- "$@" "$each" ;; esac
done
exec cc "$@"
"""
"""A compiler in a third of the time: for where only the place of what is compiled matters."""

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


@pytest.mark.parametrize("entry", ["edgemse.cli.entry", "edgemse_agent.entry"])
def test_a_command_beside_the_sources_says_what_to_do(clone: Path, entry: str) -> None:
    code = f"import sys; from {entry} import main; sys.argv[1:] = ['status']; sys.exit(main())"
    status, out, told = one_line(run(sys.executable, "-c", code, cwd=clone))
    assert (status, out) == (EX_UNAVAILABLE, "")
    assert "is not compiled for this Python; pip install --editable" in told


def test_an_editable_install_is_found_from_everywhere(clone: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "edit", with_pip=False)
    python = tmp_path / "edit" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    compiler = tmp_path / "cc"
    compiler.write_text(UNOPTIMISED)
    compiler.chmod(0o755)
    install = (*pip, "install", "--quiet", "--no-deps", "--editable", clone)
    ran = run(*install, cwd=tmp_path, CC=str(compiler))
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


def closure(extra: str) -> set[str]:
    """Return the distributions that the extra brings, as they are installed here."""
    found: set[str] = set()
    waiting = [Requirement(f"edgemse[{extra}]")]
    while waiting:
        wanted = waiting.pop()
        for text in requires(wanted.name) or []:
            each = Requirement(text)
            extras = [*wanted.extras, ""]
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras):
                if each.name not in found:
                    waiting.append(each)
                found.add(each.name)
    return found


def with_extra(extra: str, wheel: Path, folder: Path) -> Path:
    """Return the bin folder of an environment with the wheel and that extra, linked from here."""
    venv.create(folder, with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install")
    ran = run(*pip, "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure(extra):
        here = distribution(name)
        tops = {file.parts[0] for file in here.files or [] if file.parts[0] not in ("..", "bin")}
        for top in tops - {"__pycache__"}:
            (site / top).symlink_to(Path(str(here.locate_file(top))).resolve())
    return folder / "bin"


def one_line(ran: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.returncode, ran.stdout, ran.stderr.strip()


@pytest.mark.parametrize(
    ("command", "install"),
    [
        ("edgemse", "'edgemse[collector]', or 'edgemse[files]' for evaluate alone"),
        ("edgemse-agent", "'edgemse[agent]'"),
    ],
)
def test_a_command_without_its_extra_says_so_in_one_line(
    alone: Path, tmp_path: Path, command: str, install: str
) -> None:
    code, out, told = one_line(run(alone / command, "--help", cwd=tmp_path))
    assert (code, out) == (EX_UNAVAILABLE, "")
    assert "is not installed; pip install" in told
    assert told.endswith(install)


def test_the_agent_s_extra_has_the_agent_alone(wheel: Path, tmp_path: Path) -> None:
    assert closure("agent") == {"paho-mqtt", "msgspec"}
    commands = with_extra("agent", wheel, tmp_path / "agent")
    assert run(commands / "edgemse-agent", "--help", cwd=tmp_path).returncode == 0
    code, out, told = one_line(run(commands / "edgemse", "demo", cwd=tmp_path))
    assert (code, out) == (EX_UNAVAILABLE, "")
    assert told == "edgemse: typer is not installed; pip install 'edgemse[demo]'"


def test_files_are_evaluated_without_database_and_server(wheel: Path, tmp_path: Path) -> None:
    heavy = {"duckdb", "fastapi", "uvicorn", "paho-mqtt", "msgspec", "plotly", "zstandard"}
    assert not heavy & closure("files")
    edgemse = with_extra("files", wheel, tmp_path / "files") / "edgemse"
    samples = tmp_path / "samples.csv.gz"
    rows = [f"{n % 2},{n},{n + (1 + n % 2) * (n * 7 % 13 - 6)}" for n in range(260)]
    samples.write_bytes(gzip.compress("\n".join(["g,y,p", *rows]).encode()))
    columns = ("--y-true", "y", "--y-pred", "p")
    ran = run(edgemse, "evaluate", samples, *columns, "--by", "g", "--format", "json", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    answer = json.loads(ran.stdout)
    assert (answer["total"]["count"], answer["total"]["mse"]) == (260, 35.0)
    assert answer["variance"]["p_value"] < 0.001
    saved = run(edgemse, "evaluate", samples, *columns, "--save", "states.json", cwd=tmp_path)
    assert saved.returncode == 0
    assert json.loads((tmp_path / "states.json").read_text())["format"] == "edgemse states 1"
    assert run(edgemse, "--help", cwd=tmp_path).returncode == 0

    def told(*arguments: str | Path) -> str:
        code, out, error = one_line(run(edgemse, *arguments, cwd=tmp_path))
        assert (code, out) == (EX_UNAVAILABLE, "")
        return error

    parquet, zstd = tmp_path / "s.parquet", tmp_path / "s.csv.zst"
    parquet.write_bytes(b"PAR1")
    zstd.write_bytes(b"\x28\xb5\x2f\xfd")
    assert told("evaluate", parquet, *columns).endswith("pip install 'edgemse[files,parquet]'")
    assert told("evaluate", zstd, *columns).endswith("pip install zstandard")
    for command in ("collector", "replay"):
        assert told(command, "--whatever", "x").endswith("pip install 'edgemse[collector]'")
    assert told("demo").endswith("pip install 'edgemse[demo]'")
    assert told("fleet", "devices", "--from", "f.duckdb").endswith("'edgemse[collector]'")
    asked = run(edgemse, "fleet", "devices", "--from", "http://127.0.0.1:1", cwd=tmp_path)
    assert one_line(asked)[0] == 72, "a collector is asked without them"
