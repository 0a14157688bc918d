"""What people say of a version: how wrong it was offline, and what it was made of.

A setting is one object whether it comes from the command, from Python or over HTTP: it is checked
when it is made, and applied in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Meta

from edgemse.errors import InputError, SettingsError, StateError
from edgemse.fleet.asked import BY_MAX
from edgemse.fleet.said import FACTS, of_part
from edgemse.fleet.saved import SavedPart
from edgemse.fleet.saving import PARTS_MAX
from edgemse.names import wrong_with
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import statements
from edgemse.stores.audit import Actor, note
from edgemse.stores.base import Writing
from edgemse.stores.tables import BASELINES, MODEL_VERSIONS

__all__ = [
    "BaselinePart",
    "BaselineSetting",
    "Done",
    "VersionSetting",
    "decode_setting",
]

RMSE_RANGE = (1e-150, 1e150)
"""Whose squares are floats."""
COUNT_MAX = 2**62


class Done(NamedTuple):
    """What became of a setting."""

    set: int
    """Rows that were written."""
    dropped: int
    """Rows of an earlier baseline that this one took the place of without having them."""
    cells: bool
    """Whether the store has a cell of the version."""


class BaselinePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a baseline: a state, or a bare RMSE with or without its number of samples."""

    by: dict[str, str] = {}
    rmse: float | None = None
    count: int | None = None
    state: bytes | None = None

    def row(self) -> tuple[str, float, int | None, bytes | None]:
        """Return part, RMSE, count and state as the store has them.

        Raises SettingsError for a figure that no RMSE can be held against, InputError for a state
        without any error in it.
        """
        if len(self.by) > BY_MAX:
            raise SettingsError(f"baseline: a part of {len(self.by)} columns; wanted {BY_MAX}")
        _check("baseline", {f"column {name}": name for name in self.by} | self.by)
        if (self.rmse is None) == (self.state is None):
            raise SettingsError("baseline: wanted the state of a validation run, or its RMSE")
        part, rmse, count = of_part(self.by), self.rmse, self.count
        if count is not None and not 1 <= count <= COUNT_MAX:
            raise SettingsError(f"baseline: count {count}; wanted a number of samples")
        if self.state is not None:
            try:
                stats = ErrorStats.from_bytes(self.state)
            except StateError as error:
                raise InputError(f"baseline: {error}") from None
            rmse, count = stats.rmse, stats.count
            if not (count and rmse > 0):
                raise InputError(
                    f"baseline: {count:,} samples with an RMSE of {rmse:g}; wanted one above 0, so"
                    " that there is a ratio to it"
                )
        assert rmse is not None
        if not RMSE_RANGE[0] <= rmse <= RMSE_RANGE[1]:
            raise SettingsError(f"rmse {rmse:g}: wanted a number above 0")
        return part, rmse, count, self.state


class _Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who says it, for the audit: the user's name and his machine's, as that machine says them."""

    who: str
    host: str

    def actor(self, token: str) -> Actor:
        """Return who says it; raises SettingsError if that is no name."""
        _check("audit", {"who": self.who, "host": self.host})
        return Actor(self.who, self.host, token)


class BaselineSetting(_Setting, frozen=True, forbid_unknown_fields=True):
    """The offline error of a version, in place of what was set before.

    `keep` leaves the parts that are not named here as they are.
    """

    PATH: ClassVar[str] = "baseline"

    model: str
    version: str
    parts: Annotated[list[BaselinePart], Meta(min_length=1, max_length=PARTS_MAX + 1)]
    keep: bool = False

    @classmethod
    def of_saved(
        cls, model: str, version: str, saved: Iterable[SavedPart], *, who: str, host: str
    ) -> BaselineSetting:
        """Return the setting of a validation run; groups without an error have no ratio.

        Raises InputError if there is none at all.
        """
        states = [(each, ErrorStats.from_bytes(each.state)) for each in saved]
        parts = [
            BaselinePart(by=each.by, state=each.state)
            for each, stats in states
            if stats.count and stats.mse > 0
        ]
        if not any(not part.by for part in parts):
            raise InputError("baseline: the validation run has no sample, or no error at all")
        return cls(model, version, parts, who=who, host=host)

    def apply(self, writing: Writing, now_ms: int, token: str = "") -> Done:
        """Write it, and who says it; `token` is the name of the one that was shown; see Done.

        Raises SettingsError or InputError, and then nothing is written.
        """
        by = self.actor(token)
        rows = [part.row() for part in self.parts]
        names = [row[0] for row in rows]
        if len(set(names)) < len(names):
            raise SettingsError("baseline: a part is named twice")
        who = (self.model, self.version)
        _check("baseline", {"model": self.model, "version": self.version})
        writing.lock(BASELINES)  # two who set at once do so one after the other
        dropped = 0 if self.keep else writing.execute(statements.DROP_OTHER_PARTS, (*who, names))
        written = [(*who, *row, now_ms) for row in rows]
        writing.put(BASELINES, written, statements.REPLACE_BASELINE)
        if len(writing.rows(statements.BASELINES_OF, who)) > PARTS_MAX + 1:
            raise SettingsError(f"baseline: over {PARTS_MAX:,} parts of one version")
        done = {"parts": len(rows), "dropped": dropped}
        named = {"model": self.model, "version": self.version}
        note(writing, "baseline set", by, now_ms, {**named, **done})
        return Done(len(rows), dropped, _has_cells(writing, who))


class VersionSetting(_Setting, frozen=True, forbid_unknown_fields=True):
    """What a version was made of; what is None stays as it was, an empty text takes it back."""

    PATH: ClassVar[str] = "versions"

    model: str
    version: str
    owner: str | None = None
    git: str | None = None
    training_data: str | None = None
    preprocessing_sha: str | None = None

    def apply(self, writing: Writing, now_ms: int, token: str = "") -> Done:
        """Write it, and who says it; `token` is the name of the one that was shown; see Done.

        Raises SettingsError, and then nothing is written.
        """
        by = self.actor(token)
        given = {name: getattr(self, name) for name in FACTS}
        given = {name: text for name, text in given.items() if text is not None}
        _check("versions", {"model": self.model, "version": self.version})
        _check("versions", given)
        if not given:
            wanted = ", ".join(f"--{name.replace('_', '-')}" for name in FACTS)
            raise SettingsError(f"versions: nothing to set; wanted one of {wanted}")
        who = (self.model, self.version)
        writing.lock(MODEL_VERSIONS)  # what the other one of two sets meanwhile stays
        held = [*writing.rows(statements.MODEL_VERSION, who).named()]
        facts = dict.fromkeys(FACTS, "") | (held[0] if held else {}) | given
        row = (*who, *(facts[name] for name in FACTS), now_ms)
        writing.put(MODEL_VERSIONS, [row], statements.REPLACE_MODEL_VERSION)
        named = {"model": self.model, "version": self.version}
        note(writing, "versions set", by, now_ms, named | given)
        return Done(1, 0, _has_cells(writing, who))


def decode_setting(kind: Any, data: bytes) -> Any:
    """Return the setting whose JSON this is, or raise SettingsError with what is wrong with it."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SettingsError(f"not a setting: {error}") from None


def _check(what: str, names: Mapping[str, str]) -> None:
    for name, text in names.items():
        wrong = wrong_with(text)
        if wrong:
            raise SettingsError(f"{what}: {name} {text!r:.40}: {wrong}")


def _has_cells(writing: Writing, who: tuple[str, str]) -> bool:
    sql = "SELECT 1 FROM cells WHERE model = ? AND version = ? LIMIT 1"
    return len(writing.rows(sql, who)) > 0
