/*
 * Copies between host and device, in pieces through staging memory. Where the host sees the device's memory, and
 * nothing is under way that the copy would have to wait for, it is done on the spot. See vulkan_device.h.
 */
#include "vulkan_device.h"

#define PIECE (UINT64_C(4) << 20) /* bytes of staging memory for one transfer */

static int32_t find(const vulkan_device *d, const void *address, uint64_t bytes, const vulkan_block **block,
                    uint64_t *offset, cvr_error *err) {
    *block = vulkan_find(d, address, bytes);
    if (!*block)
        return cvr_fail(err, CVR_ERR_INVALID, "vulkan: a transfer of %llu bytes at %p, which are not in one block",
                        (unsigned long long)bytes, address);
    *offset = (uint64_t)(uintptr_t)address - (*block)->address;
    return CVR_OK;
}

static void finish(vulkan_device *d, vulkan_slot *s) {
    const vulkan_lane *l = &d->lanes[VULKAN_MAIN];
    if (!s->to || s->value > l->done) return;
    memcpy(s->to, l->staging.mapped + (uint64_t)(s - l->slots) * PIECE, s->bytes);
    s->to = NULL;
}

/* From the oldest on: two may be for the same place. */
void vulkan_downloads_finish(vulkan_device *d) {
    vulkan_lane *l = &d->lanes[VULKAN_MAIN];
    for (uint32_t i = 0; i < VULKAN_SLOTS; i++) finish(d, &l->slots[(l->next_slot + i) % VULKAN_SLOTS]);
}

/* The next slot of a lane, once what it was last used for is done. */
static int32_t take_slot(vulkan_device *d, uint32_t lane, vulkan_slot **out, cvr_error *err) {
    vulkan_lane *l = &d->lanes[lane];
    vulkan_slot *s = &l->slots[l->next_slot];
    const vulkan_use use = lane == VULKAN_UPLOADS ? VULKAN_USE_WRITTEN : VULKAN_USE_READ;
    if (!l->staging.buffer) CVR_TRY(vulkan_block_create(d, use, VULKAN_SLOTS * PIECE, &l->staging, err));
    if (!s->commands) CVR_TRY(vulkan_lane_commands(d, lane, 1, &s->commands, err));
    if (s->value) CVR_TRY(vulkan_wait(d, s->value * VULKAN_LANES + lane, err));
    l->next_slot = (l->next_slot + 1) % VULKAN_SLOTS;
    *out = s;
    return CVR_OK;
}

/* A copy from a place in one buffer to a place in another. */
typedef struct piece {
    VkBuffer to, from;
    uint64_t to_offset, from_offset, bytes;
} piece;

static int32_t submit_piece(vulkan_device *d, uint32_t lane, vulkan_slot *s, const piece *p, uint64_t after,
                            const char *what, uint64_t *ticket, cvr_error *err) {
    const VkBufferCopy copy = {.srcOffset = p->from_offset, .dstOffset = p->to_offset, .size = p->bytes};
    CVR_TRY(vulkan_commands_begin(d, s->commands, err));
    d->vk.CmdCopyBuffer(s->commands, p->from, p->to, 1, &copy);
    CVR_TRY(vulkan_commands_end(d, s->commands, err));
    const vulkan_submit submit = {.commands = &s->commands, .n = 1, .after = after, .first = what};
    CVR_TRY(vulkan_lane_submit(d, lane, &submit, ticket, err));
    s->value = *ticket / VULKAN_LANES;
    return CVR_OK;
}

/* Whether the host may do it now. */
static int32_t on_the_spot(vulkan_device *d, const vulkan_block *b, uint32_t lane, uint64_t after) {
    return b->mapped && vulkan_is_done(d, after) && vulkan_lane_is_idle(d, lane);
}

int32_t vulkan_upload(vulkan_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const vulkan_block *b;
    uint64_t offset = 0;
    CVR_TRY(vulkan_alive(d, err));
    CVR_TRY(find(d, t->to, t->bytes, &b, &offset, err));
    *ticket = 0;
    if (on_the_spot(d, b, VULKAN_UPLOADS, t->after)) {
        memcpy(b->mapped + offset, t->from, t->bytes);
        return CVR_OK;
    }
    for (uint64_t done = 0; done < t->bytes;) {
        vulkan_slot *s;
        const vulkan_lane *l = &d->lanes[VULKAN_UPLOADS];
        const uint64_t bytes = t->bytes - done < PIECE ? t->bytes - done : PIECE;
        CVR_TRY(take_slot(d, VULKAN_UPLOADS, &s, err));
        const uint64_t at = (uint64_t)(s - l->slots) * PIECE;
        const piece p = {b->buffer, l->staging.buffer, offset + done, at, bytes};
        memcpy(l->staging.mapped + at, (const uint8_t *)t->from + done, bytes);
        CVR_TRY(submit_piece(d, VULKAN_UPLOADS, s, &p, t->after, "an upload", ticket, err));
        done += bytes;
    }
    return CVR_OK;
}

int32_t vulkan_download(vulkan_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const vulkan_block *b;
    uint64_t offset = 0;
    CVR_TRY(vulkan_alive(d, err));
    CVR_TRY(find(d, t->from, t->bytes, &b, &offset, err));
    *ticket = 0;
    if (on_the_spot(d, b, VULKAN_MAIN, t->after)) {
        vulkan_downloads_finish(d);
        memcpy(t->to, b->mapped + offset, t->bytes);
        return CVR_OK;
    }
    for (uint64_t done = 0; done < t->bytes;) {
        vulkan_slot *s;
        const vulkan_lane *l = &d->lanes[VULKAN_MAIN];
        const uint64_t bytes = t->bytes - done < PIECE ? t->bytes - done : PIECE;
        CVR_TRY(take_slot(d, VULKAN_MAIN, &s, err));
        const piece p = {l->staging.buffer, b->buffer, (uint64_t)(s - l->slots) * PIECE, offset + done, bytes};
        CVR_TRY(submit_piece(d, VULKAN_MAIN, s, &p, t->after, "a download", ticket, err));
        s->to = (uint8_t *)t->to + done;
        s->bytes = bytes;
        done += bytes;
    }
    return CVR_OK;
}

int32_t vulkan_copy(vulkan_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const vulkan_block *from, *to;
    vulkan_slot *s;
    piece p = {.bytes = t->bytes};
    CVR_TRY(vulkan_alive(d, err));
    CVR_TRY(find(d, t->from, t->bytes, &from, &p.from_offset, err));
    CVR_TRY(find(d, t->to, t->bytes, &to, &p.to_offset, err));
    *ticket = 0;
    if (!t->bytes) return CVR_OK;
    p.from = from->buffer;
    p.to = to->buffer;
    CVR_TRY(take_slot(d, VULKAN_MAIN, &s, err));
    return submit_piece(d, VULKAN_MAIN, s, &p, t->after, "a copy", ticket, err);
}
