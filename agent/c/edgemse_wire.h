/* Reports out, acks in: MessagePack (docs/wire.md). */
#ifndef EDGEMSE_WIRE_H
#define EDGEMSE_WIRE_H

#include "edgemse_cells.h"

#define EDGEMSE_REPORT_MAX 65536 /* bytes that a report may have */

typedef struct { /* names in UTF-8, at most 256 characters, "" where there is none; model not "" */
    const char *model, *version, *output, *segment, *measure;
} edgemse_series;

typedef struct {
    const char *name;
    uint32_t value;
} edgemse_counter;

typedef struct {
    const char *device, *run;         /* run: another random text each start, never the producer */
    const edgemse_series *series;     /* the table that cells' `series` is an index of */
    const edgemse_counter *health;    /* counters for people, or NULL */
    unsigned health_count;            /* at most 256 */
    uint64_t time_ms;                 /* wall clock, since 1970-01-01 UTC */
    int clock_synchronised;
} edgemse_header;

/* What begins a number, text, array... `small` | n in one byte up to `most`; else by how many bytes
   n takes: code - 1 (1), code (2), code + 1 (4). */
EDGEMSE_CALL void edgemse_put_head(edgemse_writer *w, unsigned small, unsigned most, unsigned code,
                                   uint32_t n)
{
    unsigned bits = 8;
    if (n <= most && small < 0x100) {
        edgemse_put_byte(w, small | n);
        return;
    }
    if (n > 0xff || code >= 0xdc) /* arrays and maps have no code for one byte */
        bits = 16, code++;
    if (n > 0xffff)
        bits = 32, code++;
    edgemse_put_byte(w, code - 1);
    while (bits)
        edgemse_put_byte(w, n >> (bits -= 8));
}

EDGEMSE_CALL void edgemse_put_number(edgemse_writer *w, uint32_t n)
{
    edgemse_put_head(w, 0, 0x7f, 0xcd, n);
}

EDGEMSE_FN void edgemse_put_long_number(edgemse_writer *w, uint64_t n)
{
    unsigned bits = 64;
    if (n <= UINT32_MAX) {
        edgemse_put_number(w, (uint32_t)n);
        return;
    }
    edgemse_put_byte(w, 0xcf);
    while (bits)
        edgemse_put_byte(w, (unsigned)(n >> (bits -= 8)));
}

EDGEMSE_CALL void edgemse_put_array(edgemse_writer *w, unsigned n)
{
    edgemse_put_head(w, 0x90, 15, 0xdc, n);
}

EDGEMSE_CALL void edgemse_put_map(edgemse_writer *w, unsigned n)
{
    edgemse_put_head(w, 0x80, 15, 0xde, n);
}

EDGEMSE_CALL void edgemse_put_characters(edgemse_writer *w, const char *text)
{
    while (*text)
        edgemse_put_byte(w, (unsigned char)*text++);
}

EDGEMSE_CALL void edgemse_put_text(edgemse_writer *w, const char *text)
{
    uint32_t n = 0;
    while (text[n])
        n++;
    edgemse_put_head(w, 0xa0, 31, 0xda, n);
    edgemse_put_characters(w, text);
}

EDGEMSE_FN void edgemse_put_binary_head(edgemse_writer *w, uint32_t n)
{
    edgemse_put_head(w, 0x100, 0, 0xc5, n);
}

/* Which row of the report's table the series of the i-th cell is: they stand in the order of their
   first use. `added` says whether this cell is that first use. */
EDGEMSE_FN unsigned edgemse_series_row(edgemse_cell *const *cells, unsigned i, int *added)
{
    unsigned j, k, rows = 0;
    for (j = 0; j <= i; j++) {
        for (k = 0; cells[k]->series != cells[j]->series;)
            k++;
        if (k == j && cells[j]->series == cells[i]->series)
            break;
        rows += k == j;
    }
    *added = j == i;
    return rows;
}

EDGEMSE_FN void edgemse_put_cell(edgemse_writer *w, const edgemse_cell *cell, unsigned row)
{
    edgemse_moments m;
    edgemse_writer size;
    edgemse_put_array(w, 10);
    edgemse_put_number(w, 0); /* the first producer */
    edgemse_put_number(w, cell->sequence);
    edgemse_put_number(w, cell->revision);
    edgemse_put_byte(w, cell->final ? 0xc3 : 0xc2);
    edgemse_put_number(w, row);
    edgemse_put_number(w, cell->start);
    edgemse_put_number(w, cell->width);
    edgemse_view(&cell->stats, &m);
    edgemse_writer_open(&size, NULL, 0);
    edgemse_put_state(&size, &cell->stats, &m);
    edgemse_put_binary_head(w, (uint32_t)size.size);
    edgemse_put_state(w, &cell->stats, &m);
    edgemse_put_byte(w, 0xc0); /* samples came whole: no coverage */
    edgemse_put_map(w, 0);
}

EDGEMSE_FN void edgemse_put_report(edgemse_writer *w, const edgemse_header *head,
                                   const unsigned char *producer,
                                   edgemse_cell *const *cells, unsigned count)
{
    unsigned i, rows = 0;
    int added;
    edgemse_put_array(w, 10);
    edgemse_put_number(w, 1); /* version of the protocol */
    edgemse_put_text(w, head->device);
    edgemse_put_long_number(w, head->time_ms);
    edgemse_put_byte(w, head->clock_synchronised ? 0xc3 : 0xc2);
    edgemse_put_array(w, count != 0);
    for (i = 0; count && i < 16; i++) {
        if (i == 0)
            edgemse_put_binary_head(w, 16);
        edgemse_put_byte(w, producer[i]);
    }
    for (i = 0; i < count; i++) {
        edgemse_series_row(cells, i, &added);
        rows += added != 0;
    }
    edgemse_put_array(w, rows);
    for (i = 0; i < count; i++) {
        const edgemse_series *s = &head->series[cells[i]->series];
        edgemse_series_row(cells, i, &added);
        if (!added)
            continue;
        edgemse_put_array(w, 5);
        edgemse_put_text(w, s->model);
        edgemse_put_text(w, s->version);
        edgemse_put_text(w, s->output);
        edgemse_put_text(w, s->segment);
        edgemse_put_text(w, s->measure);
    }
    edgemse_put_array(w, count);
    for (i = 0; i < count; i++)
        edgemse_put_cell(w, cells[i], edgemse_series_row(cells, i, &added));
    edgemse_put_map(w, head->health_count);
    for (i = 0; i < head->health_count; i++) {
        edgemse_put_text(w, head->health[i].name);
        edgemse_put_number(w, head->health[i].value);
    }
    edgemse_put_text(w, head->run);
    edgemse_put_map(w, 0);
}

/* Writes a report of the cells that are due, those first that were handed over before, as many as
   fit into `room` bytes (at most EDGEMSE_REPORT_MAX and what the broker takes); without cells if
   none is due, a sign of life. Returns its size, or 0 if not one cell fits, or not even the header.
   Its cells count as handed over from now on, whatever becomes of it. */
EDGEMSE_FN size_t edgemse_report(edgemse_box *box, const edgemse_header *head,
                                 unsigned char *data, size_t room)
{
    edgemse_cell *due[EDGEMSE_CELLS];
    unsigned count = 0, i;
    edgemse_writer w;
    int again;
    if (room > EDGEMSE_REPORT_MAX)
        room = EDGEMSE_REPORT_MAX;
    for (again = 1; again >= 0; again--)
        for (i = 0; i < EDGEMSE_CELLS; i++) {
            edgemse_cell *cell = &box->cells[i];
            if (edgemse_is_due(cell) && (cell->handed_over != 0) == again)
                due[count++] = cell;
        }
    for (i = count;; i--) {
        edgemse_writer_open(&w, data, room);
        edgemse_put_report(&w, head, box->producer, due, i);
        if (w.size <= room)
            break;
        if (i <= 1)
            return 0;
    }
    while (i--)
        due[i]->handed_over = due[i]->revision;
    return w.size;
}

#include "edgemse_acks.h"

#endif
