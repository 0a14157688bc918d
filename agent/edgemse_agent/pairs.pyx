# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True
"""The table of what waits for its other half, in packed memory, and the short way of a line in it.

Nearly every id has one prediction and then its label: a slot holds both, in about a hundred bytes.
An id that has anything else (several series, a loss, an interval, a label that came first) is kept
as its Entry, and as that Entry's bytes once the ledger has it. Whoever derives from `Pairs` decides
what a line means; the short way does what it would for an id that is new, or whose one prediction
meets its label.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite, rint
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from edgemse.stats.coverage_counts cimport CoverageCounts
from edgemse.stats.observer cimport OpenStats

from os import urandom
from zlib import crc32

import msgspec

from edgemse_agent.entries import Entry, Label, Prediction

__all__ = ["Pairs"]

cdef extern from "_slots.h":
    void slots_open(Slots *t, uint64_t first, uint64_t second) noexcept
    void slots_close(Slots *t) noexcept
    uint32_t slots_hash(const Slots *t, const char *key, size_t size) noexcept
    uint32_t slots_find(const Slots *t, const char *key, size_t size, uint32_t hash) noexcept
    uint32_t slots_new(Slots *t, const char *key, size_t size, uint32_t hash) noexcept
    void slots_list(Slots *t, uint32_t slot, int list) noexcept
    void slots_change(Slots *t, uint32_t slot) noexcept
    void slots_unchange(Slots *t, uint32_t slot) noexcept
    void slots_free(Slots *t, uint32_t slot) noexcept
    int slots_sort(Slots *t, int list) noexcept
    int slots_note_gone(Slots *t, uint32_t slot) noexcept
    void slots_forget_gone(Slots *t) noexcept
    const char *slot_key(const Slot *s) noexcept

cdef extern from "_packing.h":
    enum:
        PACKED_HEAD_BYTES
    char *pack_byte(char *at, unsigned byte) noexcept
    char *pack_bytes(char *at, const char *data, size_t size) noexcept
    char *pack_double(char *at, double value) noexcept
    char *pack_text_head(char *at, size_t size) noexcept
    char *pack_bytes_head(char *at, size_t size) noexcept

cdef enum:
    KNOWN_MAX = 4096  # names kept once; past that they are learnt anew
    NUMBERS_BYTES = 128  # of an entry's row beside its names, at most
    KEY_BYTES_MAX = 65535  # an id is at most 256 characters; intake sees to that

cdef object decode_entry = msgspec.msgpack.Decoder(Entry).decode
cdef object encode = msgspec.msgpack.encode


cdef class Named:
    """A series, or what a label says of its series; and the cells that the series used last."""


cdef inline bint takes(OpenStats cell, double time) noexcept:
    return cell is not None and not cell.final and cell.start <= time < cell.end


cdef bint fits(Named where, Named series) except -1:
    """Whether a label of these names is about the series."""
    if where.anything:
        return True
    for i in range(4):
        wanted = (<tuple> where.names)[i]
        if wanted is not None and wanted != (<tuple> series.names)[i]:
            return False
    return True


cdef class Pairs:
    """Ids and what is known of them, in the order in which they came to wait, or were joined.

    `latest` is the cell that each series used last, as Growing keeps it. An id's `Entry` is got,
    changed and put back; what changed since `settle` is in `gone` and `rows`, for the ledger.
    """

    def __cinit__(self, *_arguments, **_named):
        cdef bytes secret = urandom(16)
        cdef const uint64_t *words = <const uint64_t *> <const char *> secret
        slots_open(&self.table, words[0], words[1])
        self.known = {}

    def __init__(self, dict latest not None, pending_max, matched_max):
        self.latest = latest
        self.pending_max, self.matched_max = pending_max, matched_max

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.table.made):
            if self.table.slots[i].names is not NULL:
                Py_DECREF(<object> self.table.slots[i].names)
            if self.table.slots[i].where is not NULL:
                Py_DECREF(<object> self.table.slots[i].where)
        slots_close(&self.table)
        free(self.room)

    def __len__(self):
        return self.table.lists[LIST_WAITING].count

    @property
    def joined(self):
        """How many ids are remembered of which nothing waits."""
        return self.table.lists[LIST_MATCHED].count

    @property
    def changed(self):
        """Whether the ledger is behind."""
        return self.table.lists[LIST_CHANGED].count > 0 or self.table.gone_bytes > 0

    def get(self, str key not None):
        """What is known of the id, None if nothing is."""
        cdef uint32_t slot = self.slot_of(key)
        return None if slot == NO_SLOT else self.entry_of(slot)

    def put(self, str key not None, entry, *, bint stored=False):
        """File the entry where it belongs now; `stored`: the ledger has it so."""
        cdef bytes data = key.encode("utf-8", "surrogatepass")
        cdef uint32_t hash, slot
        if len(data) > KEY_BYTES_MAX:
            raise ValueError(f"an id of {len(data)} bytes; wanted at most {KEY_BYTES_MAX}")
        hash = slots_hash(&self.table, data, len(data))
        slot = slots_find(&self.table, data, len(data), hash)
        if slot == NO_SLOT:
            slot = slots_new(&self.table, data, len(data), hash)
            if slot == NO_SLOT:
                raise MemoryError
            self.table.slots[slot].unwritable = not key.isascii() and not writable(key)
        self.fill(slot, entry)
        slots_list(
            &self.table, slot, LIST_WAITING if entry.pending or entry.early else LIST_MATCHED)
        if stored:
            self.table.slots[slot].stored = True
        else:
            slots_change(&self.table, slot)

    def pop(self, str key not None):
        """Let go of the id, and return what was known of it; KeyError if nothing was."""
        cdef uint32_t slot = self.slot_of(key)
        if slot == NO_SLOT:
            raise KeyError(key)
        entry = self.entry_of(slot)
        self.let_go(slot)
        return entry

    def oldest(self, bint waiting):
        """The id that has waited longest, or was joined first, and when it was born; or None."""
        cdef uint32_t slot = self.table.lists[LIST_WAITING if waiting else LIST_MATCHED].first
        return None if slot == NO_SLOT else (self.key_of(slot), self.table.slots[slot].born)

    def waiting(self, str prefix not None):
        """The ids that begin so and whose prediction waits, and that prediction's time."""
        cdef uint32_t slot = self.table.lists[LIST_WAITING].first
        cdef bytes start = prefix.encode()
        cdef list found = []
        cdef Slot *s
        while slot != NO_SLOT:
            s = &self.table.slots[slot]
            if slot_key(s)[:s.key_bytes].startswith(start):
                entry = self.entry_of(slot)
                if entry.pending:
                    found.append((self.key_of(slot), entry.pending[0][1].time))
            slot = self.table.slots[slot].after
        return found

    def later_than(self, double seconds):
        """The ids of which a time is not before that, and those that are not plain."""
        cdef list found = []
        cdef uint32_t i
        cdef Slot *s
        for i in range(self.table.made):
            s = &self.table.slots[i]
            if (
                s.kind == KIND_OTHER
                or (s.kind == KIND_PENDING and s.time >= seconds)
                or (s.kind == KIND_MATCHED and (s.time >= seconds or s.beside >= seconds))
            ):
                found.append(self.key_of(i))
        return found

    def sort(self):
        """Put both orders into that of birth."""
        if slots_sort(&self.table, LIST_WAITING) or slots_sort(&self.table, LIST_MATCHED):
            raise MemoryError

    def gone(self):
        """The ids that the ledger has and is to forget, each in a tuple: before it writes rows."""
        cdef size_t at = 0
        cdef uint16_t size
        while at < self.table.gone_bytes:
            memcpy(&size, self.table.gone + at, sizeof(size))
            at += sizeof(size)
            yield (PyUnicode_DecodeUTF8(self.table.gone + at, size, NULL),)
            at += size

    def rows(self, *, bint stored):
        """Rows of what changed: id, the entry's bytes, checksum; of those that the ledger has."""
        cdef uint32_t slot = self.table.lists[LIST_CHANGED].first
        while slot != NO_SLOT:
            if (
                self.table.slots[slot].stored == stored
                and not self.table.slots[slot].unwritable
            ):
                row = self.packed(slot)
                if row is not None:
                    yield row
            slot = self.table.slots[slot].changed_after

    def unwritable(self):
        """What changed and no ledger can hold, by id; known once `rows` were read to their end."""
        cdef uint32_t slot = self.table.lists[LIST_CHANGED].first
        cdef dict found = {}
        while slot != NO_SLOT:
            if self.table.slots[slot].unwritable:
                found[self.key_of(slot)] = self.entry_of(slot)
            slot = self.table.slots[slot].changed_after
        return found

    def settle(self):
        """Take the changes as written."""
        cdef uint32_t slot
        cdef Slot *s
        cdef Named series
        while True:
            slot = self.table.lists[LIST_CHANGED].first
            if slot == NO_SLOT:
                break
            s = &self.table.slots[slot]
            slots_unchange(&self.table, slot)
            if s.unwritable:
                continue
            s.stored = True
            if s.kind == KIND_OTHER and type(<object> s.names) is not bytes:
                self.fill(slot, self.packed_of(slot))
        slots_forget_gone(&self.table)
        for series in self.known.values():  # what is final has been forgotten elsewhere
            if series.cell is not None and series.cell.final:
                series.cell = None
            if series.other is not None and series.other.final:
                series.other = None

    cpdef Named named(self, names):
        """The one object of these names."""
        cdef PyObject *found = PyDict_GetItemWithError(self.known, names)
        cdef Named new
        if found is not NULL:
            return <Named> found
        if len(self.known) >= KNOWN_MAX:
            self.known.clear()
        new = Named.__new__(Named)
        new.names, new.packed = names, encode(names)
        new.anything = names == (None, None, None, None)
        self.known[names] = new
        return new

    cdef OpenStats cell_of(self, Named series, double time):
        """The open cell of that time among those that the series used last; None if none is."""
        cdef PyObject *found
        if takes(series.cell, time):
            return series.cell
        if takes(series.other, time):
            return series.other
        found = PyDict_GetItemWithError(self.latest, series.names)
        if found is NULL or not takes(<OpenStats?> found, time):
            return None
        series.other, series.cell = series.cell, <OpenStats> found
        return series.cell

    cdef bint predicted(
        self, const char *key, size_t size, Named series,
        double y_pred, double weight, double time, double born
    ) except -1:
        """Take the first prediction of an id; False, and nothing, if there is more to it."""
        cdef OpenStats cell = self.cell_of(series, time)
        cdef CoverageCounts counted
        cdef uint32_t hash, slot
        cdef Slot *s
        if cell is None:
            return False
        hash = slots_hash(&self.table, key, size)
        slot = slots_find(&self.table, key, size, hash)
        if slot == NO_SLOT:
            slot = slots_new(&self.table, key, size, hash)
            if slot == NO_SLOT:
                raise MemoryError
        else:
            return False
        s = &self.table.slots[slot]
        s.kind, s.names = KIND_PENDING, <void *> series
        Py_INCREF(series)
        s.born, s.time, s.y, s.beside = born, time, y_pred, weight
        slots_list(&self.table, slot, LIST_WAITING)
        slots_change(&self.table, slot)
        cell.grown = True
        counted = cell.counted
        if counted is None:
            counted = (<object> cell).coverage  # which it makes
        counted.predictions += 1
        if self.table.lists[LIST_WAITING].count > self.pending_max:
            self.hold()
        return True

    cdef bint labelled(
        self, const char *key, size_t size, Named where, double y_true, double time
    ) except -1:
        """Join an id's one prediction with its label; False, and nothing, if there is more."""
        cdef uint32_t slot = slots_find(
            &self.table, key, size, slots_hash(&self.table, key, size))
        cdef OpenStats cell
        cdef Slot *s
        if slot == NO_SLOT or self.table.slots[slot].kind != KIND_PENDING or not isfinite(y_true):
            return False
        s = &self.table.slots[slot]
        if not fits(where, <Named> s.names):
            return False
        cell = self.cell_of(<Named> s.names, s.time)
        if cell is None or cell.counted is None:
            return False
        cell.stats.add(y_true, s.y, s.beside)
        cell.counted.add_match(<long long> rint((time - s.time) * 1000.0))
        cell.grown = True
        s.kind, s.y, s.beside, s.where = KIND_MATCHED, y_true, time, <void *> where
        Py_INCREF(where)
        slots_list(&self.table, slot, LIST_MATCHED)
        slots_change(&self.table, slot)
        while self.table.lists[LIST_MATCHED].count > self.matched_max:
            self.let_go(self.table.lists[LIST_MATCHED].first)  # nothing of it waits
        return True

    cdef uint32_t slot_of(self, str key):
        cdef bytes data = key.encode("utf-8", "surrogatepass")
        return slots_find(&self.table, data, len(data), slots_hash(&self.table, data, len(data)))

    cdef object entry_of(self, uint32_t slot):
        cdef Slot *s = &self.table.slots[slot]
        if s.kind == KIND_OTHER:
            held = <object> s.names
            if type(held) is bytes:
                return decode_entry(held)
            return held
        series = (<Named> s.names).names
        if s.kind == KIND_PENDING:
            return Entry(s.born, [(series, Prediction(s.y, s.beside, s.time))], [], [])
        label = Label(s.y, s.beside, (<Named> s.where).names)
        return Entry(s.born, [], [], [(series, s.time, label)])

    cdef int fill(self, uint32_t slot, object entry) except -1:
        """Have the slot hold this entry, or the bytes of the one that it holds."""
        cdef Slot *s = &self.table.slots[slot]
        cdef Named series, where
        if type(entry) is bytes:
            self.empty(slot)
            s.kind, s.names = KIND_OTHER, <void *> entry
            Py_INCREF(entry)
            return 0
        pending, early, matched = entry.pending, entry.early, entry.matched
        if not early and len(pending) + len(matched) == 1 and not s.unwritable:
            try:
                series = self.named((pending or matched)[0][0])
                where = self.named(matched[0][2].where) if matched else None
            except UnicodeEncodeError:  # names that no ledger can hold: `rows` finds it out
                series = None
            if series is not None and not (
                pending and (pending[0][1].loss or pending[0][1].interval is not None)
            ):
                self.empty(slot)
                if matched:
                    s.kind, s.time = KIND_MATCHED, matched[0][1]
                    s.y, s.beside = matched[0][2].y_true, matched[0][2].time
                    s.where = <void *> where
                    Py_INCREF(where)
                else:
                    s.kind, s.time = KIND_PENDING, pending[0][1].time
                    s.y, s.beside = pending[0][1].y_pred, pending[0][1].weight
                s.names, s.born = <void *> series, entry.born
                Py_INCREF(series)
                return 0
        Py_INCREF(entry)
        self.empty(slot)
        s.kind, s.names, s.born = KIND_OTHER, <void *> entry, entry.born
        return 0

    cdef int empty(self, uint32_t slot) except -1:
        """Let go of what the slot holds; it is in its lists still."""
        cdef Slot *s = &self.table.slots[slot]
        cdef void *names = s.names
        cdef void *where = s.where
        s.kind, s.names, s.where = KIND_EMPTY, NULL, NULL
        if names is not NULL:
            Py_DECREF(<object> names)
        if where is not NULL:
            Py_DECREF(<object> where)
        return 0

    cdef int let_go(self, uint32_t slot) except -1:
        """Forget the id; the ledger, if it has it, with the next commit."""
        if self.table.slots[slot].stored and slots_note_gone(&self.table, slot):
            raise MemoryError
        self.empty(slot)
        slots_free(&self.table, slot)
        return 0

    cdef str key_of(self, uint32_t slot):
        cdef Slot *s = &self.table.slots[slot]
        return PyUnicode_DecodeUTF8(slot_key(s), s.key_bytes, "surrogatepass")

    cdef object packed(self, uint32_t slot):
        """The slot's row; None, and marked so, if no ledger can hold it."""
        cdef Slot *s = &self.table.slots[slot]
        cdef char *start
        cdef char *at
        try:
            content = self.packed_of(slot)
        except Exception:  # a bug, or names that are no text: the row is set aside, with its reason
            s.unwritable = True
            return None
        # CRC-32 of MessagePack's (id, entry), as sound.checksum has it.
        start = self.with_room(s.key_bytes + 2 * PACKED_HEAD_BYTES + 1)
        at = pack_text_head(pack_byte(start, 0x92), s.key_bytes)
        at = pack_bytes(at, slot_key(s), s.key_bytes)
        at = pack_bytes_head(at, len(content))
        head = PyBytes_FromStringAndSize(start, at - start)
        return self.key_of(slot), content, crc32(content, crc32(head))

    cdef bytes packed_of(self, uint32_t slot):
        """The entry's bytes, as msgspec writes them."""
        cdef Slot *s = &self.table.slots[slot]
        cdef bytes names, where
        cdef char *start
        cdef char *at
        if s.kind == KIND_OTHER:
            held = <object> s.names
            return held if type(held) is bytes else encode(held)
        names = (<Named> s.names).packed
        where = b"" if s.kind == KIND_PENDING else (<Named> s.where).packed
        start = self.with_room(NUMBERS_BYTES + len(names) + len(where))
        at = pack_double(pack_byte(start, 0x94), s.born)
        if s.kind == KIND_PENDING:
            at = pack_bytes(pack_byte(pack_byte(at, 0x91), 0x92), names, len(names))
            at = pack_double(pack_double(pack_byte(at, 0x95), s.y), s.beside)
            at = pack_byte(pack_byte(pack_double(at, s.time), 0xA0), 0xC0)
            at = pack_byte(pack_byte(at, 0x90), 0x90)
        else:
            at = pack_byte(pack_byte(pack_byte(pack_byte(at, 0x90), 0x90), 0x91), 0x93)
            at = pack_double(pack_bytes(at, names, len(names)), s.time)
            at = pack_double(pack_double(pack_byte(at, 0x93), s.y), s.beside)
            at = pack_bytes(at, where, len(where))
        return PyBytes_FromStringAndSize(start, at - start)

    cdef char *with_room(self, size_t size) except NULL:
        """Memory for so many bytes, until this is called again."""
        cdef char *room
        if size > self.room_bytes:
            room = <char *> realloc(self.room, size)
            if room is NULL:
                raise MemoryError
            self.room, self.room_bytes = room, size
        return self.room


cdef bint writable(str key):
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
