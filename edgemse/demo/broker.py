"""The demo's broker: `python -m edgemse.demo.broker PORT` serves MQTT on 127.0.0.1 until killed.

It is amqtt with everything in memory, so that killing it loses whatever it held: the point of the
demo. It speaks MQTT 3.1.1.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import warnings
from pathlib import Path

from edgemse.errors import SettingsError

__all__ = ["BROKERS", "PROTOCOLS", "command", "main"]

BROKERS = ("amqtt", "mosquitto")
PROTOCOLS = {"amqtt": "3.1.1", "mosquitto": "5"}
"""The newest MQTT that each of them speaks."""

MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_dest stderr
log_type error
"""


def command(broker: str, port: int, folder: Path) -> list[str]:
    """Return the command that runs the broker on 127.0.0.1; its settings go into the folder."""
    if broker == "amqtt":
        return [sys.executable, "-P", "-m", "edgemse.demo.broker", str(port)]
    path = shutil.which(broker)
    if path is None:
        raise SettingsError(
            f"--broker {broker}: no {broker} on PATH; install it, or leave the option out"
        )
    settings = folder / "mosquitto.conf"
    settings.write_text(MOSQUITTO.format(port=port))
    return [path, "-c", str(settings)]


async def _serve(port: int) -> None:
    # Only this process pays for it.
    from amqtt.broker import Broker  # type: ignore[import-untyped]

    plugin = "amqtt.plugins.authentication.AnonymousAuthPlugin"
    settings = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {plugin: {"allow_anonymous": True}},
    }
    await Broker(settings).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until a signal ends the process."""
    warnings.simplefilter("ignore")
    # amqtt logs each client that goes away as an error, with a traceback.
    logging.disable(logging.CRITICAL)
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
