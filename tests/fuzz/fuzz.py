"""The libFuzzer target, by atheris: `tests/fuzz/run.sh` builds what it needs and runs it.

The plain-Python reference reads the same bytes and is instrumented too: its branches guide the
fuzzer where the extension could not be built with coverage.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["edgemse", "stats.reference", "stats.reference_bytes"]):
    from stats.reference import ReferenceStats

    from edgemse import ErrorStats
    from edgemse.errors import StateError
from fuzz import properties

REFERENCE_SIZE_MAX = 400
"""Bytes up to which the reference reads along; it is slow on purpose."""
NATIVE_COVERAGE = "asan_with_fuzzer" in os.environ.get("LD_PRELOAD", "")


def one_input(data: bytes) -> None:
    properties.check(data)
    if not data.startswith(b"\x01") or len(data) > REFERENCE_SIZE_MAX:
        return
    try:
        ErrorStats.from_bytes(data)
        accepted = True
    except StateError:
        accepted = False
    if accepted or not NATIVE_COVERAGE:
        # The reference checks the form alone, so it may take more than the core, never less.
        try:
            ReferenceStats.from_bytes(data)
        except StateError as error:
            assert not accepted, f"the core reads what the reference does not: {error}"


atheris.Setup([os.environ.get("FUZZ_TARGET", sys.argv[0]), *sys.argv[1:]], one_input)
atheris.Fuzz()
