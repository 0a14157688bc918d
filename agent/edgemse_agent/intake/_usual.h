/* The usual line of JSON: an object of known keys, plain numbers, and names in printable ASCII.
 *
 * What it reads it reads as the general parser does (lines.py); at the least doubt it reads
 * nothing, and that one says what the line is, or what is wrong with it.
 */
#ifndef EDGEMSE_USUAL_H
#define EDGEMSE_USUAL_H

#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define NAME_CHARACTERS_MAX 256        /* edgemse/names.py */
#define WHOLE_DIGITS_MAX 18            /* of a whole number: below 2^62 */
#define EXACT_MAX 9007199254740992u    /* 2^53: whole numbers up to here are doubles */
#define EXACT_POWER 22                 /* 10^22 is the last power of ten that is a double */
#define FIRST_SECONDS 1000000000.0     /* times from 2001 on have ten digits: edgemse/times.py */
#define END_SECONDS 8589934592.0       /* 2^33, 2242 */

enum { USUAL_MODEL, USUAL_VERSION, USUAL_OUTPUT, USUAL_SEGMENT, USUAL_NAMES };
enum { USUAL_SAMPLE = 1, USUAL_PREDICTION, USUAL_LABEL };

typedef struct {
    const char *at; /* NULL: the line does not say it */
    Py_ssize_t size;
} Span;

typedef struct {
    double y_true, y_pred, weight, ts;
    Span id, names[USUAL_NAMES];
    int64_t n; /* -1: none */
    int has_true, has_pred, has_weight, has_ts;
} Usual;

static inline const char *past_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

static inline int is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Read a number of JSON; return what is behind it, NULL if it is none that a double holds. */
static inline const char *read_double(const char *at, const char *end, double *out) {
    static const double powers[EXACT_POWER + 1] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    };
    const char *start = at, *whole;
    uint64_t digits = 0;
    int count = 0, power = 0, negative = at < end && *at == '-';
    at += negative;
    whole = at;
    for (; at < end && is_digit(*at); at++)
        if (digits || *at != '0')
            digits = 10 * digits + (uint64_t)(*at - '0'), count++;
    if (at == whole || at - whole > WHOLE_DIGITS_MAX || (*whole == '0' && at - whole > 1))
        return NULL;
    if (negative && at < end && *at != '.' && *at != 'e' && *at != 'E' && !digits)
        return NULL; /* -0 is a whole number, which has no sign */
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        for (; at < end && is_digit(*at); at++) {
            if (count >= WHOLE_DIGITS_MAX + 1)
                continue; /* too many to count in 64 bits: read below */
            if (digits || *at != '0')
                count++;
            digits = 10 * digits + (uint64_t)(*at - '0'), power--;
        }
        if (at == fraction)
            return NULL;
        if (power != fraction - at)
            digits = EXACT_MAX + 1;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *first;
        int down, size = 0;
        at++;
        down = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        for (first = at; at < end && is_digit(*at) && at - first < 4; at++)
            size = 10 * size + (*at - '0');
        if (at == first || (at < end && is_digit(*at)))
            return NULL;
        power += down ? -size : size;
    }
    if (at == end) /* inside an object something always follows */
        return NULL;
    if (digits <= EXACT_MAX && power >= -EXACT_POWER && power <= EXACT_POWER) {
        /* Both are doubles, so that one division or product is rounded once (Clinger, 1990). */
        double value = (double)digits;
        value = power < 0 ? value / powers[-power] : value * powers[power];
        *out = negative ? -value : value;
        return at;
    }
    char *behind;
    *out = PyOS_string_to_double(start, &behind, NULL);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return NULL;
    }
    return behind == at && isfinite(*out) ? at : NULL;
}

/* Read digits, no more than 18, without a sign. */
static inline const char *read_whole(const char *at, const char *end, int64_t *out) {
    const char *start = at;
    int64_t value = 0;
    for (; at < end && is_digit(*at); at++) {
        if (at - start == WHOLE_DIGITS_MAX)
            return NULL;
        value = 10 * value + (*at - '0');
    }
    if (at == start || (*start == '0' && at - start > 1))
        return NULL;
    *out = value;
    return at;
}

/* Read a name: a text of printable ASCII that needs no escape, or a whole number's digits. */
static inline const char *read_name(const char *at, const char *end, Span *out) {
    int64_t ignored;
    if (at == end || out->at)
        return NULL;
    if (*at != '"') {
        out->at = at;
        at = read_whole(at, end, &ignored);
        out->size = at ? at - out->at : 0;
        return at;
    }
    out->at = ++at;
    while (at < end && *at >= ' ' && *at <= '~' && *at != '"' && *at != '\\')
        at++;
    out->size = at - out->at;
    return at < end && *at == '"' && out->size <= NAME_CHARACTERS_MAX ? at + 1 : NULL;
}

static inline const char *read_once(const char *at, const char *end, double *out, int *has) {
    return (*has)++ ? NULL : read_double(at, end, out);
}

#define IS(text) (size == sizeof(text) - 1 && !memcmp(key, text, sizeof(text) - 1))

static inline const char *
read_value(const char *key, Py_ssize_t size, const char *at, const char *end, Usual *out) {
    if (IS("y_pred"))
        return read_once(at, end, &out->y_pred, &out->has_pred);
    if (IS("y_true"))
        return read_once(at, end, &out->y_true, &out->has_true);
    if (IS("id"))
        return read_name(at, end, &out->id);
    if (IS("n"))
        return out->n >= 0 ? NULL : read_whole(at, end, &out->n);
    if (IS("segment"))
        return read_name(at, end, &out->names[USUAL_SEGMENT]);
    if (IS("ts"))
        return read_once(at, end, &out->ts, &out->has_ts);
    if (IS("model"))
        return read_name(at, end, &out->names[USUAL_MODEL]);
    if (IS("version"))
        return read_name(at, end, &out->names[USUAL_VERSION]);
    if (IS("output"))
        return read_name(at, end, &out->names[USUAL_OUTPUT]);
    if (IS("weight"))
        return read_once(at, end, &out->weight, &out->has_weight);
    return NULL;
}

/* Return what the line [at, end) is, 0 if that is not for us to say. */
static inline int read_usual(const char *at, const char *end, Usual *out) {
    memset(out, 0, sizeof *out);
    out->n = -1;
    out->weight = 1.0;
    at = past_space(at, end);
    if (at == end || *at++ != '{')
        return 0;
    for (;;) {
        Span key = {NULL, 0};
        at = past_space(at, end);
        if (at == end || *at != '"' || !(at = read_name(at, end, &key)))
            return 0;
        at = past_space(at, end);
        if (at == end || *at++ != ':')
            return 0;
        at = read_value(key.at, key.size, past_space(at, end), end, out);
        if (!at)
            return 0;
        at = past_space(at, end);
        if (at == end)
            return 0;
        if (*at == '}')
            break;
        if (*at++ != ',')
            return 0;
    }
    if (past_space(at + 1, end) != end)
        return 0;
    if (!(out->weight > 0.0) || (out->names[USUAL_MODEL].at && !out->names[USUAL_MODEL].size))
        return 0;
    if (out->has_ts && !(out->ts >= FIRST_SECONDS && out->ts < END_SECONDS))
        return 0;
    if (out->has_true && out->has_pred)
        return USUAL_SAMPLE;
    if (!out->id.at)
        return 0;
    if (out->has_pred)
        return USUAL_PREDICTION;
    return out->has_true && !out->has_weight ? USUAL_LABEL : 0;
}

#undef IS

#endif
