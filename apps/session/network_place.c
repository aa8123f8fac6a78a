/* Where a network is: a backend, and one of its devices. */
#include "network.h"

void network_go(run_network *n, const cvr_place *to) {
    memcpy(n->backend, to->backend, sizeof n->backend);
    memcpy(n->chosen, to->device, sizeof n->chosen);
}

const char *network_device(const run_network *n) {
    if (*n->chosen) return n->chosen;
    return strcmp(n->backend, n->home) == 0 ? n->settings->backend->device : NULL;
}

/* The number of a device of the network's backend; -1: there is none. */
static int64_t number_of(const run_network *n, const char *device) {
    const void *desc;
    int64_t number;
    if (cvr_plugins_find(n->plugins, CVR_KIND_BACKEND, n->backend, &desc, NULL) != CVR_OK) return -1;
    return cvr_backend_find_device(n->plugins, desc, device, &number, NULL) == CVR_OK ? number : -1;
}

bool network_is_at(const run_network *n, const cvr_place *place) {
    if (strcmp(n->backend, place->backend) != 0) return false;
    return !*place->device || number_of(n, place->device) == number_of(n, network_device(n));
}

const char *network_where(const run_network *n, char buf[NETWORK_WHERE]) {
    (void)snprintf(buf, NETWORK_WHERE, "%s/%lld (%.150s)", n->backend, (long long)number_of(n, network_device(n)),
                   cvr_device_info_of(n->device)->name);
    return buf;
}
