/* See emu_group.h. */
#include "emu_group.h"
#include "fibres.h"

/* What a thread waits for. */
typedef enum wait_kind { WAIT_NOT, WAIT_BARRIER, WAIT_SHUFFLE, WAIT_DONE } wait_kind;

typedef struct emu_thread {
    wait_kind waits;
    uint32_t place;    /* of the barrier */
    uint32_t shuffles; /* so far */
    float given[2];    /* to this shuffle and the one before, which others may still have to read */
} emu_thread;

struct emu_group {
    cvr_emu_machine machine; /* first: kernels get its address */
    const cvr_host *host;
    fibres *fibres;
    emu_settings settings;
    const cvr_emu_entry *entry;
    const void *params;
    const uint32_t *constants;
    uint32_t random;
    int leaves_out; /* this entry has the barrier that does nothing */
    emu_thread threads[EMU_THREADS];
    uint32_t order[EMU_THREADS];
};

/* ---- in a fibre ---- */

static emu_group *group_of(cvr_emu_machine *m) {
    return (emu_group *)(void *)m;
}

/* Others run until what the thread waits for has come. */
static void wait_for(emu_group *g, wait_kind what) {
    const uint32_t me = g->machine.thread;
    g->threads[me].waits = what;
    fibre_wait(g->fibres);
    g->machine.thread = me;
}

static void emu_barrier(cvr_emu_machine *m, uint32_t place) {
    emu_group *g = group_of(m);
    if (g->leaves_out && place == g->settings.left_out) return;
    g->threads[m->thread].place = place;
    wait_for(g, WAIT_BARRIER);
}

static float emu_shuffle_xor(cvr_emu_machine *m, float v, uint32_t mask) {
    emu_group *g = group_of(m);
    emu_thread *t = &g->threads[m->thread];
    const uint32_t turn = t->shuffles++ & 1;
    t->given[turn] = v;
    wait_for(g, WAIT_SHUFFLE);
    return g->threads[m->thread ^ mask].given[turn];
}

static void thread_body(void *ctx, uint32_t i) {
    emu_group *g = (emu_group *)ctx;
    (void)i;
    g->entry->run(&g->machine, g->params, g->constants);
}

/* ---- the scheduler ---- */

static uint32_t next_random(emu_group *g) {
    g->random = g->random * 1664525u + 1013904223u;
    return g->random >> 8;
}

/* Anew for every stretch between two barriers. */
static void make_order(emu_group *g) {
    for (uint32_t i = 0; i < EMU_THREADS; i++)
        g->order[i] = g->settings.order == EMU_BACKWARD ? EMU_THREADS - 1 - i : i;
    for (uint32_t i = EMU_THREADS - 1; i > 0 && g->settings.order == EMU_SHUFFLED; i--) {
        const uint32_t k = next_random(g) % (i + 1), was = g->order[i];
        g->order[i] = g->order[k];
        g->order[k] = was;
    }
}

/* Lets threads first .. first + n - 1 go on if all of them wait for this. */
static uint32_t release(emu_group *g, uint32_t first, uint32_t n, wait_kind what) {
    for (uint32_t i = first; i < first + n; i++)
        if (g->threads[i].waits != what) return 0;
    for (uint32_t i = first; i < first + n; i++) g->threads[i].waits = WAIT_NOT;
    return n;
}

static int32_t diverged(const emu_group *g, cvr_error *err) {
    static const char *const kinds[] = {"runs", "waits at a barrier", "waits in a shuffle", "has ended"};
    for (uint32_t i = 1; i < EMU_THREADS; i++) {
        const emu_thread *a = &g->threads[0], *b = &g->threads[i];
        if (a->waits != b->waits || (a->waits == WAIT_BARRIER && a->place != b->place))
            return cvr_fail(
                err, CVR_ERR_PLUGIN,
                "kernel %s, group %u: thread 0 %s (place %u) while thread %u %s (place %u); all threads of a "
                "group must come to a barrier, and all of a subgroup to a shuffle",
                g->entry->name, g->machine.group, kinds[a->waits], a->place, i, kinds[b->waits], b->place);
    }
    return CVR_OK;
}

static void run_stretch(emu_group *g) {
    for (uint32_t i = 0; i < EMU_THREADS; i++) {
        const uint32_t t = g->order[i];
        if (g->threads[t].waits != WAIT_NOT) continue;
        g->machine.thread = t;
        if (fibre_resume(g->fibres, t)) g->threads[t].waits = WAIT_DONE;
    }
}

static int32_t run_one(emu_group *g, cvr_error *err) {
    memset(g->threads, 0, sizeof g->threads);
    for (;;) {
        uint32_t released = 0;
        make_order(g);
        run_stretch(g);
        for (uint32_t i = 0; i < EMU_THREADS; i += g->settings.subgroup)
            released += release(g, i, g->settings.subgroup, WAIT_SHUFFLE);
        if (released) continue;
        CVR_TRY(diverged(g, err));
        if (!release(g, 0, EMU_THREADS, WAIT_BARRIER)) return CVR_OK; /* all have ended */
    }
}

int32_t emu_group_run(emu_group *g, const emu_settings *s, const cvr_emu_entry *e, const void *params,
                      const uint32_t *constants, uint64_t n_groups, cvr_error *err) {
    g->settings = *s;
    g->entry = e;
    g->params = params;
    g->constants = constants;
    g->machine.subgroup = s->subgroup;
    g->leaves_out = s->left_out_of && strcmp(s->left_out_of, e->name) == 0;
    for (uint64_t i = 0; i < n_groups; i++) {
        g->machine.group = (uint32_t)i;
        CVR_TRY(run_one(g, err));
    }
    return CVR_OK;
}

int32_t emu_group_create(emu_group **out, const cvr_host *host, cvr_error *err) {
    emu_group *g = (emu_group *)host->alloc(host, sizeof *g, 64);
    if (!g) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(g, 0, sizeof *g);
    g->machine =
        (cvr_emu_machine){.struct_size = sizeof g->machine, .barrier = emu_barrier, .shuffle_xor = emu_shuffle_xor};
    g->host = host;
    const int32_t status = fibres_create(&g->fibres, host, EMU_THREADS, thread_body, g, err);
    if (status != CVR_OK) host->free(host, g);
    *out = status == CVR_OK ? g : NULL;
    return status;
}

void emu_group_destroy(emu_group **g) {
    if (!*g) return;
    fibres_destroy(&(*g)->fibres);
    (*g)->host->free((*g)->host, *g);
    *g = NULL;
}
