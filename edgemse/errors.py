"""Every exception that edgemse raises on purpose.

    EdgemseError
    ├── StateError(ValueError)               the bytes of a state
    │   ├── CorruptStateError                  cut, altered, or never a state
    │   ├── UnsupportedVersionError            written by a newer edgemse
    │   └── CellError                          a cell that no store takes, with a code
    ├── MergeError(ValueError)               states of different losses do not merge
    ├── UnsupportedError(NotImplementedError)  what a state cannot do by its nature
    ├── WireError(ValueError)                a report, an ack, a presence
    ├── LineError(ValueError)                a line that a client wrote to the agent
    ├── SettingsError(ValueError)            a settings file or an option
    │   └── UsageError                         options that do not fit each other
    ├── InputError(ValueError)               a file of samples
    │   ├── FileUnreadableError                missing, no permission, not CSV or Parquet
    │   ├── ColumnError                        a column that is not there
    │   └── NotEnoughDataError                 too few samples for what was asked
    ├── BrokerError(ConnectionError)         no broker answers there
    │   └── BrokerRefusedError                 the broker answers and says no (name, password)
    ├── PortInUseError(OSError)              somebody else listens there
    ├── LedgerError                          the agent's SQLite file
    │   └── LedgerLockedError                  another agent process holds it
    ├── StoreError                           the collector's database
    │   ├── StoreLockedError                   another collector holds the DuckDB file
    │   ├── StoreVersionError                  made by a newer edgemse
    │   ├── StoreRefusedError                  database or collector say no (password, token)
    │   ├── StoreUnreachableError              nothing answers, or no such file
    │   ├── OtherStoreError                    another store has the topic prefix
    │   └── StoreTakenOverError                another store came while the collector ran
    ├── UnacknowledgedError(TimeoutError)    the collector has not confirmed everything
    ├── NoAgentError(ConnectionError)        no agent runs here, or answers there
    ├── OutputError                          what a command found cannot be written
    ├── AlarmError                           what was asked about is not as it should be
    └── DemoError                            the demo cannot go on

A message says what was got, what was wanted and what to do. `exit_code` is what the commands exit
with; a class that sets none inherits its parent's.
"""

__all__ = [
    "AlarmError",
    "BrokerError",
    "BrokerRefusedError",
    "CellError",
    "ColumnError",
    "CorruptStateError",
    "DemoError",
    "EdgemseError",
    "FileUnreadableError",
    "InputError",
    "LedgerError",
    "LedgerLockedError",
    "LineError",
    "MergeError",
    "NoAgentError",
    "NotEnoughDataError",
    "OtherStoreError",
    "OutputError",
    "PortInUseError",
    "SettingsError",
    "StateError",
    "StoreError",
    "StoreLockedError",
    "StoreRefusedError",
    "StoreTakenOverError",
    "StoreUnreachableError",
    "StoreVersionError",
    "UnacknowledgedError",
    "UnsupportedError",
    "UnsupportedVersionError",
    "UsageError",
    "WireError",
]


class EdgemseError(Exception):
    """The root of everything that edgemse raises on purpose."""

    exit_code = 1


class StateError(EdgemseError, ValueError):
    """Bytes that are not a readable state."""

    exit_code = 65
    code = "corrupt"
    """What a refusal calls it; docs/wire.md lists the codes."""


class CorruptStateError(StateError):
    """The bytes of a state were cut or altered, or never were a state."""


class UnsupportedVersionError(StateError):
    """The state was written by a newer edgemse."""

    code = "version"


class CellError(StateError):
    """A cell whose window, names or counts nobody may store; `code` says which."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class MergeError(EdgemseError, ValueError):
    """Two states follow different losses, so that there is no state of both."""

    exit_code = 65


class UnsupportedError(EdgemseError, NotImplementedError):
    """An adapter is asked for what a mergeable state cannot do, such as taking a sample back."""


class WireError(EdgemseError, ValueError):
    """A message that does not follow docs/wire.md."""

    exit_code = 65


class LineError(EdgemseError, ValueError):
    """A line from a client of the agent that is not a sample, prediction, label or cell."""

    exit_code = 65


class SettingsError(EdgemseError, ValueError):
    """A settings file or an option that cannot be used."""

    exit_code = 78


class UsageError(SettingsError):
    """Options that are right by themselves do not fit each other, or one says nothing."""

    exit_code = 64


class InputError(EdgemseError, ValueError):
    """A file of samples holds something that is not a sample."""

    exit_code = 65


class FileUnreadableError(InputError):
    """A file of samples cannot be opened or is neither CSV nor Parquet."""

    exit_code = 66


class ColumnError(InputError):
    """A file of samples has no such column."""

    exit_code = 67


class NotEnoughDataError(InputError):
    """Too few samples for what was asked; no figure is better than a wrong one."""

    exit_code = 2


class BrokerError(EdgemseError, ConnectionError):
    """No MQTT broker answers at the given address."""

    exit_code = 69


class BrokerRefusedError(BrokerError):
    """The broker answers and refuses the connection."""

    exit_code = 77


class PortInUseError(EdgemseError, OSError):
    """Another process listens on the port."""

    exit_code = 71


class LedgerError(EdgemseError):
    """The agent's ledger cannot be used."""

    exit_code = 79


class LedgerLockedError(LedgerError):
    """Another agent process holds the ledger."""

    exit_code = 80


class StoreError(EdgemseError):
    """The collector's store cannot be used."""

    exit_code = 74


class StoreLockedError(StoreError):
    """Another process holds the DuckDB file, or a lock in PostgreSQL for too long."""

    exit_code = 73


class StoreVersionError(StoreError):
    """The store was made by a newer edgemse."""

    exit_code = 70


class StoreRefusedError(StoreError):
    """The database, or a collector over HTTP, answers and says no (password, token)."""

    exit_code = 76


class StoreUnreachableError(StoreError):
    """No database answers there, or the file is missing."""

    exit_code = 72


class OtherStoreError(StoreError):
    """The collector of another store is, or was, on the topic prefix: one of them must go."""

    exit_code = 82


class StoreTakenOverError(StoreError):
    """The collector of another store came to the topic prefix while this one ran."""

    exit_code = 83


class UnacknowledgedError(EdgemseError, TimeoutError):
    """The collector did not acknowledge everything in time; what is missing is kept."""

    exit_code = 75


class DemoError(EdgemseError):
    """A process of the demo has ended, or does not begin, for a reason that its message names."""

    exit_code = 81


class AlarmError(EdgemseError):
    """With --exit-code: devices are silent, groups drift, or error budgets burn."""

    exit_code = 86


class NoAgentError(EdgemseError, ConnectionError):
    """No agent runs here, or none answers at its socket."""

    exit_code = 85


class OutputError(EdgemseError):
    """Standard output, or the file that was asked for, does not take the answer.

    A full disk, or a file that is there already.
    """

    exit_code = 84
