/* All that a device calls, so that its size can be told (test_size.py). */
#include "edgemse.h"

edgemse_box box;
edgemse_collectors collectors;

size_t start(const unsigned char *random, char *topic, size_t room, const char *device)
{
    edgemse_begin(&box, random);
    edgemse_deserted(&collectors);
    return edgemse_topic(topic, room, "edgemse/v1", device, "report");
}

enum edgemse_taken sample(uint32_t time, double y_true, double y_pred, double weight)
{
    return edgemse_add(&box, 0, time, 60, y_true, y_pred, weight);
}

size_t report(const edgemse_header *head, uint32_t now, unsigned char *data, size_t room)
{
    edgemse_close(&box, now);
    return edgemse_online(&collectors) && edgemse_due(&box, 1)
               ? edgemse_report(&box, head, data, room)
               : 0;
}

void message(const unsigned char *worker, size_t length, const unsigned char *data, size_t size)
{
    if (length)
        edgemse_heard(&collectors, worker, length, data, size);
    else if (!edgemse_read_ack(&box, data, size))
        edgemse_release(&box);
}
