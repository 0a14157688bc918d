/* MessagePack of the values that a ledger's rows are made of, as msgspec writes it. */
#ifndef EDGEMSE_PACKING_H
#define EDGEMSE_PACKING_H

#include <stdint.h>
#include <string.h>

#define PACKED_HEAD_BYTES 5 /* of a text or bytes, at most */

static inline char *pack_byte(char *at, unsigned byte) {
    *at = (char)byte;
    return at + 1;
}

static inline char *pack_bytes(char *at, const char *data, size_t size) {
    memcpy(at, data, size);
    return at + size;
}

static inline char *pack_double(char *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    *at++ = (char)0xcb;
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (char)(bits >> shift);
    return at;
}

static inline char *pack_size(char *at, size_t size, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        *at++ = (char)(size >> shift);
    return at;
}

static inline char *pack_text_head(char *at, size_t size) {
    if (size < 32)
        return pack_byte(at, 0xa0 | (unsigned)size);
    if (size < 256)
        return pack_size(pack_byte(at, 0xd9), size, 1);
    if (size < 65536)
        return pack_size(pack_byte(at, 0xda), size, 2);
    return pack_size(pack_byte(at, 0xdb), size, 4);
}

static inline char *pack_bytes_head(char *at, size_t size) {
    if (size < 256)
        return pack_size(pack_byte(at, 0xc4), size, 1);
    if (size < 65536)
        return pack_size(pack_byte(at, 0xc5), size, 2);
    return pack_size(pack_byte(at, 0xc6), size, 4);
}

#endif
