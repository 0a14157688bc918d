# cython: language_level=3, cdivision=True
"""Bytes: varints, doubles, bits, and the histogram's counts. docs/wire.md describes every byte."""
from cpython.mem cimport PyMem_RawMalloc, PyMem_RawRealloc, PyMem_RawFree
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from edgemse.stats._buckets cimport (
    LOWEST, MAX_COUNT, NO_TOP, SPAN, Buckets, Side, buckets_clear, buckets_fill, side_get,
    side_trim,
)

cdef extern from *:
    int leading_zeros "__builtin_clzll"(unsigned long long v) noexcept nogil

cdef extern from *:
    """
    static const signed char edgemse_seen_bits[16] = {
        0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
    };
    """
    const signed char seen_bits "edgemse_seen_bits"[16]  # the highest bit of 1..15

cdef enum:
    ESCAPE = 20           # unary quotients from here on are written as Elias-gamma numbers
    RICE_WINDOW = 16      # samples after which the running mean is halved
    HIGHEST_BUCKET = 1599  # of 2^200, the largest error that is accepted
    COUNTS_MAX = 2 * SPAN  # buckets of both signs
    WRITER_ROOM = 512     # bytes: most states fit


cdef struct Writer:
    unsigned char *data
    Py_ssize_t size
    Py_ssize_t room
    uint64_t held         # bits that do not fill a byte yet, in the low end
    int bits
    bint failed           # no memory


cdef struct Reader:
    const unsigned char *data
    Py_ssize_t size
    Py_ssize_t at
    uint64_t held
    int bits
    bint failed           # ran past the end, or read what no writer writes


cdef struct Runs:         # a histogram as its bytes tell it, but for the counts
    uint64_t zero         # the zero bucket
    uint64_t total        # all buckets, that one included
    int top               # the highest bucket, of either sign
    int low[2]            # of each sign the lowest used bucket, and from it how many to the highest
    int size[2]


cdef struct Rice:
    uint64_t total
    uint64_t seen


cdef inline int writer_open(Writer *w) noexcept nogil:
    memset(w, 0, sizeof(Writer))
    w.room = WRITER_ROOM
    w.data = <unsigned char *> PyMem_RawMalloc(w.room)
    w.failed = w.data == NULL
    return -1 if w.failed else 0


cdef inline void writer_close(Writer *w) noexcept nogil:
    PyMem_RawFree(w.data)


cdef inline bint writer_make_room(Writer *w, Py_ssize_t n) noexcept nogil:
    cdef unsigned char *data
    if w.size + n <= w.room:
        return True
    data = <unsigned char *> PyMem_RawRealloc(w.data, 2 * w.room + n)
    if data == NULL:
        w.failed = True
        return False
    w.data = data
    w.room = 2 * w.room + n
    return True


cdef inline void put_byte(Writer *w, unsigned char byte) noexcept nogil:
    if writer_make_room(w, 1):
        w.data[w.size] = byte
        w.size += 1


cdef inline void put_varint(Writer *w, uint64_t v) noexcept nogil:
    while v >= 0x80:
        put_byte(w, <unsigned char> (v & 0x7F | 0x80))
        v >>= 7
    put_byte(w, <unsigned char> v)


cdef inline uint64_t zigzag(int64_t v) noexcept nogil:
    return (<uint64_t> v << 1) ^ (0 - <uint64_t> (v < 0))


cdef inline int64_t unzigzag(uint64_t v) noexcept nogil:
    return <int64_t> ((v >> 1) ^ (0 - (v & 1)))


cdef inline void put_double(Writer *w, double x) noexcept nogil:
    cdef uint64_t bits
    cdef int i
    if not writer_make_room(w, 8):
        return
    memcpy(&bits, &x, 8)
    for i in range(8):
        w.data[w.size + i] = <unsigned char> (bits >> (8 * i) & 0xFF)
    w.size += 8


cdef inline void put_bits(Writer *w, uint64_t v, int n) noexcept nogil:
    """The low n <= 32 bits of v, the highest first. Four bytes at a time: fewer wrong guesses."""
    cdef uint32_t word
    cdef int i
    w.held = (w.held << n) | v
    w.bits += n
    if w.bits < 32 or not writer_make_room(w, 4):
        return
    w.bits -= 32
    word = <uint32_t> (w.held >> w.bits)
    for i in range(4):
        w.data[w.size + i] = <unsigned char> (word >> (24 - 8 * i) & 0xFF)
    w.size += 4


cdef inline void put_long(Writer *w, uint64_t v, int n) noexcept nogil:
    """The low n <= 64 bits of v."""
    if n > 32:
        put_bits(w, v >> 32 & ((1ULL << (n - 32)) - 1), n - 32)
        n = 32
    put_bits(w, v & ((1ULL << n) - 1), n)


cdef inline void put_padding(Writer *w) noexcept nogil:
    """Whole bytes, the last one filled up with zeros."""
    while w.bits >= 8:
        w.bits -= 8
        put_byte(w, <unsigned char> (w.held >> w.bits & 0xFF))
    if w.bits:
        put_byte(w, <unsigned char> (w.held << (8 - w.bits) & 0xFF))


cdef inline int bit_width(uint64_t v) noexcept nogil:
    """How many bits v has."""
    return 64 - leading_zeros(v) if v else 0


cdef inline void put_gamma(Writer *w, uint64_t v) noexcept nogil:
    """Elias' gamma code of v >= 1."""
    cdef int n = bit_width(v)
    put_long(w, 0, n - 1)
    put_long(w, v, n)


cdef inline int rice_bits(const Rice *r) noexcept nogil:
    """The least k with seen 2^k >= total; k low bits are written plainly (as in JPEG-LS, T.87)."""
    cdef int k = max(63 - leading_zeros(r.total | 1) - seen_bits[r.seen], 0)
    return k + <int> (r.seen << k < r.total)  # no branch: it would be guessed wrong half the time


cdef inline void rice_learn(Rice *r, uint64_t v) noexcept nogil:
    r.total += v
    r.seen += 1
    if r.seen == RICE_WINDOW:
        r.total >>= 1
        r.seen >>= 1


cdef inline void put_rice(Writer *w, Rice *r, uint64_t v) noexcept nogil:
    cdef int k = rice_bits(r)
    cdef uint64_t q = v >> k
    rice_learn(r, v)
    if q < ESCAPE and k <= 32 - ESCAPE:
        put_bits(w, ((1ULL << (q + 1)) - 2) << k | (v & ((1ULL << k) - 1)), <int> q + 1 + k)
        return
    if q < ESCAPE:
        put_bits(w, (1ULL << (q + 1)) - 2, <int> q + 1)
    else:
        put_bits(w, (1 << ESCAPE) - 1, ESCAPE)
        put_gamma(w, q - ESCAPE + 1)
    put_long(w, v, k)


cdef inline void put_run(Writer *w, Rice *r, const Side *s, int first, int size) noexcept nogil:
    """Differences of neighbours; a zero is followed by the length of its run."""
    cdef int64_t last = 0
    cdef int64_t here
    cdef int j = first
    cdef int start
    while j < first + size:
        here = <int64_t> side_get(s, j)
        put_rice(w, r, <uint64_t> here - 1 if last == 0 else zigzag(here - last))
        last = here
        start = j
        j += 1
        if here == 0:
            while side_get(s, j) == 0:  # the last bucket is not empty
                j += 1
            put_gamma(w, j - start)


cdef inline void put_buckets(Writer *w, const Buckets *b) noexcept nogil:
    cdef Rice rice
    cdef int low[2]
    cdef int size[2]
    cdef int side
    rice.total = 0
    rice.seen = 1
    put_varint(w, b.zero)
    for side in range(2):
        side_trim(&b.sides[side], &low[side], &size[side])
        put_varint(w, size[side])
        if size[side]:
            put_varint(w, zigzag(low[side]))
    for side in range(2):
        put_run(w, &rice, &b.sides[side], low[side] - b.sides[side].low, size[side])
    put_padding(w)


cdef inline unsigned char get_byte(Reader *r) noexcept nogil:
    if r.at >= r.size:
        r.failed = True
        return 0
    r.at += 1
    return r.data[r.at - 1]


cdef inline uint64_t get_varint(Reader *r) noexcept nogil:
    """At most 63 bits, in the shortest form."""
    cdef uint64_t v = 0
    cdef unsigned char byte
    cdef int shift = 0
    while shift < 63:
        byte = get_byte(r)
        v |= (<uint64_t> (byte & 0x7F)) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                r.failed = True
            return v
        shift += 7
    r.failed = True
    return 0


cdef inline double get_double(Reader *r) noexcept nogil:
    cdef uint64_t bits = 0
    cdef double x
    cdef int i
    if r.at + 8 > r.size:
        r.failed = True
        return 0.0
    for i in range(8):
        bits |= (<uint64_t> r.data[r.at + i]) << (8 * i)
    r.at += 8
    memcpy(&x, &bits, 8)
    return x


cdef inline void reader_fill(Reader *r) noexcept nogil:
    """At least 32 bits in hand, or all that are left."""
    cdef const unsigned char *next = r.data + r.at
    if r.bits >= 32:
        return
    if r.at + 4 <= r.size:
        r.held = r.held << 32 | (
            <uint64_t> next[0] << 24 | <uint64_t> next[1] << 16 | <uint64_t> next[2] << 8 | next[3])
        r.at += 4
        r.bits += 32
        return
    while r.bits < 32 and r.at < r.size:
        r.held = (r.held << 8) | r.data[r.at]
        r.at += 1
        r.bits += 8


cdef inline uint64_t get_bits(Reader *r, int n) noexcept nogil:
    """The next n <= 32 bits."""
    reader_fill(r)
    if r.bits < n:
        r.failed = True
        return 0
    r.bits -= n
    return r.held >> r.bits & ((1ULL << n) - 1)


cdef inline int get_ones(Reader *r) noexcept nogil:
    """How many ones come next, at most ESCAPE; the zero that ends fewer is taken as well."""
    cdef uint64_t flipped
    cdef int ones
    reader_fill(r)
    if r.bits == 0:
        r.failed = True
        return 0
    flipped = ~(r.held << (64 - r.bits))
    ones = min(leading_zeros(flipped) if flipped else 64, ESCAPE)
    if ones == ESCAPE and r.bits >= ESCAPE:
        r.bits -= ESCAPE
    elif ones < r.bits:
        r.bits -= ones + 1
    else:
        r.failed = True
    return ones


cdef inline uint64_t get_long(Reader *r, int n) noexcept nogil:
    cdef uint64_t high = 0
    if n > 32:
        high = get_bits(r, n - 32)
        n = 32
    return high << n | get_bits(r, n)


cdef inline uint64_t get_gamma(Reader *r) noexcept nogil:
    cdef int zeros = 0
    while get_bits(r, 1) == 0:
        zeros += 1
        if zeros > 53 or r.failed:
            r.failed = True
            return 1
    return 1ULL << zeros | get_long(r, zeros)


cdef inline uint64_t get_long_rice(Reader *r, int k) noexcept nogil:
    """One that is escaped, or whose end may lie beyond what is in hand."""
    cdef uint64_t q = get_ones(r)
    if q == ESCAPE:
        q += get_gamma(r) - 1
    if q >> (55 - k):
        r.failed = True
        return 0
    return q << k | get_long(r, k)


cdef inline uint64_t get_run(Reader *reader, Rice *model, uint64_t *counts,
                             int size) noexcept nogil:
    """Fills in a run; returns the sum of its counts."""
    # Structs whose address goes nowhere live in registers; what is called takes a copy.
    cdef Reader r = reader[0]
    cdef Rice rice = model[0]
    cdef Reader lent
    cdef int64_t last = 0
    cdef uint64_t total = 0
    cdef uint64_t coded, zeros
    cdef int j = 0
    cdef int k, ones, wide
    while j < size and not r.failed:
        k = rice_bits(&rice)
        reader_fill(&r)
        ones = ESCAPE
        if r.bits > 0 and k < 32 - ESCAPE:
            ones = leading_zeros(~(r.held << (64 - r.bits)) | 1)
        if ones < ESCAPE and ones + 1 + k <= r.bits:
            r.bits -= ones + 1 + k
            coded = <uint64_t> ones << k | (r.held >> r.bits & ((1ULL << k) - 1))
        else:
            lent = r
            coded = get_long_rice(&lent, k)
            r = lent
        rice_learn(&rice, coded)
        last = <int64_t> coded + 1 if last == 0 else last + unzigzag(coded)
        total += <uint64_t> last
        if last < 0 or total > MAX_COUNT:
            r.failed = True
        counts[j] = <uint64_t> last
        j += 1
        if last == 0:
            reader_fill(&r)
            wide = leading_zeros(r.held << (64 - r.bits) | 1) if r.bits > 0 else 64
            if 2 * wide < r.bits:
                r.bits -= 2 * wide + 1
                zeros = r.held >> r.bits & ((2ULL << wide) - 1)
            else:
                lent = r
                zeros = get_gamma(&lent)
                r = lent
            if zeros > <uint64_t> (size - j):  # the last bucket is never empty
                r.failed = True
                break
            memset(counts + j, 0, <size_t> (zeros - 1) * sizeof(uint64_t))
            j += <int> zeros - 1
    reader[0] = r
    model[0] = rice
    return total


cdef inline bint get_side(Reader *r, int *low, int *size) noexcept nogil:
    cdef uint64_t n = get_varint(r)
    cdef int64_t first = 0
    if n > SPAN or r.failed:
        return False
    if n:
        first = unzigzag(get_varint(r))
    if first < LOWEST or first + <int64_t> n - 1 > HIGHEST_BUCKET:
        return False
    low[0] = <int> first
    size[0] = <int> n
    return True


cdef inline bint get_runs(Reader *r, Runs *runs, uint64_t *counts) noexcept nogil:
    """Reads a histogram, checked, its counts into `counts` (COUNTS_MAX); False if it is none."""
    cdef Rice rice
    cdef int side, from_ = 0
    rice.total = 0
    rice.seen = 1
    runs.top = NO_TOP
    runs.zero = runs.total = get_varint(r)
    for side in range(2):
        if not get_side(r, &runs.low[side], &runs.size[side]):
            return False
        if runs.size[side]:
            runs.top = max(runs.top, runs.low[side] + runs.size[side] - 1)
    if runs.total > MAX_COUNT:
        return False
    r.held = r.bits = 0
    for side in range(2):
        if runs.size[side] == 0:
            continue
        if runs.low[side] <= runs.top - SPAN:
            return False
        runs.total += get_run(r, &rice, counts + from_, runs.size[side])
        if r.failed or counts[from_] == 0 or runs.total > MAX_COUNT:
            return False
        from_ += runs.size[side]
    # bits that are left: it was cut short, or something follows
    return not (r.failed or r.bits > 7 or r.held & ((1ULL << r.bits) - 1)) and r.at == r.size


cdef inline int buckets_from_runs(Buckets *b, const Runs *runs,
                                  const uint64_t *counts) noexcept nogil:
    """0, or -1 without memory; `b` is to be freed in every case."""
    buckets_clear(b)
    b.zero = runs.zero
    b.top = runs.top
    return buckets_fill(b, counts, runs.total, runs.low, runs.size)


cdef inline void runs_of(Runs *runs, const Buckets *b) noexcept nogil:
    cdef int side
    runs.zero = b.zero
    runs.total = b.total
    runs.top = b.top
    for side in range(2):
        side_trim(&b.sides[side], &runs.low[side], &runs.size[side])
