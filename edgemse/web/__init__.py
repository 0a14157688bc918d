"""The fleet over HTTP."""

from edgemse.web.app import create_app
from edgemse.web.server import Server

__all__ = ["Server", "create_app"]
