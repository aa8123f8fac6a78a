/*
 * The memory that batches are made in, page-locked for the device that the network is on: uploads then go from there
 * beside a step, without a copy in between.
 */
#include "network.h"

#define LEAST_PIN 65536u /* smaller fields are soon copied, and may share their page with others */

static bool pin(run_network *n, void *memory, uint64_t bytes) {
    void **more = cvr_grow(n->pins, n->n_pins, &n->pins_capacity, sizeof *more);
    if (!more) return false;
    n->pins = more;
    if (!cvr_device_pin(n->device, memory, bytes)) return false;
    n->pins[n->n_pins++] = memory;
    return true;
}

/* Where it cannot be page-locked it is copied, as on every device that has no use for that. */
void network_pin_batches(run_network *n) {
    void *memory;
    uint64_t bytes;
    for (int k = 0; k < 2 && n->data; k++) {
        const cvr_batches *b = n->data->splits[k].batches;
        for (size_t i = 0; b && cvr_batches_block(b, i, &memory, &bytes); i++)
            if (bytes >= LEAST_PIN && !pin(n, memory, bytes)) return;
    }
}

void network_unpin_batches(run_network *n) {
    while (n->n_pins) cvr_device_unpin(n->device, n->pins[--n->n_pins]);
    cvr_free(n->pins);
    n->pins = NULL;
    n->pins_capacity = 0;
}
