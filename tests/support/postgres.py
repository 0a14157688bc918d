"""A real PostgreSQL of Debian's package on a free port, with a role that is no superuser."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from support.broker import free_port
from support.waiting import eventually

ROLE, SECRET_ROLE, PASSWORD = "edgemse", "locked", "pa ss/w@rd"
HBA = f"""\
host all {SECRET_ROLE} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


def postgres_folder() -> Path | None:
    """Return where the newest server's programs are; Debian has them on nobody's PATH."""
    found = shutil.which("postgres")
    if found:
        return Path(found).parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return places[-1].parent if places else None


class Postgres:
    """One server; `kill` is a power cut for it, `start` after that its recovery."""

    def __init__(self) -> None:
        folder = postgres_folder()
        assert folder is not None
        self._programs = folder
        # Not under pytest's folder: nobody but its owner may look into that.
        self._folder = Path(tempfile.mkdtemp(prefix="edgemse-postgres-"))
        self._data = self._folder / "data"
        # PostgreSQL refuses to run as root; Debian's package makes this user.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        self._folder.chmod(0o755)
        self.port = free_port()
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        words = ("--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        self._run("initdb", "-D", self._data, *words)
        (self._data / "pg_hba.conf").write_text(HBA)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(
            command, check=True, capture_output=True, user=self._user, cwd=self._folder, timeout=60
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1"}
        options |= {"unix_socket_directories": str(self._folder), "max_connections": 50}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), *settings],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )
        eventually(self._answers, 60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            with self.admin():
                return True
        except psycopg.OperationalError:
            return False

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection of the superuser."""
        place = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        return psycopg.connect(place, autocommit=True)

    def prepare(self) -> None:
        """Make the roles, and the database that belongs to one of them."""
        with self.admin() as admin:
            admin.execute(f"CREATE ROLE {ROLE} LOGIN")
            admin.execute(f"CREATE ROLE {SECRET_ROLE} LOGIN PASSWORD '{PASSWORD}'")
            admin.execute(f"CREATE DATABASE {ROLE} OWNER {ROLE}")

    def address(self, schema: str = "", *, role: str = ROLE, password: str = "") -> str:
        """Return where a store is; each schema is one of its own."""
        word = f":{quote(password, safe='')}" if password else ""
        place = f"postgresql://{role}{word}@127.0.0.1:{self.port}/{ROLE}"
        return f"{place}?options=-csearch_path%3D{schema}" if schema else place

    def schema(self, name: str = "") -> str:
        """Return the address of a schema, which is made if it is not there."""
        name = name or f"store{next(self._numbers)}"
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
        return self.address(name)

    def cpu_seconds(self) -> float:
        """Return what its processes have used so far."""
        times = [each.cpu_times() for each in self._processes()]
        return sum(each.user + each.system for each in times)

    def kill(self) -> None:
        """SIGKILL all its processes."""
        for each in self._processes():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        assert self._process is not None
        self._process.wait()
        self._process = None
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder)
