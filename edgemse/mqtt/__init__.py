"""The one place that knows paho: a connection to a broker that comes back by itself.

What paho 2 does on its own account is left out on purpose: every connection is a fresh client with
a clean session and nothing left over from the last one, we turn its loop ourselves in one thread
and see it end, and what it says about a publish is a hint. Delivery is settled end to end by the
collector's acks.
"""

from edgemse.mqtt.address import Broker
from edgemse.mqtt.connection import Connection
from edgemse.mqtt.handlers import Handler
from edgemse.mqtt.link import Message, Publication

__all__ = ["Broker", "Connection", "Handler", "Message", "Publication"]
