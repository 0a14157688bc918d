/* Which topics, and whether a collector listens. */
#ifndef EDGEMSE_LINK_H
#define EDGEMSE_LINK_H

#include "edgemse_wire.h"

#ifndef EDGEMSE_WORKERS
#define EDGEMSE_WORKERS 4 /* collectors told apart; of more the oldest known are watched */
#endif

typedef struct {
    struct {
        uint32_t name, run; /* digests; name 0: nobody */
        int online;
    } workers[EDGEMSE_WORKERS];
} edgemse_collectors;

/* Forgets who listened: at the start, and whenever the connection is lost. */
EDGEMSE_FN void edgemse_deserted(edgemse_collectors *c)
{
    edgemse_zero(c, sizeof *c);
}

/* Whether some collector listens. While none does, hold: publish nothing. */
EDGEMSE_FN int edgemse_online(const edgemse_collectors *c)
{
    int i, online = 0;
    for (i = 0; i < EDGEMSE_WORKERS; i++)
        online |= c->workers[i].name && c->workers[i].online;
    return online;
}

/* Where in a JSON object the value of one of its own keys begins; `size` if there is none. */
EDGEMSE_FN size_t edgemse_json(const unsigned char *json, size_t size, const char *key,
                               size_t length)
{
    size_t i = 0;
    int depth = 0, colons;
    for (; i < size; i++) {
        size_t start = i + 1;
        depth += (json[i] | ' ') == '{'; /* or [ */
        depth -= (json[i] | ' ') == '}';
        if (json[i] != '"')
            continue;
        for (i++; i < size && json[i] != '"'; i++)
            i += json[i] == '\\';
        if (depth != 1 || i - start != length || i >= size
            || !edgemse_same(json + start, (const unsigned char *)key, length))
            continue;
        for (start = i + 1, colons = 0; start < size; start++) {
            colons += json[start] == ':';
            if (json[start] > ' ' && json[start] != ':')
                break;
        }
        if (colons == 1) /* a key, not a text that reads the same */
            return start;
    }
    return size;
}

/* Takes a message of <prefix>/collector/<worker>, retained or not; empty ones, too. A last will of
   an earlier run, which may come late, does not make the present one deaf. */
EDGEMSE_FN void edgemse_heard(edgemse_collectors *c, const unsigned char *worker, size_t length,
                              const unsigned char *json, size_t size)
{
    const uint32_t name = edgemse_digest(worker, length);
    const size_t online = edgemse_json(json, size, "online", 6);
    size_t run = edgemse_json(json, size, "run", 3), end;
    uint32_t digest;
    int i, free = -1;
    for (i = EDGEMSE_WORKERS - 1; i >= 0 && c->workers[i].name != name; i--)
        free = c->workers[i].name ? free : i;
    if (size && online == size)
        return;
    for (end = run + (run < size); end < size && json[end] != '"';)
        end++;
    digest = edgemse_digest(json + run, end - run);
    if (i < 0 && free < 0)
        return;
    if (i >= 0 && size && json[online] != 't' && c->workers[i].run != digest)
        return;
    i = i >= 0 ? i : free;
    c->workers[i].name = size ? name : 0;
    c->workers[i].run = digest;
    c->workers[i].online = size && json[online] == 't';
}

/* Writes <prefix>/<device>/<what>, the device's name as topics spell it, and a 0 behind it; what is
   "report", "ack" or "presence". Returns its length, or 0 if it does not fit. */
EDGEMSE_FN size_t edgemse_topic(char *topic, size_t room, const char *prefix, const char *device,
                                const char *what)
{
    static const char digits[] = "0123456789ABCDEF";
    edgemse_writer w;
    edgemse_writer_open(&w, (unsigned char *)topic, room);
    edgemse_put_characters(&w, prefix);
    edgemse_put_byte(&w, '/');
    for (; *device; device++) {
        const unsigned c = (unsigned char)*device;
        if (c >= ' ' && c < 0x7f && c != '/' && c != '+' && (c < '#' || c > '%')) {
            edgemse_put_byte(&w, c);
            continue;
        }
        edgemse_put_byte(&w, '%');
        edgemse_put_byte(&w, (unsigned char)digits[c >> 4]);
        edgemse_put_byte(&w, (unsigned char)digits[c & 15]);
    }
    edgemse_put_byte(&w, '/');
    edgemse_put_characters(&w, what);
    edgemse_put_byte(&w, 0);
    return w.size <= room ? w.size - 1 : 0;
}

#endif
