/* Cells: the statistics of one series in one window, their revisions, and what became of them.

   A box is all that a device must remember, in one struct without pointers. Two ways to keep it:
   in memory that survives (a file, FRAM, flash), saved after each edgemse_report and before its
   bytes are handed over; then the box goes on after a power cut, with its producer. Or nowhere:
   then each start draws a new producer, and what was not acked at a reset is lost, never doubled.
   Never take one saved box up in two places, nor an older one than the last that was saved. */
#ifndef EDGEMSE_CELLS_H
#define EDGEMSE_CELLS_H

#include "edgemse_state.h"

typedef struct {
    edgemse_stats stats;
    uint32_t sequence;
    uint32_t revision;    /* of what stats hold; 0: this place is free */
    uint32_t handed_over; /* the highest one that was; 0 for none */
    uint32_t acked;       /* the highest one that the collector has committed */
    uint32_t start;       /* of its window: seconds since 1970-01-01 UTC, a multiple of width */
    uint32_t width;       /* 10, 60, 300, 3600 or 86400 seconds */
    unsigned char series; /* index into the caller's table */
    unsigned char final;  /* it never grows again */
    char refused[10];     /* why the collector will not take it (docs/wire.md); empty if it may */
} edgemse_cell;

typedef struct {
    unsigned char producer[16]; /* 128 random bits: this memory's name */
    uint32_t sequence;          /* of the next cell */
    uint32_t acks, acks_bad, acks_ahead; /* taken; unreadable; of more than was handed over */
    uint32_t stores_changed;             /* times that another store than before acknowledged */
    uint32_t samples_turned_away;        /* EDGEMSE_FULL */
    uint32_t store;                      /* a digest of its id */
    edgemse_cell cells[EDGEMSE_CELLS];
} edgemse_box;

/* An empty box. The 16 bytes are random, from a generator that never gives them twice: of the chip,
   or of the system (getrandom). They are a secret of this device and the collector. */
EDGEMSE_FN void edgemse_begin(edgemse_box *box, const unsigned char *random)
{
    int i;
    edgemse_zero(box, sizeof *box);
    for (i = 0; i < 16; i++)
        box->producer[i] = random[i];
}

/* Whether it waits to be handed over, or for its ack. */
EDGEMSE_FN int edgemse_is_due(const edgemse_cell *cell)
{
    return cell->acked < cell->revision && !cell->refused[0];
}

/* How many cells are due; with `finals_only`, of those that never grow again. */
EDGEMSE_FN unsigned edgemse_due(const edgemse_box *box, int finals_only)
{
    unsigned due = 0;
    int i;
    for (i = 0; i < EDGEMSE_CELLS; i++)
        due += edgemse_is_due(&box->cells[i]) && (box->cells[i].final || !finals_only);
    return due;
}

/* A change of what was handed over is a new revision. */
EDGEMSE_FN void edgemse_revise(edgemse_cell *cell)
{
    cell->revision += cell->handed_over == cell->revision;
}

/* Opens a cell of the window that holds the time, or returns NULL. The more places finished cells
   take, the wider: hours from half of them on, days from three quarters. */
EDGEMSE_FN edgemse_cell *edgemse_open(edgemse_box *box, unsigned series, uint32_t time,
                                      uint32_t width)
{
    edgemse_cell *cell = NULL;
    int i, finished = 0;
    for (i = 0; i < EDGEMSE_CELLS; i++) {
        finished += box->cells[i].revision && box->cells[i].final;
        if (!box->cells[i].revision)
            cell = &box->cells[i];
    }
    if (!cell)
        return NULL;
    if (2 * finished >= EDGEMSE_CELLS && width < 3600)
        width = 3600;
    if (4 * finished >= 3 * EDGEMSE_CELLS)
        width = 86400;
    edgemse_zero(cell, sizeof *cell);
    edgemse_clear(&cell->stats);
    cell->sequence = box->sequence++;
    cell->revision = 1;
    cell->start = time - time % width;
    cell->width = width;
    cell->series = (unsigned char)series;
    return cell;
}

/* Counts a sample in the growing cell of its series (below 256) and window, opening one of `width`
   seconds where there is none. `time` is in seconds since 1970-01-01 UTC. */
EDGEMSE_FN enum edgemse_taken edgemse_add(edgemse_box *box, unsigned series, uint32_t time,
                                          uint32_t width, double y_true, double y_pred,
                                          double weight)
{
    enum edgemse_taken why = edgemse_judge(y_true, y_pred, weight);
    edgemse_cell *cell = box->cells, *end = cell + EDGEMSE_CELLS;
    if (why == EDGEMSE_WEIGHTLESS || why == EDGEMSE_NEGATIVE_WEIGHT)
        return why;
    while (cell < end && (!cell->revision || cell->final || cell->series != series
                          || time < cell->start || time - cell->start >= cell->width))
        cell++;
    if (cell == end)
        cell = edgemse_open(box, series, time, width);
    if (!cell) {
        box->samples_turned_away++;
        return EDGEMSE_FULL;
    }
    edgemse_revise(cell);
    why = edgemse_update(&cell->stats, y_true, y_pred, weight);
    box->samples_turned_away += why == EDGEMSE_FULL;
    return why;
}

/* Makes the cells final whose windows end at `now` or before; UINT32_MAX: all. A label that comes
   later opens another cell of the same window. */
EDGEMSE_FN void edgemse_close(edgemse_box *box, uint32_t now)
{
    int i;
    for (i = 0; i < EDGEMSE_CELLS; i++) {
        edgemse_cell *cell = &box->cells[i];
        const int over = now >= cell->start && now - cell->start >= cell->width;
        if (cell->revision && !cell->final && over) {
            edgemse_revise(cell);
            cell->final = 1;
        }
    }
}

/* Tries refused cells again, once what they were refused for is mended. */
EDGEMSE_FN void edgemse_release(edgemse_box *box)
{
    int i;
    for (i = 0; i < EDGEMSE_CELLS; i++)
        box->cells[i].refused[0] = 0;
}

/* Takes an ack of one cell, or its refusal with a code: done with it if no more is held than the
   store has, however the ack got here. */
EDGEMSE_FN void edgemse_answered(edgemse_box *box, uint32_t sequence, uint32_t revision,
                                 const char *code, size_t length)
{
    edgemse_cell *cell = box->cells, *end = cell + EDGEMSE_CELLS;
    uint32_t known;
    size_t i;
    while (cell < end && (!cell->revision || cell->sequence != sequence))
        cell++;
    if (cell == end)
        return;
    known = revision > cell->handed_over ? cell->handed_over : revision;
    box->acks_ahead += revision > known;
    if (code) {
        for (i = 0; known && i < length && i < sizeof cell->refused - 1; i++)
            cell->refused[i] = code[i];
        cell->refused[i] = 0;
        return;
    }
    if (known > cell->acked)
        cell->acked = known;
    if (cell->final && cell->acked >= cell->revision)
        cell->revision = 0;
}

#endif
