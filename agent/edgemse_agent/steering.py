"""Settings that change while the agent runs: its file read anew, and documents from the centre."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from edgemse.errors import SettingsError
from edgemse.topics import Topics
from edgemse_agent.agent import Agent
from edgemse_agent.central import Central
from edgemse_agent.settings import AgentSettings

__all__ = ["Steering"]

log = logging.getLogger(__name__)

FIXED = (
    *("device", "ledger", "socket", "metrics", "broker", "clock", "central"),
    *("mqtt", "mqtt_broker"),
)
"""What takes a restart to change."""
RETAINED_SECONDS = 10.0
"""So long after a connection retained documents have come, or there are none any more."""
ATTRIBUTE = "settings"
"""Of the device's presence: which documents are in force."""


class Steering:
    """Applies to an agent what its file and the centre say; `announce` publishes its presence.

    `reload` reads the settings again, or raises SettingsError.
    """

    def __init__(
        self,
        agent: Agent,
        topics: Topics,
        reload: Callable[[], AgentSettings],
        announce: Callable[[], None],
    ) -> None:
        self._agent, self._base = agent, agent.settings
        self._reload, self._announce = reload, announce
        central, self._connects = agent.settings.central, 0
        names = [topics.group_config(group) for group in central.groups]
        names = [*dict.fromkeys(names), topics.config(agent.settings.device)]
        self.topics = tuple(names) if central.allow else ()
        """Where documents come from; none unless the device's own file allows it."""
        self._central = Central(self.topics)
        self._heard: dict[str, bytes] = {}
        self._late_at: float | None = None
        self._apply(self._base)

    def reload(self) -> None:
        """Read the settings anew; a file with a mistake leaves the old ones in force."""
        try:
            found = self._reload()
            kept: Mapping[str, object] = {name: getattr(self._base, name) for name in FIXED}
            later = [name for name in FIXED if getattr(found, name) != kept[name]]
            base = replace(found, **kept)  # type: ignore[arg-type]  # of the same class
            settings = self._central.over(base)
        except SettingsError as error:
            self._refuse(str(error))
            return
        if later:
            log.warning("needs a restart: %s", ", ".join(later))
        self._base = base
        self._take(settings)

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a document, or an empty one that takes it back."""
        before, self._heard[topic] = self._heard.get(topic, b""), payload
        if payload == before:
            return
        settings = self._central.hear(topic, payload, self._base)
        if settings is None:
            self._refuse(self._central.state)
            self._apply(self._agent.settings)
            self._announce()
        else:
            self._take(settings)

    def tick(self, now: float, connects: int) -> None:
        """Take back what is retained no more: it did not come with this connection."""
        if connects != self._connects:
            self._connects, self._late_at = connects, now + RETAINED_SECONDS
            self._before, self._heard = self._heard, {}
        if self._late_at is not None and now >= self._late_at:
            self._late_at = None
            for topic in [topic for topic in self._before if topic not in self._heard]:
                self._heard[topic] = self._before[topic]
                self.hear(topic, b"")

    def _take(self, settings: AgentSettings) -> None:
        self._agent.counters.count("settings_applied")
        log.warning("settings applied: %s", self._central.state)
        self._apply(settings)
        self._announce()

    def _apply(self, settings: AgentSettings) -> None:
        if self.topics:
            said = self._base.attributes | {ATTRIBUTE: self._central.state}
            settings = replace(settings, attributes=said)
        self._agent.apply(settings)

    def _refuse(self, why: str) -> None:
        self._agent.counters.count("settings_refused")
        log.error("settings refused, the old ones stay: %s", why)
