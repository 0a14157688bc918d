"""The bytes of a state in plain Python, as docs/wire.md describes them."""

import struct
from dataclasses import dataclass, field

__all__ = [
    "BitReader",
    "ByteReader",
    "Rice",
    "bits_to_bytes",
    "buckets_bits",
    "gamma",
    "plain",
    "unzigzag",
    "varint",
    "zigzag",
]

ESCAPE = 20
RICE_WINDOW = 16
SPAN = 512


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit set on all bytes but the last."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value: int) -> int:
    """The inverse of `zigzag`."""
    return -(value + 1) // 2 if value & 1 else value // 2


def plain(value: int, width: int) -> str:
    """The low `width` bits."""
    return f"{value & ((1 << width) - 1):0{width}b}" if width else ""


def gamma(value: int) -> str:
    """Elias' gamma code of a number >= 1."""
    digits = f"{value:b}"
    return "0" * (len(digits) - 1) + digits


@dataclass
class Rice:
    """Golomb-Rice codes whose parameter follows the mean of what was coded."""

    total: int = 0
    seen: int = 1

    def parameter(self) -> int:
        """The least k with seen * 2^k >= total."""
        k = 0
        while self.seen << k < self.total:
            k += 1
        return k

    def learn(self, value: int) -> None:
        """Take a coded value into the mean; older ones count half every 15 values or less."""
        self.total += value
        self.seen += 1
        if self.seen == RICE_WINDOW:
            self.total //= 2
            self.seen //= 2

    def code(self, value: int) -> str:
        """The bits of one value >= 0."""
        k = self.parameter()
        quotient = value >> k
        unary = (
            "1" * ESCAPE + gamma(quotient - ESCAPE + 1)
            if quotient >= ESCAPE
            else ("1" * quotient + "0")
        )
        self.learn(value)
        return unary + plain(value, k)


def buckets_bits(counts: list[int], rice: Rice) -> str:
    """One sign's counts, from its lowest used bucket to its highest."""
    out = []
    last = at = 0
    while at < len(counts):
        here = counts[at]
        out.append(rice.code(here - 1 if last == 0 else zigzag(here - last)))
        last = here
        if here == 0:
            zeros = next(j for j, count in enumerate(counts[at:]) if count)
            out.append(gamma(zeros))
            at += zeros
        else:
            at += 1
    return "".join(out)


def bits_to_bytes(bits: str) -> bytes:
    """Eight bits a byte, the highest first, filled up with zeros."""
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


class ByteReader:
    """Takes numbers off the front of some bytes; IndexError at their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """The next byte."""
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        """The next varint."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise IndexError("a varint of more than 63 bits")

    def double(self) -> float:
        """The next double."""
        if self.at + 8 > len(self.data):
            raise IndexError("cut inside a double")
        self.at += 8
        (value,) = struct.unpack_from("<d", self.data, self.at - 8)
        return float(value)


@dataclass
class BitReader:
    """Reads what `buckets_bits` wrote; IndexError past the end."""

    bits: str
    at: int = 0
    rice: Rice = field(default_factory=Rice)

    def take(self, width: int) -> int:
        """The next `width` bits."""
        value = 0
        for _ in range(width):
            value = value * 2 + int(self.bits[self.at])
            self.at += 1
        return value

    def gamma(self) -> int:
        """The next gamma code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return 1 << zeros | self.take(zeros)

    def value(self) -> int:
        """The next Golomb-Rice code."""
        k = self.rice.parameter()
        quotient = 0
        while quotient < ESCAPE and self.take(1):
            quotient += 1
        if quotient == ESCAPE:
            quotient += self.gamma() - 1
        value = quotient << k | self.take(k)
        self.rice.learn(value)
        return value

    def counts(self, size: int) -> list[int]:
        """One sign's `size` counts."""
        out: list[int] = []
        last = 0
        while len(out) < size:
            coded = self.value()
            last = coded + 1 if last == 0 else last + unzigzag(coded)
            if last < 0:
                raise IndexError("a negative count")
            zeros = self.gamma() if last == 0 else 0
            if len(out) + zeros >= size and last == 0:
                raise IndexError("the run of zeros goes past the last bucket")
            out.extend([0] * zeros if last == 0 else [last])
        return out
