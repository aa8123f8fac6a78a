/* See emu_fence.h. */
#include "emu_fence.h"
#include "../host/host_grow.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define SHUT(address_, bytes_) ASAN_POISON_MEMORY_REGION(address_, bytes_)
#define OPEN(address_, bytes_) ASAN_UNPOISON_MEMORY_REGION(address_, bytes_)
#else
#define SHUT(address_, bytes_) ((void)(address_), (void)(bytes_))
#define OPEN(address_, bytes_) ((void)(address_), (void)(bytes_))
#endif

int32_t emu_fence_add(emu_fence *f, void *address, uint64_t bytes, cvr_error *err) {
    emu_block *blocks = (emu_block *)host_grow(f->host, f->blocks, f->n, &f->capacity, sizeof *blocks);
    if (!blocks) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    f->blocks = blocks;
    f->blocks[f->n++] = (emu_block){address, bytes};
    return CVR_OK;
}

void emu_fence_remove(emu_fence *f, const void *address) {
    for (uint64_t i = 0; i < f->n; i++) {
        if (f->blocks[i].address != address) continue;
        f->blocks[i] = f->blocks[--f->n];
        return;
    }
}

void emu_fence_clear(emu_fence *f) {
    f->host->free(f->host, f->blocks);
    *f = (emu_fence){.host = f->host};
}

void emu_fence_shut(const emu_fence *f, const cvr_launch *l) {
    for (uint64_t i = 0; i < f->n; i++) SHUT(f->blocks[i].address, f->blocks[i].bytes);
    for (uint32_t i = 0; i < l->n_touches; i++) OPEN(l->touches[i]->address, l->touches[i]->bytes);
}

void emu_fence_open(const emu_fence *f) {
    for (uint64_t i = 0; i < f->n; i++) OPEN(f->blocks[i].address, f->blocks[i].bytes);
}
