/* See emu_record.h. */
#include "emu_record.h"

typedef enum command_kind { COMMAND_DISPATCH, COMMAND_FILL, COMMAND_COPY } command_kind;

struct emu_command {
    emu_command *next;
    const char *name;
    const cvr_launch *launch;
    command_kind kind;
    uint32_t word;              /* of a fill */
    const cvr_emu_entry *entry; /* of a dispatch, as is n_groups */
    uint64_t n_groups;
    void *to; /* of fills and copies, as are from and bytes */
    const void *from;
    uint64_t bytes;
    uint32_t *constants; /* as many as the entry has, behind the parameters */
    uint64_t params[];   /* of a dispatch */
};

#define MOST_CONSTANTS 128u

void emu_list_init(emu_list *l, const cvr_host *host) {
    *l = (emu_list){.host = host, .name = ""};
}

void emu_list_clear(emu_list *l) {
    while (l->first) {
        emu_command *c = l->first;
        l->first = c->next;
        l->host->free(l->host, c);
    }
    l->last = NULL;
}

/* With `more` bytes behind it. */
static int32_t add(emu_list *l, command_kind kind, uint64_t more, emu_command **out, cvr_error *err) {
    emu_command *c = (emu_command *)l->host->alloc(l->host, sizeof *c + more, 16);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(c, 0, sizeof *c + more);
    c->kind = kind;
    c->name = l->name;
    c->launch = l->launch;
    *(l->last ? l->last : &l->first) = c;
    l->last = &c->next;
    *out = c;
    return CVR_OK;
}

static const cvr_emu_entry *find_entry(const cvr_code *code, const char *name) {
    const cvr_emu_entry *all = (const cvr_emu_entry *)code->bytes;
    for (uint64_t i = 0; i < code->n_bytes / sizeof *all && all[i].struct_size == sizeof *all; i++)
        if (all[i].name && all[i].run && strcmp(all[i].name, name) == 0) return &all[i];
    return NULL;
}

static int32_t check_dispatch(const cvr_dispatch *d, const cvr_emu_entry *e, cvr_error *err) {
    if (!e) return cvr_fail(err, CVR_ERR_PLUGIN, "the code has no entry %.60s", d->entry);
    if (d->params_size != e->params_size || d->params_size > CVR_PARAMS_MOST)
        return cvr_fail(err, CVR_ERR_PLUGIN, "kernel %s has %llu bytes of parameters, and is given %llu", d->entry,
                        (unsigned long long)e->params_size, (unsigned long long)d->params_size);
    if (d->n_constants > e->n_constants || e->n_constants > MOST_CONSTANTS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "kernel %s has %u constants, and is given %u", d->entry, e->n_constants,
                        d->n_constants);
    if (d->threads[0] != EMU_THREADS || d->threads[1] != 1 || d->threads[2] != 1)
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "kernel %s: groups of %u x %u x %u threads; kernels of the dialect have %u x "
                        "1 x 1",
                        d->entry, d->threads[0], d->threads[1], d->threads[2], EMU_THREADS);
    return CVR_OK;
}

static int32_t record_dispatch(const cvr_recorder *r, const cvr_dispatch *d, cvr_error *err) {
    const cvr_emu_entry *e = find_entry(d->code, d->entry);
    emu_command *c = NULL;
    CVR_TRY(check_dispatch(d, e, err));
    const uint64_t words = (d->params_size + 7) / 8;
    CVR_TRY(add((emu_list *)r->ctx, COMMAND_DISPATCH, words * 8 + e->n_constants * sizeof *c->constants, &c, err));
    c->entry = e;
    c->constants = (uint32_t *)(c->params + words);
    c->n_groups = (uint64_t)d->groups[0] * d->groups[1] * d->groups[2];
    memcpy(c->params, d->params, d->params_size);
    if (d->n_constants) memcpy(c->constants, d->constants, d->n_constants * sizeof *d->constants);
    return CVR_OK;
}

static int32_t record_fill(const cvr_recorder *r, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    emu_command *c = NULL;
    CVR_TRY(add((emu_list *)r->ctx, COMMAND_FILL, 0, &c, err));
    c->to = to;
    c->bytes = bytes;
    c->word = word;
    return CVR_OK;
}

static int32_t record_copy(const cvr_recorder *r, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    emu_command *c = NULL;
    CVR_TRY(add((emu_list *)r->ctx, COMMAND_COPY, 0, &c, err));
    c->to = to;
    c->from = from;
    c->bytes = bytes;
    return CVR_OK;
}

cvr_recorder emu_recorder(emu_list *l, const cvr_device_info *info) {
    return (cvr_recorder){.struct_size = sizeof(cvr_recorder),
                          .ctx = l,
                          .device = info,
                          .dispatch = record_dispatch,
                          .fill = record_fill,
                          .copy = record_copy};
}

const cvr_emu_entry *emu_list_entry(const emu_list *l, const char *name) {
    for (const emu_command *c = l->first; c; c = c->next)
        if (c->entry && strcmp(c->entry->name, name) == 0) return c->entry;
    return NULL;
}

static void run_fill(const emu_command *c) {
    uint32_t *to = (uint32_t *)c->to;
    for (uint64_t i = 0; i < c->bytes / 4; i++) to[i] = c->word;
}

static int32_t run_dispatch(const emu_command *c, emu_group *g, const emu_settings *s, cvr_error *err) {
    char text[sizeof err->message];
    const int32_t status = emu_group_run(g, s, c->entry, c->params, c->constants, c->n_groups, err);
    if (status == CVR_OK) return status;
    (void)snprintf(text, sizeof text, "%s: %.800s", c->name, err->message);
    memcpy(err->message, text, sizeof text);
    return status;
}

static int32_t run_command(const emu_command *c, emu_group *g, const emu_settings *s, cvr_error *err) {
    if (c->kind == COMMAND_DISPATCH) return run_dispatch(c, g, s, err);
    if (c->kind == COMMAND_FILL)
        run_fill(c);
    else if (c->bytes)
        memmove(c->to, c->from, c->bytes);
    return CVR_OK;
}

int32_t emu_list_run(const emu_list *l, emu_group *g, const emu_settings *s, cvr_error *err) {
    const cvr_launch **current = l->service ? l->service->current(l->service) : NULL, *within = NULL;
    int32_t status = CVR_OK;
    for (const emu_command *c = l->first; c && status == CVR_OK; c = c->next) {
        if (l->fence && c->launch && c->launch != within) emu_fence_shut(l->fence, c->launch);
        within = c->launch;
        cvr_launch_note(current, within);
        status = run_command(c, g, s, err);
    }
    if (within && l->fence) emu_fence_open(l->fence);
    if (status == CVR_OK) cvr_launch_note(current, NULL);
    return status;
}
