"""A running collector, asked over HTTP: JSON there and back, and its errors as ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgemse import errors

__all__ = ["call", "is_url"]

HTTP_SECONDS = 120.0


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: a token would be shown to whoever stands at its end."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_StayHere)


def is_url(source: str | Path) -> bool:
    """Tell whether a source is a collector's address, and no file."""
    return str(source).startswith(("http://", "https://"))


def call(
    source: str, path: str, token: str = "", body: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Return the JSON that a collector answers; a body is put there, without one it is asked.

    Args:
        source: http://HOST:PORT, as `is_url` knows it.
        path: from /api/v1 on.
        token: what the collector is shown; empty: nothing.
        body: JSON.

    Raises:
        StoreUnreachableError: nobody answers. StoreError, or what the collector says it met.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {} if body is None else {"Content-Type": "application/json"}
    # The scheme is http or https: the caller has looked.
    request = urllib.request.Request(  # noqa: S310
        f"{source.rstrip('/')}{path}", data, headers, method="GET" if body is None else "PUT"
    )
    try:
        with _OPENER.open(request, timeout=HTTP_SECONDS) as response:
            found = json.load(response)
    except urllib.error.HTTPError as error:
        raise _refused(source, error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise errors.StoreUnreachableError(
            f"no collector answers at {source}: {reason};"
            " check the address, and that it runs with --http"
        ) from None
    if not isinstance(found, dict):
        raise errors.StoreError(f"{source} answers something else than a collector does")
    return found


def _refused(source: str, error: urllib.error.HTTPError) -> errors.EdgemseError:
    """Return the collector's own error, so that it exits here as it would have there."""
    try:
        found = json.load(error)
        kind, message = getattr(errors, found.get("kind", ""), None), found["error"]
    except (ValueError, KeyError, AttributeError):
        kind, message = None, f"{source} answers {error.code} {error.reason}"
    if error.code in (401, 403):
        return errors.StoreRefusedError(
            f"{source}: {message}; give --token-file FILE, or the token in EDGEMSE_TOKEN"
        )
    known = isinstance(kind, type) and issubclass(kind, errors.EdgemseError)
    return kind(message) if known else errors.StoreError(message)  # type: ignore[misc]
