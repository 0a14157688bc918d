/* Drives a box by lines on standard input, one answer each (test_box.py). */
#include "edgemse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static edgemse_box box;
static edgemse_collectors collectors;
static const edgemse_series table[] = {{"pump", "2", "", "hall 3/north", ""},
                                       {"pump", "1", "", "", ""},
                                       {"m\xc3\xbcll", "", "out", "", "latency"}};
static const edgemse_counter health[] = {{"samples", 3}, {"big", 70000}, {"lines", 4000000000u}};

static size_t unhex(const char *hex, unsigned char *data)
{
    size_t n = 0;
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        data[n++] = (unsigned char)byte;
    return n;
}

static void report(const char *line)
{
    /* of its own size each time, so that the sanitizer sees a byte too many */
    edgemse_header head = {"device 7", "00ff", table, health, 0, 0, 0};
    unsigned long long time_ms;
    size_t room, size, i;
    unsigned char *data;
    if (sscanf(line, "%llu %d %u %zu", &time_ms, &head.clock_synchronised, &head.health_count,
               &room) != 4)
        exit(2);
    head.time_ms = time_ms;
    data = malloc(room ? room : 1);
    if (!data)
        exit(3);
    size = edgemse_report(&box, &head, data, room);
    for (i = 0; i < size; i++)
        printf("%02x", data[i]);
    printf("\n");
    free(data);
}

static void message(const char *kind, const char *first, const char *hex)
{
    unsigned char *data = malloc(strlen(hex) / 2 + 1), *exact;
    size_t size;
    if (!data)
        exit(3);
    size = unhex(hex, data);
    exact = realloc(data, size ? size : 1);
    if (!exact)
        exit(3);
    if (*kind == 'a') {
        printf("%d\n", edgemse_read_ack(&box, exact, size));
    } else {
        edgemse_heard(&collectors, (const unsigned char *)first, strlen(first), exact, size);
        printf("%d\n", edgemse_online(&collectors));
    }
    free(exact);
}

static void show(void)
{
    int i;
    printf("%u %u %u %u %u %u %u", box.acks, box.acks_bad, box.acks_ahead, box.stores_changed,
           box.samples_turned_away, edgemse_due(&box, 0), edgemse_due(&box, 1));
    for (i = 0; i < EDGEMSE_CELLS; i++) {
        const edgemse_cell *c = &box.cells[i];
        if (c->revision)
            printf(" %u,%u,%u,%u,%u,%u,%u,%u,%s", c->sequence, c->revision, c->handed_over,
                   c->acked, c->start, c->width, c->series, c->final, c->refused);
    }
    printf("\n");
}

int main(void)
{
    static char line[400000], hex[400000], name[600];
    unsigned char random[16];
    unsigned i, series, time, width;
    double y, p, w;
    for (i = 0; i < 16; i++)
        random[i] = (unsigned char)i;
    edgemse_begin(&box, random);
    edgemse_deserted(&collectors);
    while (fgets(line, sizeof line, stdin)) {
        hex[0] = 0;
        if (sscanf(line, "add %u %u %u %lf %lf %lf", &series, &time, &width, &y, &p, &w) == 6) {
            printf("%d\n", edgemse_add(&box, series, time, width, y, p, w));
        } else if (sscanf(line, "close %u", &time) == 1) {
            edgemse_close(&box, time);
            printf("\n");
        } else if (strncmp(line, "report ", 7) == 0) {
            report(line + 7);
        } else if (sscanf(line, "ack %399999s", hex) == 1 || strcmp(line, "ack \n") == 0) {
            message("ack", "", hex);
        } else if (sscanf(line, "heard %599s %399999s", name, hex) >= 1) {
            message("heard", name, hex);
        } else if (sscanf(line, "topic %u %599[^\n]", &time, name) == 2) {
            char *topic = malloc(time ? time : 1);
            if (!topic)
                return 3;
            printf("%s\n", edgemse_topic(topic, time, "edgemse/v1", name, "report") ? topic : "");
            free(topic);
        } else if (strcmp(line, "release\n") == 0) {
            edgemse_release(&box);
            printf("\n");
        } else if (strcmp(line, "show\n") == 0) {
            show();
        } else {
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}
