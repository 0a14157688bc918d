"""Replay: recorded samples sent through the agent's own code, one virtual agent a device."""

from edgemse.replay.fleet import Outcome, VirtualFleet
from edgemse.replay.names import digest_of, producer_of
from edgemse.replay.rows import Roles, Rows

__all__ = ["Outcome", "Roles", "Rows", "VirtualFleet", "digest_of", "producer_of"]
