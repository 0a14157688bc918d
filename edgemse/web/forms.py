"""The forms in which an answer leaves over HTTP: their bytes, their type, their entity tag."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import Request, Response

from edgemse.errors import SettingsError
from edgemse.fleet.answers import Answer
from edgemse.fleet.ordering import Order

if TYPE_CHECKING:
    import pyarrow

__all__ = ["FORMS", "Answered", "Body", "form_of", "reply"]

GZIP_BYTES_MIN = 1_400
"""What one packet holds is not made smaller."""
GZIP_LEVEL = 4


class Body(NamedTuple):
    """An answer in one form."""

    data: bytes
    media_type: str
    tag: str
    """HTTP's weak entity tag: the same for answers that say the same of spans a second apart."""
    name: str = ""
    """The file that a browser makes of it; empty: it shows it."""


def _json(answer: Answer, _whole: Answer) -> Body:
    return _document(answer.to_json())


def _page(answer: Answer, whole: Answer) -> Body:
    """The JSON, with the table and the sentences that the command prints."""
    table = answer.table()
    drawn: dict[str, Any] = {
        "headings": list(table.headings),
        "words": sorted(table.words),
        "kept": table.kept,
        "rows": table.rows,
        "below": table.below,
    }
    return _document(answer.to_json() | {"table": drawn, "sentences": [*whole.sentences()]})


def _document(document: Mapping[str, Any]) -> Body:
    """Return JSON; `7d` ago is another second whenever it is asked, which changes no tag."""
    asked = json.dumps(document["asked"], ensure_ascii=False, allow_nan=False)
    rest = {name: value for name, value in document.items() if name != "asked"}
    text = json.dumps(rest, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = f'{{"asked":{asked},{text[1:]}'.encode()
    return Body(data, "application/json", _tag(text.encode()))


def _csv(answer: Answer, _whole: Answer) -> Body:
    data = answer.to_csv().encode()
    return Body(data, "text/csv; charset=utf-8", _tag(data), "csv")


def _parquet(answer: Answer, _whole: Answer) -> Body:
    table = _columns(answer, "parquet")
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(table, written)
    data = written.getvalue()
    return Body(data, "application/vnd.apache.parquet", _tag(data), "parquet")


def _arrow(answer: Answer, _whole: Answer) -> Body:
    table = _columns(answer, "arrow")
    from pyarrow import ipc

    written = io.BytesIO()
    with ipc.new_file(written, table.schema) as file:
        file.write_table(table)
    data = written.getvalue()
    return Body(data, "application/vnd.apache.arrow.file", _tag(data), "arrow")


def _columns(answer: Answer, form: str) -> pyarrow.Table:
    try:
        return answer.to_arrow()
    except ModuleNotFoundError:
        raise SettingsError(
            f"format {form}: this collector has no pyarrow, which writes it; install it there, or"
            " take csv"
        ) from None


FORMS: Mapping[str, Callable[[Answer, Answer], Body]] = {
    "json": _json,
    "page": _page,
    "csv": _csv,
    "parquet": _parquet,
    "arrow": _arrow,
}
"""What `format` may be; each is given the answer as it is ordered and cut, and the whole one."""


class Answered:
    """One answer, and the bodies that were made of it. Thread safety: any thread."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._lock = Lock()
        self._bodies: dict[tuple[Order, str, bool], Body] = {}

    def body(self, order: Order, form: str, *, zipped: bool) -> Body:
        """Return it in that order and form; raises ColumnError if it has no such column."""
        with self._lock:
            key = (order, form, zipped)
            if key not in self._bodies:
                self._bodies[key] = self._made(order, form, zipped=zipped)
            return self._bodies[key]

    def _made(self, order: Order, form: str, *, zipped: bool) -> Body:
        if zipped:
            plain = self._bodies.get((order, form, False)) or self._made(order, form, zipped=False)
            return plain._replace(data=gzip.compress(plain.data, GZIP_LEVEL, mtime=0))
        return FORMS[form](order.of(self._answer), self._answer)


def reply(request: Request, answered: Answered, order: Order, form: str, name: str) -> Response:
    """Return the answer to a request: 304 if it has what there is."""
    body = answered.body(order, form, zipped=False)
    headers = {
        "ETag": body.tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding, Authorization",
    }
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    if body.tag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    if body.name:
        headers["Content-Disposition"] = f'attachment; filename="{name}.{body.name}"'
    if len(body.data) >= GZIP_BYTES_MIN and _takes_gzip(request):
        body = answered.body(order, form, zipped=True)
        headers["Content-Encoding"] = "gzip"
    return Response(body.data, media_type=body.media_type, headers=headers)


def form_of(values: list[str]) -> str:
    """Return the form that `format` names, or raise SettingsError."""
    form = values[0] if len(values) == 1 else ""
    if form not in FORMS:
        raise SettingsError(f"format {', '.join(values)!r:.40}: wanted one of {', '.join(FORMS)}")
    return form


def _takes_gzip(request: Request) -> bool:
    # Who names it with a weight, which may be 0, gets it plain: browsers and httpx do not.
    words = request.headers.get("accept-encoding", "").lower().split(",")
    return "gzip" in (word.strip() for word in words)


def _tag(data: bytes) -> str:
    return f'W/"{hashlib.sha256(data).hexdigest()[:32]}"'
