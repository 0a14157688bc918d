/* Acks in (edgemse_wire.h includes this file). They are bytes of strangers. */
#ifndef EDGEMSE_ACKS_H
#define EDGEMSE_ACKS_H

typedef struct {
    const unsigned char *at;
    size_t left;
    int failed;
} edgemse_reader;

enum edgemse_kind { /* of a MessagePack item */
    EDGEMSE_NUMBER, /* from 0 on */
    EDGEMSE_TEXT,
    EDGEMSE_BINARY,
    EDGEMSE_ARRAY,
    EDGEMSE_MAP,
    EDGEMSE_OTHER /* of no use here: so many bytes follow */
};

EDGEMSE_CALL const unsigned char *edgemse_get(edgemse_reader *r, size_t size)
{
    const unsigned char *at = r->at;
    if (size > r->left) {
        r->failed = 1;
        size = r->left;
    }
    r->at += size;
    r->left -= size;
    return at;
}

/* What does not fit is UINT32_MAX, which no box has: not so many bytes, cells or revisions. */
EDGEMSE_FN uint32_t edgemse_get_big_endian(edgemse_reader *r, unsigned bytes)
{
    uint32_t n = 0;
    const unsigned char *at = edgemse_get(r, bytes);
    for (; at < r->at; at++)
        n = n >> 24 ? UINT32_MAX : n << 8 | *at;
    return n;
}

/* The kind of the next item, and its number: of bytes, of items, of pairs, or itself. */
EDGEMSE_CALL enum edgemse_kind edgemse_get_head(edgemse_reader *r, uint32_t *n)
{
    /* of the codes from 0xc0 on: the kind, and how many bytes the number takes */
    static const unsigned char codes[32] = {
        0x50, 0xff, 0x50, 0x50, 0x21, 0x22, 0x24, 0x61, 0x62, 0x64, 0x54, 0x58, 0x01, 0x02, 0x04,
        0x08, 0x51, 0x52, 0x54, 0x58, 0x52, 0x53, 0x55, 0x59, 0x5d, 0x11, 0x12, 0x14, 0x32, 0x34,
        0x42, 0x44};
    const unsigned first = edgemse_get_big_endian(r, 1);
    unsigned code;
    *n = first;
    if (first < 0x80)
        return EDGEMSE_NUMBER;
    *n = first & 0x0f;
    if (first < 0xa0)
        return first < 0x90 ? EDGEMSE_MAP : EDGEMSE_ARRAY;
    *n = first & 0x1f;
    if (first < 0xc0)
        return EDGEMSE_TEXT;
    *n = 0;
    if (first >= 0xe0)
        return EDGEMSE_OTHER;
    code = codes[first - 0xc0];
    if (code == 0xff)
        r->failed = 1;
    if (code >> 4 == EDGEMSE_OTHER) {
        *n = code & 15;
        if (first == 0xd8) /* the one of 17 bytes */
            *n = 17;
        return EDGEMSE_OTHER;
    }
    *n = edgemse_get_big_endian(r, code & 15);
    if (code >> 4 == 6) { /* extensions: a byte for their type comes before the rest */
        ++*n;
        return EDGEMSE_OTHER;
    }
    return (enum edgemse_kind)(code >> 4);
}

/* How many bytes, items or pairs an item of that kind has: no more than bytes are left. */
EDGEMSE_CALL size_t edgemse_want(edgemse_reader *r, enum edgemse_kind kind)
{
    uint32_t n;
    if (edgemse_get_head(r, &n) != kind || n > r->left)
        r->failed = 1;
    return r->failed ? 0 : n;
}

EDGEMSE_CALL void edgemse_want_array(edgemse_reader *r, size_t items)
{
    if (edgemse_want(r, EDGEMSE_ARRAY) != items)
        r->failed = 1;
}

EDGEMSE_FN const unsigned char *edgemse_want_text(edgemse_reader *r, size_t *size)
{
    *size = edgemse_want(r, EDGEMSE_TEXT);
    return edgemse_get(r, *size);
}

EDGEMSE_CALL uint32_t edgemse_want_number(edgemse_reader *r)
{
    uint32_t n;
    if (edgemse_get_head(r, &n) != EDGEMSE_NUMBER)
        r->failed = 1;
    return n;
}

/* Passes over items, whatever they hold, without a call a level. */
EDGEMSE_FN void edgemse_skip(edgemse_reader *r, size_t items)
{
    while (items && !r->failed) {
        uint32_t n;
        const enum edgemse_kind kind = edgemse_get_head(r, &n);
        items--;
        if (kind == EDGEMSE_NUMBER)
            continue;
        if (n > r->left || items > r->left) /* an item is a byte or more */
            r->failed = 1;
        else if (kind == EDGEMSE_ARRAY || kind == EDGEMSE_MAP)
            items += kind == EDGEMSE_MAP ? 2 * n : n;
        else
            edgemse_get(r, n);
    }
}

EDGEMSE_CALL int edgemse_same(const unsigned char *a, const unsigned char *b, size_t size)
{
    while (size && *a == *b)
        a++, b++, size--;
    return size == 0;
}

/* FNV-1a of some bytes, never 0 (Fowler, Noll, Vo: offset and prime of 32 bits). */
EDGEMSE_CALL uint32_t edgemse_digest(const unsigned char *data, size_t size)
{
    uint32_t digest = UINT32_C(2166136261);
    while (size--)
        digest = (digest ^ *data++) * UINT32_C(16777619);
    return digest | 1;
}

/* Cells by producer: reads them, and applies what is about this box's cells where `box` is one. */
EDGEMSE_CALL void edgemse_get_cells(edgemse_reader *r, edgemse_box *box, const char *code,
                                    size_t length)
{
    size_t producers = edgemse_want(r, EDGEMSE_ARRAY);
    while (producers-- && !r->failed) {
        const unsigned char *producer;
        size_t cells, size;
        int ours;
        edgemse_want_array(r, 2);
        size = edgemse_want(r, EDGEMSE_BINARY);
        producer = edgemse_get(r, size);
        r->failed |= size != 16;
        ours = box && !r->failed && edgemse_same(producer, box->producer, 16);
        cells = edgemse_want(r, EDGEMSE_ARRAY);
        while (cells-- && !r->failed) {
            uint32_t sequence, revision;
            edgemse_want_array(r, 2);
            sequence = edgemse_want_number(r);
            revision = edgemse_want_number(r);
            if (ours && !r->failed)
                edgemse_answered(box, sequence, revision, code, length);
        }
    }
}

/* Reads an ack, and applies it where `box` is one. */
EDGEMSE_CALL void edgemse_get_ack(edgemse_reader *r, edgemse_box *box)
{
    const unsigned char *text;
    size_t refusals, size;
    edgemse_want_array(r, 6);
    if (edgemse_want_number(r) != 1) /* version of the protocol */
        r->failed = 1;
    edgemse_want_text(r, &size); /* which collector */
    text = edgemse_want_text(r, &size);
    if (box && size) {
        const uint32_t store = edgemse_digest(text, size);
        box->stores_changed += box->store && box->store != store;
        box->store = store;
    }
    edgemse_get_cells(r, box, NULL, 0);
    refusals = edgemse_want(r, EDGEMSE_ARRAY);
    while (refusals-- && !r->failed) {
        size_t length;
        edgemse_want_array(r, 3);
        text = edgemse_want_text(r, &length);
        edgemse_want_text(r, &size); /* words, for people */
        edgemse_get_cells(r, box, length ? (const char *)text : "?", length ? length : 1);
    }
    edgemse_skip(r, 2 * edgemse_want(r, EDGEMSE_MAP)); /* for later versions */
    r->failed |= r->left != 0;
}

/* Takes an ack: cells that the store has as they are held are done and leave their place, refused
   ones are set aside. Returns 1, or 0 if the bytes are no ack: then nothing was changed but
   acks_bad. */
EDGEMSE_FN int edgemse_read_ack(edgemse_box *box, const unsigned char *data, size_t size)
{
    edgemse_reader checked, r;
    checked.at = data;
    checked.left = size;
    checked.failed = 0;
    r = checked;
    edgemse_get_ack(&checked, NULL);
    if (checked.failed) {
        box->acks_bad++;
        return 0;
    }
    edgemse_get_ack(&r, box);
    box->acks++;
    return 1;
}

#endif
