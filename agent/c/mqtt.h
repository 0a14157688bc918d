/* As much of MQTT 3.1.1 as a device needs, over POSIX sockets: connect with a last will, subscribe,
   publish with QoS 1, receive. No TLS: take your platform's client where packets cross a network
   that is not yours. Whatever a PUBACK says is not believed: the collector's ack is what counts. */
#ifndef MQTT_H
#define MQTT_H

#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MQTT_PACKET_MAX = 66000, MQTT_KEEP_ALIVE_SECONDS = 30, MQTT_WAIT_SECONDS = 5 };

typedef struct {
    int fd;        /* -1: no connection */
    unsigned id;   /* of the last packet that wants an answer */
    size_t got;
    unsigned char in[MQTT_PACKET_MAX], out[MQTT_PACKET_MAX];
} mqtt;

typedef void mqtt_handler(const char *topic, size_t length, const unsigned char *data, size_t size);

static void mqtt_close(mqtt *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
    m->got = 0;
}

static size_t mqtt_text(unsigned char *to, const char *text)
{
    const size_t n = strlen(text);
    to[0] = (unsigned char)(n >> 8);
    to[1] = (unsigned char)(n & 0xff);
    memcpy(to + 2, text, n);
    return n + 2;
}

/* Sends a packet whose body lies at out + 5; 0 if the connection is lost. */
static int mqtt_send(mqtt *m, unsigned type, size_t body)
{
    unsigned char *start = m->out + 5, length[4];
    size_t left = body, digits = 0, sent = 0, size;
    do {
        length[digits] = (unsigned char)(left & 0x7f);
        left >>= 7;
        length[digits++] |= left ? 0x80 : 0;
    } while (left);
    start -= digits;
    memcpy(start, length, digits);
    *--start = (unsigned char)type;
    for (size = digits + 1 + body; m->fd >= 0 && sent < size;) {
        const ssize_t n = send(m->fd, start + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            mqtt_close(m);
        else
            sent += (size_t)n;
    }
    return m->fd >= 0;
}

static size_t mqtt_next_id(mqtt *m, size_t at)
{
    m->id = m->id % 65535 + 1;
    m->out[5 + at] = (unsigned char)(m->id >> 8);
    m->out[6 + at] = (unsigned char)(m->id & 0xff);
    return at + 2;
}

static int mqtt_publish(mqtt *m, const char *topic, const void *data, size_t size, int retain)
{
    size_t n = strlen(topic);
    if (m->fd < 0 || 5 + n + 4 + size > sizeof m->out)
        return 0;
    n = mqtt_next_id(m, mqtt_text(m->out + 5, topic));
    memcpy(m->out + 5 + n, data, size);
    return mqtt_send(m, 0x32u | (retain != 0), n + size);
}

static int mqtt_subscribe(mqtt *m, const char *filter)
{
    size_t n = mqtt_next_id(m, 0);
    n += mqtt_text(m->out + 5 + n, filter);
    m->out[5 + n] = 1; /* QoS */
    return mqtt_send(m, 0x82, n + 1);
}

static int mqtt_ping(mqtt *m) { return mqtt_send(m, 0xc0, 0); }

/* Hands a packet's message over, and says that it came; 0 if it is malformed. */
static int mqtt_take(mqtt *m, const unsigned char *body, size_t size, mqtt_handler *handle)
{
    const unsigned qos = m->in[0] >> 1 & 3;
    const size_t n = size < 2 ? 0 : (size_t)body[0] << 8 | body[1], at = 2 + n + (qos ? 2 : 0);
    if (size < 2 || at > size || qos > 1)
        return 0;
    handle((const char *)body + 2, n, body + at, size - at);
    if (qos)
        memcpy(m->out + 5, body + at - 2, 2);
    return !qos || mqtt_send(m, 0x40, 2);
}

/* Reads what is there, and hands its messages over. Returns the type of the last packet, 0 if none
   is whole yet, -1 if the connection is lost. */
static int mqtt_read(mqtt *m, mqtt_handler *handle)
{
    int last = 0;
    const ssize_t n = m->fd < 0 ? -1 : recv(m->fd, m->in + m->got, sizeof m->in - m->got, 0);
    if (n <= 0)
        mqtt_close(m);
    else
        m->got += (size_t)n;
    while (m->fd >= 0 && m->got >= 2) {
        size_t size = 0, at = 1;
        int shift = 0;
        do {
            size |= (size_t)(m->in[at] & 0x7f) << shift;
            shift += 7;
        } while ((m->in[at++] & 0x80) && at < m->got && shift < 28);
        if (m->in[at - 1] & 0x80 && at < 5)
            break; /* its length is not whole yet */
        if (m->in[at - 1] & 0x80 || at + size > sizeof m->in) { /* too long for us */
            mqtt_close(m);
            break;
        }
        if (at + size > m->got)
            break;
        last = m->in[0];
        if (((last & 0xf0) == 0x30 && !mqtt_take(m, m->in + at, size, handle))
            || (last == 0x20 && (size != 2 || m->in[at + 1]))) /* or the broker refuses us */
            mqtt_close(m);
        m->got -= m->fd < 0 ? m->got : at + size;
        memmove(m->in, m->in + at + size, m->got);
    }
    return m->fd < 0 ? -1 : last;
}

/* Connects, and waits for the broker's answer; 0 without one. The will is retained. */
static int mqtt_open(mqtt *m, const char *host, const char *port, const char *client,
                     const char *user, const char *password, const char *topic, const char *will,
                     mqtt_handler *handle)
{
    static const unsigned char head[] = {0, 4, 'M', 'Q', 'T', 'T', 4};
    struct addrinfo hints = {0}, *found;
    const struct timeval wait = {MQTT_WAIT_SECONDS, 0};
    size_t n = sizeof head;
    mqtt_close(m);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &found))
        return 0;
    m->fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    setsockopt(m->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    setsockopt(m->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (m->fd >= 0 && connect(m->fd, found->ai_addr, found->ai_addrlen))
        mqtt_close(m);
    freeaddrinfo(found);
    if (m->fd < 0)
        return 0;
    memcpy(m->out + 5, head, sizeof head);
    m->out[5 + n++] = (unsigned char)(0x2e | (user ? 0x80 : 0) | (password ? 0x40 : 0));
    m->out[5 + n++] = 0;
    m->out[5 + n++] = MQTT_KEEP_ALIVE_SECONDS;
    n += mqtt_text(m->out + 5 + n, client);
    n += mqtt_text(m->out + 5 + n, topic);
    n += mqtt_text(m->out + 5 + n, will);
    n += user ? mqtt_text(m->out + 5 + n, user) : 0;
    n += password ? mqtt_text(m->out + 5 + n, password) : 0;
    if (!mqtt_send(m, 0x10, n) || mqtt_read(m, handle) != 0x20)
        mqtt_close(m);
    return m->fd >= 0;
}

#endif
