"""Certificates: whom we trust, who we are, and files that are missing, wrong, or back again."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from support.broker import Mosquitto
from support.waiting import eventually

from edgemse.errors import BrokerError, SettingsError
from edgemse.mqtt import Broker, Connection, Publication

StartBroker = Callable[..., Mosquitto]
LOCKED = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiTihtlFlNovAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEOy9EiDDQJizUyNuMR57kpgEQFaP
nco8dzrE7BVDJDRb1ACNxzxp+4rmsZmx/ndcz0E6SuU4f9nJYhh7GVow6eBFI5Sa
XYbsP2rEpe/XL19SrxE=
-----END ENCRYPTED PRIVATE KEY-----
"""
"""An Ed25519 key under the password "secret"."""
# paho leaves the socket of a failed handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning"
)


@dataclass(frozen=True)
class Files:
    """PEM files of one authority, a stranger, a server and a client."""

    authority: str
    stranger: str
    server: tuple[Path, Path]
    client: tuple[str, str]
    stranger_client: tuple[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()

    def pair(by: trustme.CA, name: str, host: str) -> tuple[Path, Path]:
        made = by.issue_cert(host)
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(paths[0])
        made.private_key_pem.write_to_path(paths[1])
        return paths

    for ca, name in ((authority, "authority"), (stranger, "stranger")):
        ca.cert_pem.write_to_path(folder / f"{name}.pem")
    client, other = pair(authority, "client", "pump-7"), pair(stranger, "other", "pump-7")
    return Files(
        str(folder / "authority.pem"),
        str(folder / "stranger.pem"),
        pair(authority, "server", "localhost"),
        (str(client[0]), str(client[1])),
        (str(other[0]), str(other[1])),
    )


def connected(broker: Mosquitto, **how: object) -> Connection:
    connection = Connection(Broker.at(f"localhost:{broker.port}", tls=True, **how), "test")
    connection.start(must_connect=True)
    return connection


def test_it_trusts_only_whom_it_was_told_to(start_broker: StartBroker, files: Files) -> None:
    broker = start_broker(tls=files.server)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    where = Broker.at(f"localhost:{broker.port}", tls=True, ca_file=files.authority)
    connection = Connection(where, "test", handlers={"a/b": lambda _, payload: inbox.put(payload)})
    connection.start(must_connect=True)
    connection.publish(Publication("a/b", b"x" * 200_000))
    assert inbox.get(timeout=20) == b"x" * 200_000
    connection.stop()
    with pytest.raises(BrokerError, match="; check ca_file, and the name"):
        connected(broker, ca_file=files.stranger)


def test_a_broker_that_wants_a_certificate_gets_ours(
    start_broker: StartBroker, files: Files
) -> None:
    settings = [f"cafile {files.authority}", "require_certificate true"]
    broker = start_broker(tls=files.server, settings=settings)
    certificate, key = files.client
    connected(broker, ca_file=files.authority, cert_file=certificate, key_file=key).stop()
    with pytest.raises(BrokerError, match="want a client certificate: set cert_file"):
        connected(broker, ca_file=files.authority)
    certificate, key = files.stranger_client
    with pytest.raises(BrokerError, match=r"may not take .*: expired, or of another"):
        connected(broker, ca_file=files.authority, cert_file=certificate, key_file=key)


def test_a_key_may_stand_in_the_certificates_file(
    start_broker: StartBroker, files: Files, tmp_path: Path
) -> None:
    settings = [f"cafile {files.authority}", "require_certificate true"]
    broker = start_broker(tls=files.server, settings=settings)
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(name).read_text() for name in files.client))
    connected(broker, ca_file=files.authority, cert_file=str(both)).stop()


BAD = {
    "missing": (None, r"ca_file .*: cannot be read: No such file"),
    "a folder": ("", r"ca_file .*: "),
    "empty": ("\n", r"ca_file .*: not a certificate in PEM form"),
    "text": ("hello\n", r"ca_file .*: not a certificate in PEM form"),
    "cut": ("-----BEGIN CERTIFICATE-----\nMIIB\n", r"ca_file .*: not a certificate in PEM form"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_holds_no_authority_is_told_at_the_start(
    kind: str, start_broker: StartBroker, files: Files, tmp_path: Path
) -> None:
    broker = start_broker(tls=files.server)
    text, message = BAD[kind]
    path = tmp_path / "ca.pem"
    if text == "":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        connected(broker, ca_file=str(path))


def test_a_file_that_is_away_for_a_while_is_waited_for(
    start_broker: StartBroker, files: Files, tmp_path: Path
) -> None:
    broker = start_broker(tls=files.server)
    path = tmp_path / "ca.pem"
    where = Broker.at(f"localhost:{broker.port}", tls=True, ca_file=str(path))
    connection = Connection(where, "test")
    connection.start()
    eventually(lambda: "cannot be read: No such file" in connection.last_error)
    shutil.copy(files.authority, path)
    eventually(lambda: connection.up)
    path.write_text("half a fi")
    broker.restart()
    eventually(lambda: "not a certificate" in connection.last_error)
    shutil.copy(files.authority, path)
    eventually(lambda: connection.up)
    assert (connection.connects, connection.failure) == (2, None)
    connection.stop()


def test_a_key_that_does_not_fit_or_is_locked_is_told(files: Files, tmp_path: Path) -> None:
    where = Broker("h", tls=True, cert_file=files.client[0], key_file=files.stranger_client[1])
    with pytest.raises(SettingsError, match=r"cert_file .* with key_file .*: the key is not that"):
        where.tls_context()
    locked = tmp_path / "locked.key"
    locked.write_text(LOCKED)
    where = Broker("h", tls=True, cert_file=files.client[0], key_file=str(locked))
    with pytest.raises(SettingsError, match="the key is encrypted"):
        where.tls_context()


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_certificates_without_tls_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} x: of no use without tls"):
        Broker("h", **{name: "x"})


def test_a_key_without_a_certificate_is_refused() -> None:
    with pytest.raises(SettingsError, match="key_file x without cert_file"):
        Broker("h", tls=True, key_file="x")


@pytest.mark.parametrize("host", ["broker.example", "192.0.2.1", "localhost.example", "::2"])
def test_a_password_does_not_travel_in_the_open(host: str) -> None:
    with pytest.raises(SettingsError, match="would travel unencrypted"):
        Broker(host, username="pi", password="p")
    assert Broker(host, username="pi").host == host
    assert Broker(host, password="p", tls=True).tls
    assert Broker(host, password="p", allow_plaintext_password=True).password == "p"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost"])
def test_a_password_may_stay_on_this_machine(host: str) -> None:
    assert Broker(host, password="p").password == "p"
