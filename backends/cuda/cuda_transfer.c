/*
 * Copies between host and device. Memory of the host that is page-locked (cuda_pin) is copied from and to directly,
 * other memory in pieces through staging memory, since the driver would stop the caller for it. See cuda_device.h.
 */
#include "cuda_device.h"

#define PIECE (UINT64_C(4) << 20) /* bytes of staging memory for one transfer */

static int32_t check_range(const cuda_device *d, const void *address, uint64_t bytes, cvr_error *err) {
    if (cuda_find(d, address, bytes)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "cuda: a transfer of %llu bytes at %p, which are not in one block",
                    (unsigned long long)bytes, address);
}

static CUdeviceptr pointer(const void *address) {
    return (CUdeviceptr)(uintptr_t)address;
}

static uint8_t *staged(const cuda_lane *l, const cuda_slot *s) {
    return l->staging + (uint64_t)(s - l->slots) * PIECE;
}

/* From the oldest on: two may be for the same place. */
void cuda_downloads_finish(cuda_device *d) {
    cuda_lane *l = &d->lanes[CUDA_MAIN];
    for (uint32_t i = 0; i < CUDA_SLOTS; i++) {
        cuda_slot *s = &l->slots[(l->next_slot + i) % CUDA_SLOTS];
        if (!s->to || s->value > l->done) continue;
        memcpy(s->to, staged(l, s), s->bytes);
        s->to = NULL;
    }
}

/* The next slot of a lane, once what it was last used for is done. */
static int32_t take_slot(cuda_device *d, uint32_t lane, cuda_slot **out, cvr_error *err) {
    cuda_lane *l = &d->lanes[lane];
    cuda_slot *s = &l->slots[l->next_slot];
    if (!l->staging) {
        void *staging = NULL;
        CVR_TRY(cuda_result(d, d->cu->MemHostAlloc(&staging, CUDA_SLOTS * PIECE, CU_MEMHOSTALLOC_PORTABLE),
                            "cuMemHostAlloc", err));
        l->staging = (uint8_t *)staging;
    }
    if (s->value) CVR_TRY(cuda_wait(d, s->value * CUDA_LANES + lane, err));
    l->next_slot = (l->next_slot + 1) % CUDA_SLOTS;
    *out = s;
    return CVR_OK;
}

static int32_t put_up(cuda_device *d, void *to, const void *from, uint64_t bytes, uint64_t after, uint64_t *ticket,
                      cvr_error *err) {
    const CUstream stream = d->lanes[CUDA_UPLOADS].stream;
    CVR_TRY(cuda_lane_begin(d, CUDA_UPLOADS, (cuda_note){.first = "an upload"}, after, err));
    CVR_TRY(cuda_result(d, d->cu->MemcpyHtoDAsync(pointer(to), from, bytes, stream), "cuMemcpyHtoDAsync", err));
    return cuda_lane_end(d, CUDA_UPLOADS, ticket, err);
}

static int32_t put_down(cuda_device *d, void *to, const void *from, uint64_t bytes, uint64_t after, uint64_t *ticket,
                        cvr_error *err) {
    const CUstream stream = d->lanes[CUDA_MAIN].stream;
    CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, (cuda_note){.first = "a download"}, after, err));
    CVR_TRY(cuda_result(d, d->cu->MemcpyDtoHAsync(to, pointer(from), bytes, stream), "cuMemcpyDtoHAsync", err));
    return cuda_lane_end(d, CUDA_MAIN, ticket, err);
}

static uint64_t piece_of(const cvr_transfer *t, uint64_t done) {
    return t->bytes - done < PIECE ? t->bytes - done : PIECE;
}

int32_t cuda_upload(cuda_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    *ticket = 0;
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(check_range(d, t->to, t->bytes, err));
    if (t->bytes && cuda_is_pinned(d, t->from, t->bytes))
        return put_up(d, t->to, t->from, t->bytes, t->after, ticket, err);
    for (uint64_t done = 0; done < t->bytes;) {
        cuda_slot *s;
        const uint64_t bytes = piece_of(t, done);
        CVR_TRY(take_slot(d, CUDA_UPLOADS, &s, err));
        uint8_t *piece = staged(&d->lanes[CUDA_UPLOADS], s);
        memcpy(piece, (const uint8_t *)t->from + done, bytes);
        CVR_TRY(put_up(d, (uint8_t *)t->to + done, piece, bytes, t->after, ticket, err));
        s->value = *ticket / CUDA_LANES;
        done += bytes;
    }
    return CVR_OK;
}

int32_t cuda_download(cuda_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    *ticket = 0;
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(check_range(d, t->from, t->bytes, err));
    if (t->bytes && cuda_is_pinned(d, t->to, t->bytes))
        return put_down(d, t->to, t->from, t->bytes, t->after, ticket, err);
    for (uint64_t done = 0; done < t->bytes;) {
        cuda_slot *s;
        const uint64_t bytes = piece_of(t, done);
        CVR_TRY(take_slot(d, CUDA_MAIN, &s, err));
        uint8_t *piece = staged(&d->lanes[CUDA_MAIN], s);
        CVR_TRY(put_down(d, piece, (const uint8_t *)t->from + done, bytes, t->after, ticket, err));
        *s = (cuda_slot){.value = *ticket / CUDA_LANES, .to = (uint8_t *)t->to + done, .bytes = bytes};
        done += bytes;
    }
    return CVR_OK;
}

int32_t cuda_copy(cuda_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const CUstream stream = d->lanes[CUDA_MAIN].stream;
    *ticket = 0;
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(check_range(d, t->from, t->bytes, err));
    CVR_TRY(check_range(d, t->to, t->bytes, err));
    if (!t->bytes) return CVR_OK;
    CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, (cuda_note){.first = "a copy"}, t->after, err));
    CVR_TRY(cuda_result(d, d->cu->MemcpyDtoDAsync(pointer(t->to), pointer(t->from), t->bytes, stream),
                        "cuMemcpyDtoDAsync", err));
    return cuda_lane_end(d, CUDA_MAIN, ticket, err);
}
