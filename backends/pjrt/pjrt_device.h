/*
 * The backend from within. pjrt_client.c opens a device; pjrt_memory.c knows what lies at which address; pjrt_trace.c
 * makes a program of a list of launches; pjrt_program.c compiles it as pjrt_options.c says; pjrt_record.c runs it.
 */
#ifndef PJRT_DEVICE_H
#define PJRT_DEVICE_H

#include "../host/host_grow.h"
#include "pjrt_plugin.h"

/* Settings of [backend], as packed. */
typedef struct pjrt_keys {
    const char *plugin;
    int64_t device;
    int64_t cache; /* 0 or 1 */
    const char *dump;
} pjrt_keys;

/*
 * Numbers that some addresses hold: bytes of the host that have not been given a type yet, or a buffer of the device,
 * or both. Buffers never change, so a copy is one more reference.
 */
typedef struct pjrt_value {
    uint64_t refs, bytes;
    uint8_t *host; /* NULL: only the device has them */
    PJRT_Buffer *buffer;
    uint32_t dtype; /* of the buffer */
    uint32_t reserved;
} pjrt_value;

/* Bytes `offset` and following of a value lie at an address. */
typedef struct pjrt_piece {
    uint64_t address, bytes, offset;
    pjrt_value *value;
} pjrt_piece;

/* Addresses that alloc() has reserved: nothing can be read there. */
typedef struct pjrt_block {
    void *address;
    uint64_t bytes, mapped;
} pjrt_block;

typedef struct pjrt_pending {
    uint64_t ticket;
    PJRT_Event *event;
} pjrt_pending;

#define PJRT_PENDING 8u
#define PJRT_KEPT 64u /* programs that no recording uses, and that are kept for the next one like them */

/* A compiled program, shared by recordings of the same text. */
typedef struct pjrt_program {
    uint64_t hash[2];
    uint64_t refs, used; /* used: when, by the device's count */
    PJRT_LoadedExecutable *executable;
} pjrt_program;

typedef struct pjrt_device {
    const cvr_host *host;
    pjrt_plugin plugin;
    PJRT_Client *client;
    PJRT_Device *device;
    int64_t id; /* the plugin's own number of it; -1: it does not tell */
    cvr_device_info info;
    char name[128], driver[512], features[160];
    uint64_t page;
    int32_t is_cpu, caches;
    int32_t told_unkept; /* it was said that the cache folder does not take programs */
    char dump[1024];     /* a folder for the text of every program, or "" */
    pjrt_block *blocks;
    uint64_t n_blocks, blocks_capacity;
    pjrt_piece *pieces; /* by address; none overlaps another */
    uint64_t n_pieces, pieces_capacity;
    pjrt_program **programs;
    uint64_t n_programs, programs_capacity, count;
    pjrt_pending pending[PJRT_PENDING];
    uint32_t n_pending;
    uint64_t issued;  /* the last ticket */
    cvr_error failed; /* code 0: nothing has failed yet */
} pjrt_device;

/* ---- pjrt_client.c ---- */
int32_t pjrt_open(const cvr_host *host, const pjrt_keys *keys, pjrt_device **out, cvr_error *err);
/* With a plugin that has been loaded; keys->plugin is not looked at. */
int32_t pjrt_open_on(const cvr_host *host, const pjrt_keys *keys, const pjrt_plugin *plugin, pjrt_device **out,
                     cvr_error *err);
void pjrt_close(pjrt_device *d);
int32_t pjrt_memory_left(pjrt_device *d, uint64_t *used, uint64_t *available, cvr_error *err);
/* Waits for an event and frees it; NULL is done already. */
int32_t pjrt_await(const pjrt_device *d, PJRT_Event *event, const char *what, cvr_error *err);

/* ---- pjrt_memory.c ---- */
int32_t pjrt_alloc(pjrt_device *d, uint64_t bytes, void **address, cvr_error *err);
void pjrt_free(pjrt_device *d, void *address);
void pjrt_memory_close(pjrt_device *d);
int32_t pjrt_upload(pjrt_device *d, const cvr_transfer *t, cvr_error *err);
int32_t pjrt_download(pjrt_device *d, const cvr_transfer *t, cvr_error *err);
int32_t pjrt_copy(pjrt_device *d, const cvr_transfer *t, cvr_error *err);
/* The value of exactly these bytes as a buffer of this type, made where there is none. It belongs to the addresses. */
int32_t pjrt_fetch(pjrt_device *d, uint64_t address, uint64_t bytes, uint32_t dtype, pjrt_value **out, cvr_error *err);
/* Nothing is known of these bytes any more. */
int32_t pjrt_drop(pjrt_device *d, uint64_t address, uint64_t bytes, cvr_error *err);
/* These bytes are what a buffer holds, which is taken over. */
int32_t pjrt_put(pjrt_device *d, uint64_t address, uint64_t bytes, uint32_t dtype, PJRT_Buffer *buffer, cvr_error *err);
PJRT_Buffer_Type pjrt_type(uint32_t dtype);

/* ---- pjrt_trace.c ---- */

/* What a program reads from, or leaves at, an address: `count` elements. */
typedef struct pjrt_slot {
    uint64_t address, bytes;
    uint32_t dtype;
    uint32_t alias; /* of an input: 1 + the output that takes its buffer over; 0: none */
} pjrt_slot;

typedef struct pjrt_text {
    const cvr_host *host;
    char *s;
    uint64_t n, capacity;
    int32_t failed; /* there was no memory */
} pjrt_text;

int32_t pjrt_text_write(pjrt_text *t, const char *s, uint64_t n);
void pjrt_text_print(pjrt_text *t, const char *format, ...) CVR_PRINTF(2, 3);

/* Which function of the text is whose, so that a failure can name a layer. */
typedef struct pjrt_part {
    uint64_t at, n; /* in `functions` */
    const char *name;
} pjrt_part;

typedef struct pjrt_trace {
    const cvr_host *host;
    pjrt_text main, functions, text; /* `text`: the whole module */
    pjrt_part *parts;
    uint64_t n_parts, parts_capacity;
    pjrt_slot *inputs, *outputs, *written;
    uint64_t n_inputs, inputs_capacity, n_outputs, outputs_capacity, n_written, written_capacity;
} pjrt_trace;

int32_t pjrt_trace_make(const pjrt_device *d, const cvr_record_request *r, pjrt_trace *t, cvr_error *err);
/* Keeps the slots alone. */
void pjrt_trace_drop_text(pjrt_trace *t);
void pjrt_trace_clear(pjrt_trace *t);

/* ---- pjrt_options.c ---- */
#define PJRT_OPTIONS 64u
/* How programs are compiled, as the plugin wants it; returns the number of bytes. */
size_t pjrt_compile_options(const pjrt_device *d, char to[PJRT_OPTIONS]);

/* ---- pjrt_program.c ---- */
/* All that an executable depends on but for the text, as one line. */
void pjrt_program_versions(const pjrt_device *d, char *line, size_t size);
int32_t pjrt_program_get(pjrt_device *d, const pjrt_trace *t, pjrt_program **out, cvr_error *err);
void pjrt_program_release(pjrt_device *d, pjrt_program *p);
void pjrt_programs_close(pjrt_device *d);

/* ---- pjrt_record.c ---- */
int32_t pjrt_record(pjrt_device *d, const cvr_record_request *r, void **recording, cvr_error *err);
int32_t pjrt_replay(pjrt_device *d, void *recording, uint64_t *ticket, cvr_error *err);
void pjrt_discard(pjrt_device *d, void *recording);
int32_t pjrt_wait(pjrt_device *d, uint64_t ticket, cvr_error *err);

#endif
