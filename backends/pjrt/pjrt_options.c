/*
 * How a program is to be compiled: for one device, which is named, since a plugin's default is the first of all. PJRT
 * wants this as a protobuf, CompileOptionsProto of OpenXLA, of which these fields are written (the numbers are theirs):
 *
 *   executable_build_options 3
 *     num_replicas 4, num_partitions 5: 1
 *     device_assignment 9
 *       replica_count 1, computation_count 2: 1
 *       computation_devices 3
 *         replica_device_ids 1: the device's id
 *
 * Every number is a varint, seven bits a byte with the lowest first; a message has its length in front.
 */
#include "pjrt_device.h"

static size_t put_varint(char *to, uint64_t v) {
    size_t n = 0;
    for (; v > 0x7f; v >>= 7) to[n++] = (char)(0x80 | (v & 0x7f));
    to[n++] = (char)v;
    return n;
}

/* A field that is a number. */
static size_t put_number(char *to, unsigned field, uint64_t v) {
    to[0] = (char)(field << 3);
    return 1 + put_varint(to + 1, v);
}

/* A field that is a message, of less than 128 bytes. */
static size_t put_message(char *to, unsigned field, const char *message, size_t n) {
    to[0] = (char)(field << 3 | 2);
    to[1] = (char)n;
    memcpy(to + 2, message, n);
    return 2 + n;
}

size_t pjrt_compile_options(const pjrt_device *d, char to[PJRT_OPTIONS]) {
    char devices[PJRT_OPTIONS], assignment[PJRT_OPTIONS], build[PJRT_OPTIONS];
    size_t n = put_number(build, 4, 1);
    n += put_number(build + n, 5, 1);
    if (d->id >= 0) {
        const size_t n_devices = put_number(devices, 1, (uint64_t)d->id);
        size_t m = put_number(assignment, 1, 1);
        m += put_number(assignment + m, 2, 1);
        m += put_message(assignment + m, 3, devices, n_devices);
        n += put_message(build + n, 9, assignment, m);
    }
    return put_message(to, 3, build, n);
}
