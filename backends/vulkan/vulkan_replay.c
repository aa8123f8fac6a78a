/*
 * Replays. No submit may run so long that the system's watchdog takes the device for dead, so the first replays submit
 * every part by itself; the last of them is measured, and later ones submit together what fits into
 * backend.vulkan_submit_ms. See vulkan_recording.h.
 */
#include "vulkan_recording.h"

#define WARM 2u /* some drivers compile a pipeline when it first runs */

static double seconds(const vulkan_device *d, uint64_t from, uint64_t to) {
    const uint32_t bits = d->physical.timestamp_bits;
    const uint64_t mask = bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    return (double)((to - from) & mask) * (double)d->physical.limits.timestampPeriod * 1e-9;
}

static int32_t read_stamps(const vulkan_recording *r, uint64_t query, uint64_t out[2]) {
    return r->d->vk.GetQueryPoolResults(r->d->handle, r->queries, (uint32_t)query, 2, 2 * sizeof *out, out, sizeof *out,
                                        VK_QUERY_RESULT_64_BIT) == VK_SUCCESS;
}

/* Puts neighbouring parts into one submit as long as together they take no longer than the recipe allows. */
static void group_parts(vulkan_recording *r) {
    double ms = 0;
    uint32_t n = 0;
    uint64_t t[2];
    for (uint32_t i = 0; i < r->n_parts; i++) {
        vulkan_part *p = &r->parts[i];
        if (!read_stamps(r, 2 * (uint64_t)i, t)) return;
        p->ms = 1e3 * seconds(r->d, t[0], t[1]);
        p->submit = i == 0 || n == VULKAN_COMMANDS_AT_ONCE || ms + p->ms > (double)r->d->keys.submit_ms;
        ms = p->submit ? p->ms : ms + p->ms;
        n = p->submit ? 1 : n + 1;
    }
    r->measured = 1;
}

/* From when to when each launch ran, by the device's clock. */
static void tell_times(const vulkan_recording *r) {
    uint64_t t[2];
    for (uint64_t i = 0; i < r->n; i++) {
        const uint64_t launch = r->order[i].launch;
        if (i && r->order[i - 1].launch == launch) continue;
        if (!read_stamps(r, 2 * (r->n_parts + launch), t)) continue;
        const double begin = seconds(r->d, 0, t[0]);
        r->profiler->spent(r->profiler, r->id, r->launches[launch]->index, begin, begin + seconds(r->d, t[0], t[1]));
    }
}

static const char *first_name(const vulkan_recording *r, uint32_t part) {
    return r->launches[r->order[r->parts[part].first].launch]->name;
}
static const char *last_name(const vulkan_recording *r, uint32_t part) {
    return r->launches[r->order[r->parts[part].first + r->parts[part].n - 1].launch]->name;
}

static int32_t submit_parts(vulkan_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err) {
    for (uint32_t i = 0, n; i < r->n_parts; i += n) {
        for (n = 1; i + n < r->n_parts && !r->parts[i + n].submit;) n++;
        const vulkan_submit s = {.commands = r->buffers + i,
                                 .n = n,
                                 .after = i == 0 ? after : 0,
                                 .first = first_name(r, i),
                                 .last = last_name(r, i + n - 1)};
        CVR_TRY(vulkan_lane_submit(r->d, VULKAN_MAIN, &s, ticket, err));
    }
    return CVR_OK;
}

int32_t vulkan_replay(vulkan_device *d, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    vulkan_recording *r = (vulkan_recording *)recording;
    *ticket = d->lanes[VULKAN_MAIN].issued * VULKAN_LANES + VULKAN_MAIN;
    CVR_TRY(vulkan_alive(d, err));
    if (!r->measured && r->queries && r->replays >= WARM && vulkan_is_done(d, r->last)) group_parts(r);
    if (!r->n_parts) return vulkan_wait(d, after, err);
    CVR_TRY(submit_parts(r, after, ticket, err));
    r->last = *ticket;
    r->replays += r->replays < WARM;
    if (!r->profiler || !r->profiler->enabled(r->profiler)) return vulkan_instance_complaints(&d->instance, err);
    CVR_TRY(vulkan_wait(d, *ticket, err));
    tell_times(r);
    return CVR_OK;
}
