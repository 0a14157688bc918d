/* A table of ids in packed memory: found by hash, kept in the order in which they came.
 *
 * A slot is in at most one of the two lists LIST_WAITING and LIST_MATCHED, and in the list of those
 * that changed since the ledger was written last. Numbers of slots stay valid until `slots_free`;
 * pointers only until the next `slots_new`.
 */
#ifndef EDGEMSE_SLOTS_H
#define EDGEMSE_SLOTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NO_SLOT UINT32_MAX
#define KEY_WITHIN 16 /* bytes of a key inside its slot; a longer one has memory of its own */
#define INDEX_FIRST 64

enum { LIST_WAITING, LIST_MATCHED, LIST_CHANGED, LISTS, LIST_NONE = LISTS };
/* OTHER: `names` is an Entry, or its bytes. */
enum { KIND_FREE, KIND_EMPTY, KIND_PENDING, KIND_MATCHED, KIND_OTHER };

typedef struct {
    union {
        char within[KEY_WITHIN];
        char *apart;
    } key;
    void *names, *where; /* of the prediction, of its label; both owned by who fills the slot */
    double born, time;   /* of the id on the agent's clock; of the prediction */
    double y, beside;    /* PENDING: y_pred and the weight; MATCHED: y_true and the label's time */
    uint32_t hash, before, after, changed_before, changed_after;
    uint16_t key_bytes;
    uint8_t kind : 4, list : 4, changed : 1, stored : 1, unwritable : 1;
} Slot;

typedef struct {
    uint32_t first, last, count;
} SlotList;

typedef struct {
    Slot *slots;
    uint32_t *index; /* slot + 1, 0 for none; a power of two of places, half of them used at most */
    uint64_t secret[2];
    uint32_t made, room, free, used, mask;
    SlotList lists[LISTS];
    char *gone; /* keys that the ledger has and is to forget: each its size in two bytes, and it */
    size_t gone_bytes, gone_room;
} Slots;

#define ROTATED(x, by) (((x) << (by)) | ((x) >> (64 - (by))))
#define SIP_ROUND                                                                                  \
    do {                                                                                           \
        v0 += v1; v1 = ROTATED(v1, 13); v1 ^= v0; v0 = ROTATED(v0, 32);                            \
        v2 += v3; v3 = ROTATED(v3, 16); v3 ^= v2;                                                  \
        v0 += v3; v3 = ROTATED(v3, 21); v3 ^= v0;                                                  \
        v2 += v1; v1 = ROTATED(v1, 17); v1 ^= v2; v2 = ROTATED(v2, 32);                            \
    } while (0)

/* SipHash-1-3 (Aumasson and Bernstein, 2012), as Python hashes text: nobody who chooses ids can
   choose where they fall. The bytes of a word are taken in the machine's order; it stays here. */
static inline uint32_t slots_hash(const Slots *t, const char *key, size_t size) {
    uint64_t v0 = t->secret[0] ^ 0x736f6d6570736575u, v1 = t->secret[1] ^ 0x646f72616e646f6du;
    uint64_t v2 = t->secret[0] ^ 0x6c7967656e657261u, v3 = t->secret[1] ^ 0x7465646279746573u;
    uint64_t word, last = (uint64_t)size << 56;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        memcpy(&word, key + at, 8);
        v3 ^= word;
        SIP_ROUND;
        v0 ^= word;
    }
    for (unsigned shift = 0; at < size; at++, shift += 8)
        last |= (uint64_t)(unsigned char)key[at] << shift;
    v3 ^= last;
    SIP_ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return (uint32_t)(v0 ^ v1 ^ v2 ^ v3);
}

static inline const char *slot_key(const Slot *s) {
    return s->key_bytes <= KEY_WITHIN ? s->key.within : s->key.apart;
}

static inline void slots_open(Slots *t, uint64_t first, uint64_t second) {
    memset(t, 0, sizeof *t);
    t->secret[0] = first, t->secret[1] = second;
    t->free = NO_SLOT;
    for (int i = 0; i < LISTS; i++)
        t->lists[i].first = t->lists[i].last = NO_SLOT;
}

static inline void slots_close(Slots *t) {
    for (uint32_t i = 0; i < t->made; i++)
        if (t->slots[i].kind != KIND_FREE && t->slots[i].key_bytes > KEY_WITHIN)
            free(t->slots[i].key.apart);
    free(t->slots);
    free(t->index);
    free(t->gone);
}

static inline uint32_t slots_find(const Slots *t, const char *key, size_t size, uint32_t hash) {
    if (!t->index)
        return NO_SLOT;
    for (uint32_t at = hash & t->mask; t->index[at]; at = (at + 1) & t->mask) {
        const Slot *s = &t->slots[t->index[at] - 1];
        if (s->hash == hash && s->key_bytes == size && !memcmp(slot_key(s), key, size))
            return t->index[at] - 1;
    }
    return NO_SLOT;
}

static inline void slots_enter(Slots *t, uint32_t slot) {
    uint32_t at = t->slots[slot].hash & t->mask;
    while (t->index[at])
        at = (at + 1) & t->mask;
    t->index[at] = slot + 1;
}

/* Take the slot out of the index, and move up what had to stand behind it. */
static inline void slots_leave(Slots *t, uint32_t slot) {
    uint32_t hole = t->slots[slot].hash & t->mask;
    while (t->index[hole] != slot + 1)
        hole = (hole + 1) & t->mask;
    for (uint32_t at = (hole + 1) & t->mask; t->index[at]; at = (at + 1) & t->mask) {
        uint32_t home = t->slots[t->index[at] - 1].hash & t->mask;
        if (((at - home) & t->mask) >= ((at - hole) & t->mask)) {
            t->index[hole] = t->index[at];
            hole = at;
        }
    }
    t->index[hole] = 0;
}

static inline int slots_widen_index(Slots *t) {
    uint32_t places = t->index ? 2 * (t->mask + 1) : INDEX_FIRST;
    uint32_t *index = calloc(places, sizeof *index);
    if (!index)
        return -1;
    free(t->index);
    t->index = index, t->mask = places - 1;
    for (uint32_t i = 0; i < t->made; i++)
        if (t->slots[i].kind != KIND_FREE)
            slots_enter(t, i);
    return 0;
}

/* Return a new slot of that key, EMPTY and in no list; NO_SLOT if there is no memory. */
static inline uint32_t slots_new(Slots *t, const char *key, size_t size, uint32_t hash) {
    char *apart = NULL;
    if ((!t->index || 2 * (t->used + 1) > t->mask + 1) && slots_widen_index(t))
        return NO_SLOT;
    if (t->free == NO_SLOT && t->made == t->room) {
        uint32_t room = t->room ? t->room + t->room / 4 : INDEX_FIRST;
        Slot *slots = realloc(t->slots, room * sizeof *slots);
        if (!slots)
            return NO_SLOT;
        t->slots = slots, t->room = room;
    }
    if (size > KEY_WITHIN && !(apart = malloc(size)))
        return NO_SLOT;
    uint32_t slot = t->free;
    if (slot == NO_SLOT)
        slot = t->made++;
    else
        t->free = t->slots[slot].after;
    Slot *s = &t->slots[slot];
    memset(s, 0, sizeof *s);
    if (apart)
        s->key.apart = apart;
    memcpy(apart ? apart : s->key.within, key, size);
    s->hash = hash, s->key_bytes = (uint16_t)size;
    s->kind = KIND_EMPTY, s->list = LIST_NONE;
    t->used++;
    slots_enter(t, slot);
    return slot;
}

static inline void slots_unlist(Slots *t, uint32_t slot) {
    Slot *s = &t->slots[slot];
    if (s->list == LIST_NONE)
        return;
    SlotList *l = &t->lists[s->list];
    *(s->before == NO_SLOT ? &l->first : &t->slots[s->before].after) = s->after;
    *(s->after == NO_SLOT ? &l->last : &t->slots[s->after].before) = s->before;
    l->count--;
    s->list = LIST_NONE;
}

/* Put the slot at the list's end; one that is in it keeps its place. */
static inline void slots_list(Slots *t, uint32_t slot, int list) {
    Slot *s = &t->slots[slot];
    if (s->list == list)
        return;
    slots_unlist(t, slot);
    SlotList *l = &t->lists[list];
    s->list = (uint8_t)(list & 15), s->before = l->last, s->after = NO_SLOT;
    *(l->last == NO_SLOT ? &l->first : &t->slots[l->last].after) = slot;
    l->last = slot;
    l->count++;
}

static inline void slots_change(Slots *t, uint32_t slot) {
    Slot *s = &t->slots[slot];
    SlotList *l = &t->lists[LIST_CHANGED];
    if (s->changed)
        return;
    s->changed = 1, s->changed_before = l->last, s->changed_after = NO_SLOT;
    *(l->last == NO_SLOT ? &l->first : &t->slots[l->last].changed_after) = slot;
    l->last = slot;
    l->count++;
}

static inline void slots_unchange(Slots *t, uint32_t slot) {
    Slot *s = &t->slots[slot];
    SlotList *l = &t->lists[LIST_CHANGED];
    if (!s->changed)
        return;
    *(s->changed_before == NO_SLOT ? &l->first : &t->slots[s->changed_before].changed_after) =
        s->changed_after;
    *(s->changed_after == NO_SLOT ? &l->last : &t->slots[s->changed_after].changed_before) =
        s->changed_before;
    l->count--;
    s->changed = 0;
}

static inline void slots_free(Slots *t, uint32_t slot) {
    Slot *s = &t->slots[slot];
    slots_unlist(t, slot);
    slots_unchange(t, slot);
    slots_leave(t, slot);
    if (s->key_bytes > KEY_WITHIN)
        free(s->key.apart);
    s->kind = KIND_FREE, s->after = t->free;
    t->free = slot;
    t->used--;
}

/* Note that the ledger is to forget the slot's key; -1 if there is no memory. */
static inline int slots_note_gone(Slots *t, uint32_t slot) {
    const Slot *s = &t->slots[slot];
    size_t needed = t->gone_bytes + sizeof s->key_bytes + s->key_bytes;
    if (needed > t->gone_room) {
        char *gone = realloc(t->gone, needed + needed / 2);
        if (!gone)
            return -1;
        t->gone = gone, t->gone_room = needed + needed / 2;
    }
    memcpy(t->gone + t->gone_bytes, &s->key_bytes, sizeof s->key_bytes);
    memcpy(t->gone + t->gone_bytes + sizeof s->key_bytes, slot_key(s), s->key_bytes);
    t->gone_bytes = needed;
    return 0;
}

static inline void slots_forget_gone(Slots *t) {
    free(t->gone);
    t->gone = NULL;
    t->gone_bytes = t->gone_room = 0;
}

typedef struct {
    double born;
    uint32_t place, slot;
} SlotAge;

static int slots_older(const void *left, const void *right) {
    const SlotAge *a = left, *b = right;
    if (a->born != b->born)
        return a->born < b->born ? -1 : 1;
    return a->place < b->place ? -1 : 1;
}

/* Put a list into the order of birth; those born together stay as they are. */
static inline int slots_sort(Slots *t, int list) {
    SlotList *l = &t->lists[list];
    uint32_t count = 0;
    if (!l->count)
        return 0;
    SlotAge *ages = malloc(l->count * sizeof *ages);
    if (!ages)
        return -1;
    for (uint32_t i = l->first; i != NO_SLOT; i = t->slots[i].after, count++)
        ages[count] = (SlotAge){t->slots[i].born, count, i};
    qsort(ages, count, sizeof *ages, slots_older);
    for (uint32_t i = 0; i < count; i++) {
        slots_unlist(t, ages[i].slot);
        slots_list(t, ages[i].slot, list);
    }
    free(ages);
    return 0;
}

#endif
