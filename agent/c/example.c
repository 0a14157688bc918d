/* A device without Python: counts the samples that it reads, publishes their cells by MQTT, and
   loses none when it is killed or its power is cut. docs/c.md tells how to run it.

       example HOST PORT DEVICE FILE [DURABLE_SECONDS [RESEND_SECONDS]] */
#define _DEFAULT_SOURCE
#include "edgemse.h"
#include "mqtt.h"
#include "keep.h"

#include <stdlib.h>
#include <time.h>

enum { WINDOW_SECONDS = 60, RESEND_SECONDS_MAX = 300, CONNECT_SECONDS = 1, POLL_MS = 50 };

static struct { /* all that must survive */
    edgemse_box box;
    uint32_t lines; /* of the input, that are counted in it */
} memory;
static const edgemse_series series[] = {{"pump", "2", "", "", ""}};
static edgemse_collectors collectors;
static mqtt broker;
static const char *path, *device;
static char topic_report[800], topic_ack[800], topic_presence[800], run[17];
static uint32_t lines_bad;
static double resend_at, wait_seconds, wait_first = 5; /* monotonic time; waits for an ack */

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "example: %s: %s\n", what, why);
    exit(1);
}

/* Takes up the box of the last run, with its producer; without one, draws a new producer. */
static void begin(void)
{
    unsigned char random[24];
    const int fd = open("/dev/urandom", O_RDONLY);
    int i, loaded;
    if (fd < 0 || read(fd, random, sizeof random) != (ssize_t)sizeof random)
        stop("/dev/urandom", "gives no random bytes");
    close(fd);
    for (i = 0; i < 8; i++)
        snprintf(run + 2 * i, 3, "%02x", random[16 + i]);
    srand(random[16]);
    if (!keep_lock(path))
        stop(path, "another process has it, or it cannot be made");
    loaded = keep_load(path, &memory, sizeof memory);
    if (loaded < 0)
        stop(path, "is no box of this program; move it away to begin anew");
    if (!loaded)
        edgemse_begin(&memory.box, random);
    printf("next %u\n", memory.lines);
    fflush(stdout);
}

static void save(void)
{
    if (!keep_save(path, &memory, sizeof memory))
        stop(path, "cannot be written; what it lacks is not sent");
    printf("durable %u\n", memory.lines);
    fflush(stdout); /* whoever feeds us may forget so many lines */
}

static void received(const char *topic, size_t length, const unsigned char *data, size_t size)
{
    size_t level = length;
    if (length == strlen(topic_ack) && memcmp(topic, topic_ack, length) == 0) {
        if (edgemse_read_ack(&memory.box, data, size))
            resend_at = wait_seconds = 0; /* somebody answers: the next report may go */
        return;
    }
    while (level && topic[level - 1] != '/')
        level--;
    edgemse_heard(&collectors, (const unsigned char *)topic + level, length - level, data, size);
}

static void connect_broker(const char *host, const char *port)
{
    static const char presence[] = "{\"online\":%s,\"software\":\"edgemse-c\",\"run\":\"%s\"}";
    char said[200], client[64];
    snprintf(client, sizeof client, "edgemse-c-%s", run);
    snprintf(said, sizeof said, presence, "false", run);
    edgemse_deserted(&collectors); /* the next connection tells anew who listens */
    if (!mqtt_open(&broker, host, port, client, getenv("MQTT_USER"), getenv("MQTT_PASSWORD"),
                   topic_presence, said, received))
        return;
    snprintf(said, sizeof said, presence, "true", run);
    mqtt_publish(&broker, topic_presence, said, strlen(said), 1);
    mqtt_subscribe(&broker, topic_ack);
    mqtt_subscribe(&broker, "edgemse/v1/collector/+");
}

/* Makes a report if one may go, saves the box, and only then hands the report over. */
static void save_and_publish(double now, int may_send)
{
    static unsigned char data[EDGEMSE_REPORT_MAX];
    const edgemse_counter health[] = {{"lines", memory.lines}, {"lines_bad", lines_bad},
                                      {"messages_bad", memory.box.acks_bad}};
    edgemse_header head = {device, run, series, health, 3, 0, 0};
    size_t size = 0;
    head.time_ms = (uint64_t)(1000.0 * seconds(CLOCK_REALTIME));
    if (may_send) {
        size = edgemse_report(&memory.box, &head, data, sizeof data);
        wait_seconds = wait_seconds > 0 ? 2 * wait_seconds : wait_first;
        wait_seconds = wait_seconds < RESEND_SECONDS_MAX ? wait_seconds : RESEND_SECONDS_MAX;
        resend_at = now + wait_seconds * (0.75 + 0.5 * rand() / RAND_MAX);
    }
    save();
    if (size) /* what it returns is no news: an ack is, or none in time */
        mqtt_publish(&broker, topic_report, data, size, 0);
}

/* Counts a line; 0 where it has to wait, because no cell is free. */
static int count(const char *line)
{
    double y_true, y_pred, weight = 1.0;
    unsigned long at;
    if (sscanf(line, "%lu %lf %lf %lf", &at, &y_true, &y_pred, &weight) < 3) {
        fprintf(stderr, "example: wanted time y_true y_pred [weight], not: %s\n", line);
        lines_bad++;
    } else {
        edgemse_close(&memory.box, (uint32_t)at); /* these come in order; else: by the clock */
        if (edgemse_add(&memory.box, 0, (uint32_t)at, WINDOW_SECONDS, y_true, y_pred, weight)
            == EDGEMSE_FULL)
            return 0;
    }
    memory.lines++;
    return 1;
}

/* Counts the lines that are there; returns 0 at the end, -1 where one waits for a free cell. */
static int count_lines(int readable)
{
    static char text[4096];
    static size_t size;
    static int ended;
    char *end;
    if (readable) {
        const ssize_t n = read(0, text + size, sizeof text - 1 - size);
        ended = n <= 0;
        size += n > 0 ? (size_t)n : 0;
    }
    for (; (end = memchr(text, '\n', size)) != NULL; memmove(text, end + 1, size)) {
        *end = 0;
        if (!count(text)) {
            *end = '\n';
            return -1;
        }
        size -= (size_t)(end + 1 - text);
    }
    if (size == sizeof text - 1)
        stop("standard input", "a line of over 4,000 characters");
    return !ended;
}

int main(int argc, char **argv)
{
    double durable = argc > 5 ? atof(argv[5]) : 75, since = 0, connect_at = 0, ping_at = 0, now;
    int input = 1, may_send;
    if (argc < 5)
        stop("usage", "example HOST PORT DEVICE FILE [DURABLE_SECONDS [RESEND_SECONDS]]");
    if (!edgemse_sound())
        stop("doubles", "other flags or another library are needed: docs/c.md");
    device = argv[3], path = argv[4];
    wait_first = argc > 6 ? atof(argv[6]) : wait_first;
    broker.fd = -1;
    edgemse_topic(topic_report, sizeof topic_report, "edgemse/v1", device, "report");
    edgemse_topic(topic_ack, sizeof topic_ack, "edgemse/v1", device, "ack");
    edgemse_topic(topic_presence, sizeof topic_presence, "edgemse/v1", device, "presence");
    begin();
    while (input || edgemse_due(&memory.box, 0)) {
        struct pollfd from[2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
        const uint32_t lines = memory.lines;
        now = seconds(CLOCK_MONOTONIC);
        if (broker.fd < 0 && now >= connect_at) {
            connect_broker(argv[1], argv[2]);
            connect_at = now + CONNECT_SECONDS;
        }
        from[0].fd = input > 0 ? 0 : -1;
        from[1].fd = broker.fd;
        poll(from, 2, POLL_MS);
        if (from[1].revents)
            mqtt_read(&broker, received);
        input = input ? count_lines(from[0].revents != 0) : 0;
        if (lines != memory.lines && since <= 0)
            since = now;
        if (!input)
            edgemse_close(&memory.box, UINT32_MAX);
        may_send = broker.fd >= 0 && edgemse_online(&collectors) && now >= resend_at;
        if ((since > 0 && now - since >= durable) || (may_send && edgemse_due(&memory.box, 1))) {
            save_and_publish(now, may_send);
            since = 0;
        }
        if (broker.fd >= 0 && now >= ping_at) {
            mqtt_ping(&broker);
            ping_at = now + MQTT_KEEP_ALIVE_SECONDS / 2;
        }
    }
    save();
    return 0;
}
