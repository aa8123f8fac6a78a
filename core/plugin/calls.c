/*
 * Which plugin is being called: every call into a plugin stands between cvr_call_enter() and cvr_call_leave(), so that
 * whoever faults, exits, hangs or fails in there can be named with plugin, callback and node. A call costs a few stores
 * to memory of its own thread; names are looked up only when something went wrong, also from a signal handler: nothing
 * that describes a call allocates or waits, but for the watchdog, which keeps the registry from changing meanwhile.
 */
#include "calls.h"
#include "loader.h"
#include <pthread.h>
#include <stdatomic.h>

#define MOST_THREADS 512
#define DEEPEST 48 /* calls within calls that are kept; deeper ones are counted */

typedef struct call {
    _Atomic(const void *) desc; /* NULL: of a plugin as such; `where` names it */
    _Atomic(const char *) callback, where;
    _Atomic(const void *) launch; /* of a backend that replays: the cvr_launch that runs now */
    atomic_uint_fast64_t serial;  /* told apart from the call that was here before */
    char first;                   /* of a message that the error held before the call; it is hidden meanwhile */
} call;

typedef struct thread_calls {
    atomic_bool taken;
    atomic_uint depth;
    uint64_t serial;
    call calls[DEEPEST];
} thread_calls;

static thread_calls threads[MOST_THREADS];
static _Thread_local thread_calls *mine;
static pthread_key_t key;
static pthread_once_t key_made = PTHREAD_ONCE_INIT;
static cvr_thread_fn on_thread;

/* Registries that are open, for names; whoever changes one holds the lock. */
static cvr_plugins *open_plugins;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define GET(x) atomic_load_explicit(&(x), memory_order_relaxed)
#define PUT(x, v) atomic_store_explicit(&(x), v, memory_order_relaxed)

static void give_up(void *slot) {
    thread_calls *t = slot;
    PUT(t->depth, 0);
    atomic_store(&t->taken, false);
}

static void make_key(void) {
    (void)pthread_key_create(&key, give_up);
}

/* This thread's slot, or NULL where too many threads have one: their calls are not kept. */
static thread_calls *slot_of_thread(void) {
    if (mine) return mine;
    (void)pthread_once(&key_made, make_key);
    for (size_t i = 0; i < MOST_THREADS && !mine; i++) {
        bool free = false;
        if (atomic_compare_exchange_strong(&threads[i].taken, &free, true)) mine = &threads[i];
    }
    if (!mine) return NULL;
    (void)pthread_setspecific(key, mine);
    if (on_thread) on_thread((size_t)(mine - threads));
    return mine;
}

static void push(const void *desc, const char *callback, const char *where, const void *launch, uint64_t serial) {
    thread_calls *t = slot_of_thread();
    if (!t) return;
    const unsigned depth = GET(t->depth);
    if (depth < DEEPEST) {
        call *c = &t->calls[depth];
        PUT(c->desc, desc);
        PUT(c->callback, callback);
        PUT(c->where, where);
        PUT(c->launch, launch);
        PUT(c->serial, serial ? serial : ++t->serial);
    }
    atomic_store_explicit(&t->depth, depth + 1, memory_order_release);
}

/* The calling thread's innermost call, or NULL. */
static call *innermost(thread_calls *t) {
    const unsigned depth = t ? GET(t->depth) : 0;
    return depth ? &t->calls[(depth < DEEPEST ? depth : DEEPEST) - 1] : NULL;
}

void cvr_call_enter(const void *desc, const char *callback, const char *where, cvr_error *err) {
    push(desc, callback, where, NULL, 0);
    call *c = innermost(mine);
    if (!c || mine->depth > DEEPEST) return;
    c->first = err ? err->message[0] : '\0';
    if (err) err->message[0] = '\0';
}

const struct call *calls_current(void) {
    return innermost(mine);
}

void calls_adopt(const struct call *c) {
    if (c) push(GET(c->desc), GET(c->callback), GET(c->where), GET(c->launch), GET(c->serial));
}

void calls_drop(const struct call *c) {
    if (c && mine) PUT(mine->depth, GET(mine->depth) - 1);
}

/* ---- names ---- */

void calls_lock(void) {
    pthread_mutex_lock(&lock);
}

void calls_unlock(void) {
    pthread_mutex_unlock(&lock);
}

void calls_add_plugins(cvr_plugins *p) {
    calls_lock();
    p->next_open = open_plugins;
    open_plugins = p;
    calls_unlock();
}

void calls_remove_plugins(cvr_plugins *p) {
    calls_lock();
    for (cvr_plugins **at = &open_plugins; *at; at = &(*at)->next_open) {
        if (*at != p) continue;
        *at = p->next_open;
        break;
    }
    calls_unlock();
}

/* Every descriptor has a text behind its size; a copy of a descriptor (a kernel that prepares) shares it. */
static const char *first_text(const void *desc) {
    const char *text;
    memcpy(&text, (const char *)desc + offsetof(cvr_op_desc, name), sizeof text);
    return text;
}

static const registry_entry *entry_of(const void *desc) {
    for (const cvr_plugins *p = desc ? open_plugins : NULL; p; p = p->next_open)
        for (size_t i = 0; i < p->registry.n; i++)
            if (first_text(p->registry.entries[i].desc) == first_text(desc)) return &p->registry.entries[i];
    return NULL;
}

typedef struct line {
    char *s;
    size_t n, size;
} line;

static void say(line *l, const char *text) {
    for (; text && *text && l->n + 1 < l->size; text++) l->s[l->n++] = *text;
    if (l->size) l->s[l->n] = '\0';
}

/* A launch that is noted is one that runs, or, while a backend records, one that records. */
static const char *callback_of(const call *c) {
    const char *callback = GET(c->callback);
    return !GET(c->launch) || (callback && strcmp(callback, "record") == 0) ? callback : "run";
}

/* "plugin com.acme.bad: callback `run` of kernel reference/acme.bad at bad/acme.bad" */
static void describe(const call *c, line *l) {
    const cvr_launch *launch = GET(c->launch);
    const void *desc = launch ? launch->kernel : GET(c->desc);
    const char *callback = callback_of(c), *where = launch ? launch->name : GET(c->where);
    const registry_entry *e = entry_of(desc);
    say(l, e || !desc ? "plugin " : "");
    say(l, e ? e->owner : desc ? "" : where);
    say(l, e || !desc ? ": " : "");
    say(l, "callback `");
    say(l, callback);
    say(l, "`");
    if (!desc) return;
    say(l, " of ");
    say(l, e ? kind_word(e->kind) : "");
    say(l, e ? " " : "");
    say(l, e ? e->name : first_text(desc));
    if (!where || !*where) return;
    say(l, " at ");
    say(l, where);
}

size_t cvr_call_describe(char *buf, size_t size) {
    const call *c = innermost(mine);
    line l = {buf, 0, size};
    if (c) describe(c, &l);
    return l.n;
}

/* ---- other threads', for a watchdog ---- */

size_t cvr_call_threads(void) {
    return MOST_THREADS;
}

size_t cvr_call_look(size_t thread, cvr_call_view *views, size_t most) {
    const thread_calls *t = &threads[thread];
    size_t n = atomic_load_explicit(&t->depth, memory_order_acquire);
    if (n > most) n = most;
    if (n > DEEPEST) n = DEEPEST;
    for (size_t i = 0; i < n; i++)
        views[i] = (cvr_call_view){GET(t->calls[i].serial), (uintptr_t)GET(t->calls[i].launch)};
    return n;
}

size_t cvr_call_describe_at(size_t thread, size_t depth, char *buf, size_t size) {
    line l = {buf, 0, size};
    calls_lock();
    if (depth < GET(threads[thread].depth)) describe(&threads[thread].calls[depth], &l);
    calls_unlock();
    return l.n;
}

void cvr_call_on_thread(cvr_thread_fn fn) {
    on_thread = fn;
}

/* ---- what a failure says ---- */

/* A status that is none of abi.h's is the plugin's fault; so is one without words, unless it says enough by itself. */
static int32_t known_status(int32_t status, bool silent) {
    const bool known = status > CVR_OK && status <= CVR_ERR_DEVICE;
    const bool plain = status == CVR_ERR_NOMEM || status == CVR_ERR_UNSUPPORTED || status == CVR_ERR_INTERRUPTED;
    return known && (!silent || plain) ? status : CVR_ERR_PLUGIN;
}

/* Whether a message says "plugin ID" already: a failure goes through several calls. */
static bool is_named(const char *message, const char *id) {
    char named[128];
    (void)snprintf(named, sizeof named, "plugin %.100s:", id);
    return strstr(message, named) != NULL;
}

static int32_t failed(const call *c, int32_t status, cvr_error *err) {
    char who[400] = "";
    line l = {who, 0, sizeof who};
    if (!err) return known_status(status, false);
    err->message[sizeof err->message - 1] = err->file[sizeof err->file - 1] = '\0';
    const bool silent = !err->message[0];
    const cvr_launch *launch = c ? GET(c->launch) : NULL;
    const registry_entry *e = entry_of(launch ? launch->kernel : c ? GET(c->desc) : NULL);
    const size_t n = strlen(err->message);
    if (c) describe(c, &l);
    if (silent)
        (void)snprintf(err->message, sizeof err->message, "%s failed with status %d and no message",
                       *who ? who : "a plugin", status);
    else if (e && e->foreign && !is_named(err->message, e->owner))
        (void)snprintf(err->message + n, sizeof err->message - n, " (%s)", who);
    err->code = known_status(status, silent);
    return err->code;
}

int32_t cvr_call_leave(int32_t status, cvr_error *err) {
    thread_calls *t = mine;
    const call *c = innermost(t);
    if (t && GET(t->depth)) PUT(t->depth, GET(t->depth) - 1); /* the call stays readable until the next */
    if (status != CVR_OK) return failed(c, status, err);
    if (err && c && !err->message[0]) err->message[0] = c->first;
    return CVR_OK;
}

int32_t cvr_call_blame(const void *desc, const char *callback, const char *where, cvr_error *err, const char *format,
                       ...) {
    char who[400] = "", why[600];
    line l = {who, 0, sizeof who};
    const call c = {.desc = desc, .callback = callback, .where = where};
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    describe(&c, &l);
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s %s", who, why);
}

static const cvr_launch **service_current(const cvr_launch_service *s) {
    call *c = innermost(mine);
    (void)s;
    return c ? (const cvr_launch **)(uintptr_t)&c->launch : NULL;
}

const cvr_launch_service calls_launches = {sizeof calls_launches, NULL, service_current};
