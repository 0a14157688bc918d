"""deploy/ as an operator uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["DEPLOY", "USERS_SCRIPT", "make_users"]

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
USERS_SCRIPT = DEPLOY / "mosquitto" / "users.py"


def make_users(directory: Path, users: str) -> dict[str, str]:
    """Make access list and passwords in the directory; return the passwords that are known."""
    (directory / "users.txt").write_text(users)
    command = [sys.executable, USERS_SCRIPT, directory / "users.txt", directory]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    secrets = (directory / "edgemse-secrets").iterdir()
    return {path.name: path.read_text().rstrip("\n") for path in secrets}
