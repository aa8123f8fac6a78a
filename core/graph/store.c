/*
 * The store: everything that outlives a step, by name. Entries are declared while graphs are built, then get memory on
 * a device, all that are new in one block. On another device they get new memory first and give up the old one later,
 * so that there is a way back.
 */
#include "initial.h"
#include "param_rules.h"

typedef struct stored {
    cvr_store_entry entry;
    cvr_init init;
    void *values;           /* what it starts with, in logical order; NULL: as `init` says */
    char *address, *before; /* on the device; on the device before, while a move is open */
    int64_t average;        /* the entry that is its running mean, or -1 */
} stored;

/* Memory on one device; addresses of entries lie in its blocks. */
typedef struct store_home {
    cvr_device *device;
    void **blocks;
    size_t n, capacity;
} store_home;

struct cvr_store {
    uint64_t seed;
    stored *entries;
    size_t n, capacity;
    size_t *table, slots; /* by the hash of the name: index + 1, or 0; a power of two, at most half full */
    param_rules rules;
    store_home home, before;
    bool borrows;     /* the rules are another store's */
    bool open, moves; /* between prepare and what ends it; to another device */
    size_t fresh;     /* entries from here on get their memory by it */
    uint64_t changes;
};

int32_t cvr_store_create(cvr_store **out, uint64_t seed, cvr_error *err) {
    *out = cvr_calloc(1, sizeof **out);
    if (!*out) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    (*out)->seed = seed;
    return CVR_OK;
}

int32_t store_scratch(cvr_store **out, const cvr_store *of, cvr_error *err) {
    CVR_TRY(cvr_store_create(out, of->seed, err));
    (*out)->rules = of->rules;
    (*out)->borrows = true;
    return CVR_OK;
}

const void *store_start(const cvr_store *s, size_t i, cvr_init *init) {
    *init = s->entries[i].init;
    return s->entries[i].values;
}

static void leave_home(store_home *h) {
    for (size_t i = 0; i < h->n; i++) cvr_device_free(h->device, h->blocks[i]);
    cvr_free(h->blocks);
    memset(h, 0, sizeof *h);
}

void cvr_store_destroy(cvr_store **store) {
    cvr_store *s = *store;
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        cvr_free((void *)(uintptr_t)s->entries[i].entry.name);
        cvr_free((void *)(uintptr_t)s->entries[i].entry.network);
        cvr_free(s->entries[i].values);
    }
    leave_home(&s->home);
    leave_home(&s->before);
    if (!s->borrows) param_rules_clear(&s->rules);
    cvr_free(s->table);
    cvr_free(s->entries);
    cvr_free(s);
    *store = NULL;
}

size_t cvr_store_count(const cvr_store *s) {
    return s->n;
}

const cvr_store_entry *cvr_store_get(const cvr_store *s, size_t i) {
    return &s->entries[i].entry;
}

void store_replace(cvr_store *s, size_t i) {
    s->entries[i].entry.role = CVR_STORE_REPLACED;
    s->entries[i].entry.bytes = 0;
}

void store_note_updated(cvr_store *s, size_t i) {
    s->entries[i].entry.updated = 1;
}

int64_t cvr_store_average(const cvr_store *s, size_t i) {
    return s->entries[i].average;
}

bool cvr_store_in_weights(const cvr_store_entry *e) {
    return e->role <= CVR_STORE_BUFFER && !*e->network;
}

bool cvr_store_in_checkpoint(const cvr_store_entry *e) {
    const bool lasts = e->role != CVR_STORE_CONSTANT && e->role != CVR_STORE_GRADIENT && e->role != CVR_STORE_REPLACED;
    return lasts && (!*e->network || e->network_trains);
}

void store_changed(cvr_store *s) {
    s->changes++;
}

uint64_t store_changes(const cvr_store *s) {
    return s->changes;
}

void *store_address(const cvr_store *s, size_t i) {
    return s->entries[i].address;
}

int32_t cvr_store_rules(cvr_store *s, const cvr_param_rules *rules, cvr_error *err) {
    param_rules_clear(&s->rules);
    return param_rules_set(&s->rules, rules, err);
}

void cvr_store_phase(cvr_store *s, size_t phase) {
    s->rules.phase = phase < s->rules.n_thaw ? phase : s->rules.n_thaw;
    for (size_t i = 0; i < s->n; i++) s->entries[i].entry.role = param_rules_role(&s->rules, &s->entries[i].entry);
}

const char *store_stage(const cvr_store *s, const char *scope) {
    return param_rules_stage(&s->rules, scope);
}

bool store_freezes(const cvr_store *s, const char *scope) {
    return !s->rules.train_frozen && param_rules_freeze_scope(&s->rules, scope);
}

int32_t cvr_store_check_rules(const cvr_store *s, cvr_error *err) {
    const char *unused = param_rules_unused(&s->rules), *known[512];
    size_t n = 0;
    if (!unused) return CVR_OK;
    for (size_t i = 0; i < s->rules.n_stages && n < 512; i++) known[n++] = s->rules.stages[i].name;
    for (size_t i = 0; i < s->n && n < 512; i++)
        if (s->entries[i].entry.role <= CVR_STORE_FROZEN) known[n++] = s->entries[i].entry.name;
    const char *nearest = cvr_nearest(unused, known, n);
    cvr_text stages = {0};
    for (size_t i = 0; i < s->rules.n_stages; i++)
        cvr_text_add(&stages, "%s%s", i ? ", " : nearest ? " Its stages: " : "; its stages: ", s->rules.stages[i].name);
    cvr_fail(err, CVR_ERR_USAGE, "`%s` fits no parameter and no stage of this network%s%s%s%s", unused,
             nearest ? "; did you mean `" : "; cvrun info shows the names", nearest ? nearest : "", nearest ? "`?" : "",
             stages.s ? stages.s : "");
    cvr_text_clear(&stages);
    return CVR_ERR_USAGE;
}

/* ---- entries by name ---- */

/* Where the name's index is in the table, or where it would go. */
static size_t find_slot(const cvr_store *s, const char *name) {
    size_t at = (size_t)cvr_hash(name) & (s->slots - 1);
    while (s->table[at] && strcmp(s->entries[s->table[at] - 1].entry.name, name) != 0) at = (at + 1) & (s->slots - 1);
    return at;
}

int64_t cvr_store_find(const cvr_store *s, const char *name) {
    return s->slots ? (int64_t)s->table[find_slot(s, name)] - 1 : -1;
}

static bool grow_table(cvr_store *s) {
    if (2 * (s->n + 1) <= s->slots) return true;
    const size_t slots = s->slots ? 2 * s->slots : 256;
    size_t *table = cvr_calloc(slots, sizeof *table);
    if (!table) return false;
    cvr_free(s->table);
    s->table = table;
    s->slots = slots;
    for (size_t i = 0; i < s->n; i++) table[find_slot(s, s->entries[i].entry.name)] = i + 1;
    return true;
}

static int32_t check_again(const stored *e, const store_request *r, cvr_error *err) {
    const bool alike = e->entry.role == r->role || e->entry.role == CVR_STORE_REPLACED ||
                       (e->entry.role == CVR_STORE_FROZEN && r->role == CVR_STORE_TRAINED);
    char was[160], is[160];
    if (r->role <= CVR_STORE_BUFFER && strcmp(e->entry.network, r->network) != 0)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "parameter %s is of the network, and of another in the same graph; rename the layer `%s`",
                        r->name, *r->network ? r->network : e->entry.network);
    if (same_shape(&e->entry.type, &r->type) && same_order(&e->entry.type, &r->type) && alike) return CVR_OK;
    print_shape(&e->entry.type, was, sizeof was);
    print_shape(&r->type, is, sizeof is);
    return cvr_fail(err, CVR_ERR_INVALID, "parameter %s has shape %s in one place and %s in another; use two names",
                    r->name, was, is);
}

int32_t store_declare(cvr_store *s, const store_request *r, size_t *index, cvr_error *err) {
    const int64_t before = cvr_store_find(s, r->name);
    *index = (size_t)before;
    if (before >= 0) return check_again(&s->entries[before], r, err);
    stored *more = cvr_grow(s->entries, s->n, &s->capacity, sizeof *more);
    if (more) s->entries = more;
    char *name = cvr_strdup(r->name), *network = cvr_strdup(r->network);
    void *values = r->values ? cvr_alloc_aligned(type_bytes(&r->type), 64) : NULL;
    if (!more || !name || !network || (r->values && !values) || !grow_table(s)) {
        cvr_free(name);
        cvr_free(network);
        cvr_free(values);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    stored *e = &more[s->n];
    *e = (stored){.entry = {.name = name,
                            .stage = "",
                            .network = network,
                            .network_trains = r->network_trains,
                            .type = r->type,
                            .role = r->role,
                            .flags = r->flags,
                            .of = r->of,
                            .lr_factor = 1,
                            .weight_decay = -1,
                            .bytes = type_bytes(&r->type)},
                  .init = r->init,
                  .values = values,
                  .average = -1};
    if (values) memcpy(values, r->values, e->entry.bytes);
    e->entry.type.struct_size = sizeof e->entry.type;
    if (!*network && r->role <= CVR_STORE_CONSTANT) param_rules_apply(&s->rules, &e->entry);
    if (r->role == CVR_STORE_AVERAGE) s->entries[r->of].average = (int64_t)s->n;
    s->table[find_slot(s, name)] = s->n + 1;
    *index = s->n++;
    return CVR_OK;
}

/* Bytes that an entry takes on the device where the store is. */
static uint64_t room_of(const cvr_store *s, size_t i) {
    return align_up(s->entries[i].entry.bytes, s->home.device ? s->home.device->info->alignment : 64);
}

uint64_t cvr_store_bytes(const cvr_store *s) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->n; i++) bytes += room_of(s, i);
    return bytes;
}

/* ---- initial values ---- */

/* Fills `host` with an entry's first value, in memory order. A running mean starts as what it is the mean of. */
static int32_t initial(const cvr_store *s, const stored *e, cvr_device *d, void *host, cvr_error *err) {
    const int64_t n = cvr_numel(e->entry.type.rank, e->entry.type.shape);
    const cvr_host *services = cvr_plugins_host(d->plugins);
    if (e->entry.role == CVR_STORE_AVERAGE) {
        const stored *of = &s->entries[e->entry.of]; /* stands before it, and is there */
        return device_download(d, host, of->address, e->entry.bytes, err);
    }
    if (e->values) {
        cvr_from_logical(&e->entry.type, e->values, host);
        return CVR_OK;
    }
    if (e->entry.type.dtype == CVR_F32) {
        const initial_request r = {&e->init, &e->entry.type, cvr_rng_mix(s->seed, cvr_hash(e->entry.name)),
                                   services->get(services, CVR_SERVICE_THREADPOOL)};
        return initial_values(&r, host, err);
    }
    if (e->entry.type.dtype == CVR_I64) {
        int64_t *k = host; /* all the same, so in whatever order */
        for (int64_t i = 0; i < n; i++) k[i] = (int64_t)e->init.a;
        return CVR_OK;
    }
    const uint64_t size = cvr_dtype_size(e->entry.type.dtype);
    if (size <= 4 && e->entry.type.dtype >= CVR_U8) { /* u8, i8, i32 */
        const int32_t value = (int32_t)e->init.a;
        for (int64_t i = 0; i < n; i++) memcpy((char *)host + (uint64_t)i * size, &value, size);
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "parameter %s has type %s; f32 and whole numbers can be initialised",
                    e->entry.name, cvr_dtype_name(e->entry.type.dtype));
}

/* ---- placing ---- */

/* Puts an entry's present value, which lies at `from`, or its initial one (NULL) where it has its address now: without
 * a detour by `host` where the host sees that memory, so that the threads that draw the values touch it first. */
static int32_t fill(cvr_store *s, const stored *e, const char *from, void *host, cvr_error *err) {
    cvr_device *d = s->home.device, *old = s->before.device ? s->before.device : d;
    void *to = device_is_host(d) ? e->address : host;
    CVR_TRY(from ? device_download(old, to, from, e->entry.bytes, err) : initial(s, e, d, to, err));
    return to == host ? device_upload(d, e->address, host, e->entry.bytes, err) : CVR_OK;
}

static int32_t new_block(cvr_store *s, uint64_t bytes, char **out, cvr_error *err) {
    void *memory, **more = cvr_grow((void *)s->home.blocks, s->home.n, &s->home.capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->home.blocks = more;
    CVR_TRY(cvr_device_alloc(s->home.device, bytes, &memory, err));
    *out = more[s->home.n++] = memory;
    return CVR_OK;
}

/* The entries from `first` on have no address yet: as few blocks for them as the device allows. */
static int32_t give_addresses(cvr_store *s, size_t first, cvr_error *err) {
    const uint64_t most = s->home.device->info->max_allocation;
    while (first < s->n) {
        uint64_t bytes = room_of(s, first);
        size_t end = first + 1;
        char *at = NULL;
        if (bytes > most)
            return cvr_fail(err, CVR_ERR_NOMEM, "%s has %llu bytes, and the device gives at most %llu in one block",
                            s->entries[first].entry.name, (unsigned long long)bytes, (unsigned long long)most);
        for (; end < s->n && room_of(s, end) <= most - bytes; end++) bytes += room_of(s, end);
        CVR_TRY(new_block(s, bytes, &at, err));
        for (; first < end; at += room_of(s, first++)) s->entries[first].address = at;
    }
    return CVR_OK;
}

static int32_t fill_all(cvr_store *s, size_t first, cvr_error *err) {
    uint64_t largest = 64;
    int32_t status = CVR_OK;
    for (size_t i = first; i < s->n; i++)
        largest = s->entries[i].entry.bytes > largest ? s->entries[i].entry.bytes : largest;
    void *host = cvr_alloc_aligned(largest, 64);
    if (!host) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = first; i < s->n; i++)
        if (s->entries[i].entry.bytes) CVR_TRY_OUT(fill(s, &s->entries[i], s->entries[i].before, host, err));
out:
    cvr_free(host);
    return status;
}

int32_t cvr_store_prepare(cvr_store *s, cvr_device *d, cvr_error *err) {
    if (s->open) return cvr_fail(err, CVR_ERR_INVALID, "the store is on its way to a device already");
    s->fresh = 0;
    while (s->home.device == d && s->fresh < s->n && s->entries[s->fresh].address) s->fresh++; /* new ones stand last */

    s->open = true;
    s->moves = s->home.device != d;
    if (s->moves) {
        s->before = s->home;
        s->home = (store_home){.device = d};
        for (size_t i = 0; i < s->n; i++) {
            s->entries[i].before = s->entries[i].address;
            s->entries[i].address = NULL;
        }
        store_changed(s);
    }
    if (s->fresh == s->n && s->n) return CVR_OK;
    int32_t status;
    CVR_TRY_OUT(give_addresses(s, s->fresh, err));
    CVR_TRY_OUT(fill_all(s, s->fresh, err));
out:
    if (status != CVR_OK) cvr_store_rollback(s);
    return status;
}

void cvr_store_commit(cvr_store *s) {
    leave_home(&s->before);
    for (size_t i = 0; i < s->n; i++) s->entries[i].before = NULL;
    s->open = false;
}

void cvr_store_rollback(cvr_store *s) {
    if (!s->open) return;
    for (size_t i = s->fresh; i < s->n; i++) {
        s->entries[i].address = s->entries[i].before;
        s->entries[i].before = NULL;
    }
    if (s->moves) {
        leave_home(&s->home);
        s->home = s->before;
        memset(&s->before, 0, sizeof s->before);
        store_changed(s);
    }
    s->open = false; /* else the block that new entries had goes with the others */
}

int32_t cvr_store_place(cvr_store *s, cvr_device *d, cvr_error *err) {
    CVR_TRY(cvr_store_prepare(s, d, err));
    cvr_store_commit(s);
    return CVR_OK;
}

/* ---- reading and writing ---- */

static int32_t copy_out_or_in(cvr_store *s, size_t i, void *out, const void *in, cvr_error *err) {
    const stored *e = &s->entries[i];
    cvr_device *d = s->home.device;
    if (!e->address || e->entry.role == CVR_STORE_REPLACED)
        return cvr_fail(err, CVR_ERR_INVALID, "%s is on no device", e->entry.name);
    void *host = cvr_alloc_aligned(e->entry.bytes, 64);
    int32_t status;
    if (!host) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (in) {
        cvr_from_logical(&e->entry.type, in, host);
        store_changed(s);
        CVR_TRY_OUT(device_upload(d, e->address, host, e->entry.bytes, err));
    } else {
        CVR_TRY_OUT(device_download(d, host, e->address, e->entry.bytes, err));
        cvr_to_logical(&e->entry.type, host, out);
    }
out:
    cvr_free(host);
    return status;
}

int32_t cvr_store_read(cvr_store *s, size_t i, void *out, cvr_error *err) {
    return copy_out_or_in(s, i, out, NULL, err);
}

int32_t cvr_store_write(cvr_store *s, size_t i, const void *in, cvr_error *err) {
    return copy_out_or_in(s, i, NULL, in, err);
}
