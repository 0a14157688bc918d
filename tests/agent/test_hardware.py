"""Which board this is, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgemse_agent.hardware import Board, board, default_device, health
from edgemse_agent.settings import read


def lay(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".").replace("_dash_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


PI = {"proc__device_dash_tree__serial_dash_number": "10000000b5d8c9a2\0"}
MACHINE = {"etc__machine_dash_id": "0123456789abcdef\n"}
CONTAINER = {"_dot_dockerenv": ""}


@pytest.mark.parametrize(
    ("files", "environment", "found"),
    [
        (PI | MACHINE, {}, Board("10000000b5d8c9a2", "device tree")),
        (MACHINE, {}, Board("0123456789abcdef", "machine id")),
        (MACHINE | CONTAINER, {}, Board("", "")),
        (MACHINE | CONTAINER, {"EDGEMSE_BOARD": "b5\n"}, Board("b5", "EDGEMSE_BOARD")),
        (PI | CONTAINER, {}, Board("10000000b5d8c9a2", "device tree")),
        ({}, {}, Board("", "")),
    ],
)
def test_a_board_is_known_by_its_own_number(
    files: dict[str, str], environment: dict[str, str], found: Board, tmp_path: Path
) -> None:
    assert board(lay(tmp_path, **files), environment) == found


def test_clones_of_one_image_have_names_of_their_own(tmp_path: Path) -> None:
    boards = [Board(f"10000000b5d8c{n:03x}", "device tree") for n in range(500)]
    assert len({default_device(each, "pi") for each in boards}) == 500
    path = tmp_path / "agent.toml"
    path.write_text('device = "auto"\n')
    assert read(path).device == default_device()


def test_a_board_says_how_hot_it_is(tmp_path: Path) -> None:
    assert health(tmp_path) == {}
    lay(
        tmp_path,
        sys__class__thermal__thermal_zone0__temp="48312\n",
        **{"sys__devices__platform__soc__soc:firmware__get_throttled": "50005\n"},
    )
    assert health(tmp_path) == {
        "cpu_millidegrees": 48_312,
        "cpu_throttled": 1,
        "cpu_under_voltage": 1,
    }
    lay(tmp_path, sys__class__thermal__thermal_zone0__temp="hot\n")
    assert "cpu_millidegrees" not in health(tmp_path)
