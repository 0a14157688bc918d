"""The house: sizes of files and functions, who may import whom, names that are exported."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("edgemse", "agent", "tests", "benchmarks")
    for pattern in ("*.py", "*.pyx", "*.pxd", "*.h", "*.pyi", "*.sql")
    for path in (ROOT / folder).rglob(pattern)
    if "__pycache__" not in path.parts
) + [path for folder in ("agent/c", "tests/c") for path in sorted((ROOT / folder).glob("*.c"))]
MODULES = {
    ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path
    for base, folder in ((ROOT, "edgemse"), (ROOT / "agent", "edgemse_agent"))
    for pattern in ("*.py", "*.pyx")
    for path in (base / folder).rglob(pattern)
}
COMPILED = {module for module, path in MODULES.items() if path.suffix == ".pyx"}

STATS = {"errors", "stats"}
CELLS = STATS | {"names", "times", "counters", "measures", "cells"}
LINE = CELLS | {
    "version",
    "interrupts",
    "printing",
    "growing",
    "logs",
    "settings",
    "topics",
    "presence",
    "wire",
    "mqtt",
    "broker",
}
MAY_IMPORT = {
    "errors": set(),
    "version": set(),
    "interrupts": set(),
    "printing": {"errors"},
    "names": {"errors"},
    "times": {"errors"},
    "counters": set(),
    "logs": set(),
    "settings": {"errors", "times"},
    "topics": {"errors", "names"},
    "stats": {"errors"},
    "measures": STATS | {"names"},
    "adapters": STATS,
    "cells": STATS | {"names"},
    "growing": CELLS,
    "presence": {"errors", "names"},
    "wire": CELLS,
    "mqtt": {"errors", "counters", "logs"},
    "broker": {"errors", "topics", "settings", "mqtt"},
    "monitor": CELLS | {"growing"},
    "edgemse_agent": LINE | {"monitor"},
    "stores": CELLS | {"presence"},
    "jobs": {"errors", "counters", "stores"},
    "collector": LINE | {"stores", "jobs"},
    "files": {"errors", "times"},
    "fleet": CELLS | {"settings", "stores"},
    "rollups": CELLS | {"stores", "fleet"},
    "web": CELLS | {"logs", "settings", "stores", "fleet"},
    "export": LINE | {"stores", "fleet"},
    "labels": LINE | {"files", "edgemse_agent"},
    "replay": LINE | {"files", "edgemse_agent"},
    "cli": None,
    "__main__": {"cli"},
    "demo": None,
}
"""Which rooms a room may import, itself apart; None: all of them. In the order of their ranks: a
room imports only what stands above it here."""


def room(module: str) -> str:
    parts = module.split(".")
    return "edgemse_agent" if parts[0] == "edgemse_agent" else parts[1]


def imports(path: Path) -> set[str]:
    """Return the modules of ours that a module imports, at its top or inside."""
    found = _compiled_imports(path) if path.suffix == ".pyx" else _imports(path)
    return {name for name in found if name.partition(".")[0] in ("edgemse", "edgemse_agent")}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {n for n in names if n in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _compiled_imports(path: Path) -> set[str]:
    """Return what a .pyx, its .pxd and the parts (_*.pxd) beside it import and cimport."""
    parts = [path, path.with_suffix(".pxd"), *path.parent.glob("_*.pxd")]
    sources = [source for source in parts if source.exists()]
    pattern = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.MULTILINE)
    return {a or b for source in sources for a, b in pattern.findall(source.read_text())}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_small_and_its_lines_are_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 500
    long = [number for number, line in enumerate(lines, 1) if len(line) > 100]
    assert not long, f"lines over 100 columns: {long}"


def test_the_median_file_is_under_150_lines() -> None:
    sizes = [len(path.read_text().splitlines()) for path in MODULES.values()]
    assert statistics.median(sizes) < 150


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_under_70_lines(path: Path) -> None:
    long = []
    if path.suffix in (".py", ".pyi"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= 70:
                    long.append(node.name)
    elif path.suffix in (".pyx", ".pxd"):
        lines = path.read_text().splitlines()
        starts = [i for i, line in enumerate(lines) if re.match(r"\s*(cp?def|def)\s.*\(", line)]
        for first, after in pairwise([*starts, len(lines)]):
            if after - first > 70:
                long.append(lines[first])
    assert not long


def test_rooms_import_only_what_they_may() -> None:
    wrong = []
    for module, path in MODULES.items():
        if module in ("edgemse", "edgemse_agent"):
            continue
        allowed = MAY_IMPORT[room(module)]
        for imported in imports(path):
            if imported in ("edgemse", "edgemse_agent"):
                wrong.append(f"{module} imports the whole of {imported}")
            elif allowed is not None and room(imported) not in allowed | {room(module)}:
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_every_room_is_known_and_every_known_room_is_there() -> None:
    rooms = {room(module) for module in MODULES if module not in ("edgemse", "edgemse_agent")}
    assert rooms == MAY_IMPORT.keys()


def test_rooms_stand_in_the_order_of_their_ranks() -> None:
    above: set[str] = set()
    for name, allowed in MAY_IMPORT.items():
        assert allowed is None or allowed <= above, name
        above.add(name)


def test_the_picture_of_the_house_shows_every_room() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text()
    table = re.findall(r"^\| `([\w/.]+)` \|", picture, re.MULTILINE)
    shown = {Path(name).stem if name.endswith(".py") else Path(name).name for name in table}
    assert shown == MAY_IMPORT.keys()


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: imports(path) & MODULES.keys() for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for imported in graph[module]:
            visit(imported, (*way, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_says_what_it_offers(module: str) -> None:
    if module in COMPILED:
        assert MODULES[module].with_suffix(".pyi").exists(), "a compiled module without its stub"
        return
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree), "a module without a docstring"
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    exported: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            exported = ast.literal_eval(node.value)
    assert public <= set(exported), f"not in __all__: {sorted(public - set(exported))}"
    assert exported == sorted(exported, key=lambda name: (not name.isupper(), name))


LIGHT = """
import sys
import edgemse_agent.service, edgemse_agent.command, edgemse.monitor
heavy = {"numpy", "scipy", "duckdb", "fastapi", "typer", "rich", "pandas", "plotly"}
rooms = {"collector", "stores", "fleet", "web", "export", "cli", "demo", "replay", "labels"}
loaded = heavy & sys.modules.keys() | {m for m in sys.modules if m.split(".")[1:2] and
    m.startswith("edgemse.") and m.split(".")[1] in rooms}
sys.exit(f"the device would load {sorted(loaded)}" if loaded else 0)
"""


def test_the_device_loads_nothing_of_the_cloud() -> None:
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_a_monitor_needs_only_the_standard_library() -> None:
    code = (
        "import sys; import edgemse.monitor;"
        "sys.exit(str({'paho', 'msgspec'} & sys.modules.keys() or ''))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stderr.strip() == ""


def test_names_of_the_package_are_loaded_when_asked_for() -> None:
    code = """
import sys
import edgemse
assert not [m for m in sys.modules if m.startswith("edgemse.")], "the first thing a command does"
assert {*edgemse.__all__, "errors", "fleet", "__version__"} <= set(dir(edgemse))
assert issubclass(edgemse.errors.SettingsError, ValueError)
assert edgemse.fleet.ask
from edgemse import *
assert ErrorStats is edgemse.ErrorStats is edgemse.__dict__["ErrorStats"]
assert Monitor and LossStats and Coverage and ResidualHistogram and merge_all and update_columns
try:
    edgemse.nothing
except AttributeError as error:
    assert "no attribute 'nothing'" in str(error)
else:
    raise SystemExit("an attribute that is not there")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_top_level_holds_what_it_may() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    if tracked.returncode:
        pytest.skip("not a git checkout: an unpacked sdist has no list of tracked files")
    top = {name.partition("/")[0] for name in tracked.stdout.split()}
    assert {name for name in top if not name.startswith(".")} <= {
        "pyproject.toml",
        "README.md",
        "Makefile",
        "LICENSE",
        "CHANGELOG.md",
        "edgemse",
        "agent",
        "tests",
        "benchmarks",
        "docs",
        "deploy",
    }
