"""Ctrl-C while a program begins: it ends at once, without the traceback of somebody's import."""

import os
import signal

__all__ = ["EndAtOnce"]


class EndAtOnce:
    """Within it Ctrl-C ends the process with that exit code, and without a word.

    For imports: an exception in the middle of one is printed by some modules and swallowed by
    others. A SIGINT that is ignored (`nohup`, a shell's `&`) stays so.
    """

    def __init__(self, exit_code: int) -> None:
        self._exit_code = exit_code

    def __enter__(self) -> None:
        self._raising = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._raising:
            signal.signal(signal.SIGINT, lambda *_: os._exit(self._exit_code))

    def __exit__(self, *_error: object) -> None:
        if self._raising:
            signal.signal(signal.SIGINT, signal.default_int_handler)
