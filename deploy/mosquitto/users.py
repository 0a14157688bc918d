#!/usr/bin/env python3
"""Make Mosquitto's access list and passwords from a list of users; needs nothing but Python.

    users.py USERS DIRECTORY [--prefix edgemse/v1]

USERS has a role and a name in each line; the name may hold spaces:

    collector collector
    device pump-7
    device hall 3/north
    labels laboratory
    reader dashboard

In DIRECTORY are written `edgemse-passwords` (hashed) and `edgemse-access`; and for each new user a
password in `edgemse-secrets/<user>`, to be brought to its machine and deleted here. Whoever has a
password keeps it; whoever is no longer listed loses access. Then reload the broker.

A device's user name is its name as it stands in topics: percent-encoded where MQTT, or a reader of
topics, gives a character a meaning.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

SAFE = " !\"&'()*,-.:;<=>?@[\\]^_`{|}~"
"""As edgemse/topics.py has it."""
RESERVED = {"alert", "collector", "fleet", "group"}
"""Third levels of topics that are not devices: nobody but a collector may be called so."""
ROLES = {
    # A device's own topics are in the pattern at the top of the list.
    "device": ["read {prefix}/collector/#", "read {prefix}/group/+/config"],
    "collector": ["readwrite {prefix}/#"],
    "labels": ["write {prefix}/+/label", "read {prefix}/+/label/ack"],
    "reader": [
        "read {prefix}/+/presence",
        "read {prefix}/collector/#",
        "read {prefix}/fleet/#",
        "read {prefix}/alert/#",
    ],
}
OWNER = "mosquitto"
"""Whom the broker runs as: from 2.0.16 on it warns of files that are not its own."""


def main() -> None:
    """Write the files, or say in one line what is wrong."""
    parser = argparse.ArgumentParser(description="Mosquitto users for edgemse")
    parser.add_argument("users", type=Path, help="the list: a role and a name in each line")
    parser.add_argument("directory", type=Path, help="where the files go: /etc/mosquitto")
    parser.add_argument("--prefix", default="edgemse/v1", help="topic prefix (%(default)s)")
    options = parser.parse_args()
    users = read_users(options.users)
    passwords = options.directory / "edgemse-passwords"
    hashed = {user: line for user, line in known(passwords).items() if user in users}
    new = [user for user in users if user not in hashed]
    made = {user: secrets.token_urlsafe(24) for user in new}
    hashed |= hash_all(made, options.directory)
    folder = options.directory / "edgemse-secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    for user, password in made.items():
        write(folder / user, password + "\n")
    write(passwords, "".join(line + "\n" for line in hashed.values()), OWNER)
    write(options.directory / "edgemse-access", access(users, options.prefix), OWNER)
    print(f"{len(users)} users, {len(new)} new; their passwords are in {folder}")


def read_users(path: Path) -> dict[str, str]:
    """Return the role of each user name, or end with one line."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        role, _, name = line.strip().partition(" ")
        if not role or role.startswith("#"):
            continue
        user = quote(name.strip(), safe=SAFE)
        where = f"{path}, line {number}"
        if role not in ROLES:
            sys.exit(f"{where}: role {role!r}, wanted one of {', '.join(ROLES)}")
        if not user or ":" in user or user.startswith("."):
            sys.exit(f"{where}: name {name!r}, wanted one without a colon or a dot in front")
        if user in RESERVED and role != "collector":
            sys.exit(f"{where}: {name!r} is the name of topics; choose another")
        if user in found:
            sys.exit(f"{where}: {name!r} is listed twice")
        found[user] = role
    return found


def known(passwords: Path) -> dict[str, str]:
    """Return the lines of Mosquitto's password file by user name."""
    lines = passwords.read_text().splitlines() if passwords.exists() else []
    return {line.partition(":")[0]: line for line in lines if line}


def hash_all(made: dict[str, str], directory: Path) -> dict[str, str]:
    """Return the hashed lines of new passwords; none of them stands on a command line."""
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        sys.exit("mosquitto_passwd is not here; install mosquitto first")
    if not made:
        return {}
    with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as plain:  # mode 0600
        plain.writelines(f"{user}:{password}\n" for user, password in made.items())
    path = Path(plain.name)
    try:
        subprocess.run([tool, "-U", str(path)], check=True)
        return known(path)
    finally:
        path.unlink()


def access(users: dict[str, str], prefix: str) -> str:
    """Return the access list."""
    lines = [
        "# Written by users.py. Every user has the topics of the device of its name.",
        f"pattern readwrite {prefix}/%u/#",
    ]
    for user, role in sorted(users.items()):
        lines += ["", f"user {user}"]
        lines += [f"topic {rule.format(prefix=prefix)}" for rule in ROLES[role]]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str, owner: str = "") -> None:
    """Put a file in place whole, for its owner alone."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:  # mode 0600
        file.write(text)
    if owner and os.geteuid() == 0:
        try:
            shutil.chown(file.name, owner, owner)
        except LookupError:
            print(f"there is no user {owner}; {path} belongs to root", file=sys.stderr)
    Path(file.name).replace(path)


if __name__ == "__main__":
    main()
