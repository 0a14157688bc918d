"""Ctrl-C while a command loads: no traceback, and the exit code that shells expect."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "edgemse": ("edgemse.cli.entry", ["fleet", "devices", "--from", "/nowhere"]),
    "edgemse-agent": ("edgemse_agent.entry", ["status", "--device", "nobody"]),
}
AT_AN_IMPORT = """
import os, signal, sys
from {module} import main
left, sys.argv = int(sys.argv[1]), ["program", *sys.argv[2:]]

def imported(event, arguments):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(imported)
sys.exit(main())
"""


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("number", [1, 2, 3, 8, 21, 55, 144])
def test_at_any_import_it_ends_without_a_word(program: str, number: int) -> None:
    module, arguments = PROGRAMS[program]
    command = [sys.executable, "-c", AT_AN_IMPORT.format(module=module), str(number), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_at_any_time_of_the_first_tenth_of_a_second_too(program: str) -> None:
    command = [str(Path(sys.executable).with_name(program)), *PROGRAMS[program][1]]
    codes = set()
    for milliseconds in range(0, 100, 8):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(milliseconds / 1000)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        # Before its first line of ours Python itself is interrupted, as it likes.
        if "Traceback" in told:
            assert not re.search(r'entry.py", line \d+, in main', told)
        else:
            assert told.count("\n") <= 1
            codes.add(process.returncode)
    assert 130 in codes
    assert codes <= {130, -signal.SIGINT, 69, 72, 85}, "130, or it had ended before"


@pytest.mark.parametrize("program", PROGRAMS)
def test_who_ignores_the_signal_goes_on_doing_so(program: str) -> None:
    module, arguments = PROGRAMS[program]
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + AT_AN_IMPORT
    command = [sys.executable, "-c", code.format(module=module), "3", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode not in (0, 130, -signal.SIGINT)
    assert ran.stderr.count("\n") == 1
