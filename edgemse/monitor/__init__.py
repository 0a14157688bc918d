"""Monitor: what a model's own process calls."""

from edgemse.monitor.monitor import Monitor

__all__ = ["Monitor"]
