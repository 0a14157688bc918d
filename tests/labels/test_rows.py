"""Rows of a file to labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemse.errors import InputError
from edgemse.files import Dialect
from edgemse.labels import LabelRoles, read_labels

ROLES = LabelRoles("d", "id", "y", "at", (("version", "2"),))


def read(folder: Path, text: str, roles: LabelRoles = ROLES) -> object:
    (folder / "a.csv").write_text(text)
    return read_labels([("a.csv", folder / "a.csv")], roles, Dialect())


def test_a_row_is_a_label_with_its_time_and_series(tmp_path: Path) -> None:
    found = read(tmp_path, "d,id,y,at\np,7,1.5,2026-01-01T00:00Z\nq,8,2,\np,9,,\np,9,3,\n")
    assert found.of == {
        "p": [
            {"id": "7", "y_true": 1.5, "version": "2", "ts": 1_767_225_600.0},
            {"id": "9", "y_true": 3.0, "version": "2"},
        ],
        "q": [{"id": "8", "y_true": 2.0, "version": "2"}],
    }
    assert found.where == {"p": ["a.csv: line 2", "a.csv: line 5"], "q": ["a.csv: line 3"]}
    assert found.rows_without_label == 1


def test_one_column_may_be_device_and_id(tmp_path: Path) -> None:
    found = read(tmp_path, "d,y\np,1\n", LabelRoles("d", "d", "y"))
    assert found.of == {"p": [{"id": "p", "y_true": 1.0}]}


def test_a_name_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    roles = LabelRoles("d", "id", "y", series=(("segment", "a\nb"),))
    with pytest.raises(InputError, match=r"a.csv: line 2: segment: the character U\+000A"):
        read(tmp_path, "d,id,y\np,7,1\n", roles)
