"""A running collector, asked over HTTP: JSON there and back, and its errors as ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO

from edgemse import errors

__all__ = ["call", "download", "is_url"]

HTTP_SECONDS = 120.0
DOWNLOAD_SECONDS = 3_600.0
"""A copy of a large store is made before its first byte comes."""
CHUNK_BYTES = 2**20


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
    with _answered(source, path, token, body, HTTP_SECONDS) as response:
        found = json.load(response)
    if not isinstance(found, dict):
        raise errors.StoreError(f"{source} answers something else than a collector does")
    return found


def download(source: str, path: str, token: str, file: BinaryIO) -> None:
    """Write what a collector answers into a file, all of it; arguments and errors as of `call`.

    OSError if the file takes no more.
    """
    size = 0
    with _answered(source, path, token, None, DOWNLOAD_SECONDS) as response:
        while chunk := response.read(CHUNK_BYTES):
            try:
                size += file.write(chunk)
            except OSError as error:  # of the file, not of the connection
                raise errors.OutputError(f"{file.name}: {error.strerror}") from None
    wanted = response.headers["Content-Length"]
    if str(size) != wanted:
        raise errors.StoreUnreachableError(
            f"{source} ended after {size:,} of {wanted} bytes; look into its log, and try again"
        )


@contextmanager
def _answered(
    source: str, path: str, token: str, body: Mapping[str, Any] | None, seconds: float
) -> Iterator[HTTPResponse]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {} if body is None else {"Content-Type": "application/json"}
    # The scheme is http or https: the caller has looked.
    request = urllib.request.Request(  # noqa: S310
        f"{source.rstrip('/')}{path}", data, headers, method="GET" if body is None else "PUT"
    )
    try:
        with _OPENER.open(request, timeout=seconds) as response:
            yield response
    except urllib.error.HTTPError as error:
        raise _refused(source, error) from None
    except errors.EdgemseError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise errors.StoreUnreachableError(
            f"no collector answers at {source}: {reason};"
            " check the address, and that it runs with --http"
        ) from None


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
