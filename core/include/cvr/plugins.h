/*
 * Plugins: manifests, loading on demand, and the registry of what was registered.
 */
#ifndef CVR_PLUGINS_H
#define CVR_PLUGINS_H

#include <cvr/base.h>

#pragma GCC visibility push(default)

typedef struct cvr_plugins cvr_plugins;

#define CVR_PLUGIN_LISTED 0u
#define CVR_PLUGIN_LOADED 1u
#define CVR_PLUGIN_REFUSED 2u

/* One section of a manifest. Texts live as long as the cvr_plugins. */
typedef struct cvr_plugin_info {
    const char *id, *file, *manifest;
    const char *provides, *requires_, *isa;
    const char *version; /* "" until loaded */
    const char *reason;  /* why it was refused; "" otherwise */
    uint32_t state;
    uint32_t line;
    bool foreign; /* listed by CVR_PLUGIN_PATH */
} cvr_plugin_info;

/*
 * Reads the manifests. `manifests` NULL: plugins.ini in the folder `cvrun` beside libcvr.so, then those that the
 * environment's CVR_PLUGIN_PATH lists (files, or folders that hold a plugins.ini; set-user-id programs ignore it).
 * Loads nothing yet.
 */
int32_t cvr_plugins_open(cvr_plugins **out, const char *const *manifests, size_t n, cvr_error *err);
/* Shuts the plugins down in reverse order of loading. Their code stays mapped. */
void cvr_plugins_close(cvr_plugins **p);

/* The descriptor of `name`, of kind CVR_KIND_*; loads the plugin that provides it. The error names the nearest match.
 */
int32_t cvr_plugins_find(cvr_plugins *p, const char *kind, const char *name, const void **desc, cvr_error *err);
/*
 * Kernels of an op for a backend, best first: those whose plugin loads, and whose ISA this machine has where they are
 * plain functions of the host. Whether a device takes the others is for its owner to ask (cvr_device_takes). `backend`
 * NULL: all that are plain functions of the host, whoever they were made for. The list belongs to `p` and stays until
 * the next plugin is loaded.
 */
int32_t cvr_plugins_kernels(cvr_plugins *p, const cvr_op_desc *op, const char *backend,
                            const cvr_kernel_desc *const **kernels, size_t *n, cvr_error *err);
/* The kernels of an op that cvr_plugins_kernels() leaves out, and why, after each other. */
void cvr_plugins_passed_over(const cvr_plugins *p, const cvr_op_desc *op, cvr_text *t);
/* One line for each group of kernels of this plugin that nothing here can launch, and why; after load_all. */
void cvr_plugins_dormant(const cvr_plugins *p, const char *id, cvr_text *lines);
/* Whether a kernel is a plain function of the host. */
static inline bool cvr_kernel_is_host(const cvr_kernel_desc *k) {
    return strcmp(k->payload_kind, CVR_PAYLOAD_CPU_FN) == 0;
}
/* The i-th name of this kind that any manifest or the core provides, in byte order; NULL past the end. The text lives
 * as long as `p`. */
const char *cvr_plugins_name(cvr_plugins *p, const char *kind, size_t i);
/* The id of the plugin that registered this descriptor, or a copy of it; NULL: none did. */
const char *cvr_plugins_owner(const cvr_plugins *p, const void *desc);
/* Adds a plugin that no manifest need list: what it provides is told by loading it. It takes the place of one of the
 * same id that manifests list and nobody has loaded. `id`: its own. */
int32_t cvr_plugins_add(cvr_plugins *p, const char *file, const char **id, cvr_error *err);
/* Tries every plugin listed, so that `cvrun plugins -v` can tell which load. */
void cvr_plugins_load_all(cvr_plugins *p);
size_t cvr_plugins_count(const cvr_plugins *p);
const cvr_plugin_info *cvr_plugins_info(const cvr_plugins *p, size_t i);

/* The host table that plugins are given, and a service to offer in it ("cvr.host.threadpool/1"); NULL takes it back.
 * CVR_ERR_NOMEM: it is not offered. */
const cvr_host *cvr_plugins_host(const cvr_plugins *p);
int32_t cvr_plugins_offer(cvr_plugins *p, const char *service, const void *table);

/* Kernels that need more than this are passed over: "base" (no CPU feature), a list such as "avx2 fma", or NULL for all
 * that there is. */
void cvr_plugins_limit_isa(cvr_plugins *p, const char *isa);
/* The most pixels of a picture that the image service decodes. */
void cvr_plugins_limit_pixels(cvr_plugins *p, uint64_t most);

/* The manifest section of a plugin file, made by loading it: what cvr-manifest writes. */
int32_t cvr_plugins_describe(const char *file, cvr_text *section, cvr_error *err);

/*
 * Calls into plugins. Each stands between enter() and leave(), so that a plugin that faults, exits or does not return
 * can be named, and a failure always has words: `desc` is the descriptor, `callback` the name of its field, `where`
 * what the call is about (a node, a layer, a file; NULL: nothing). Texts live until leave(). leave() returns the
 * status, one of abi.h's, and puts words into `err` where there are none; of a plugin from CVR_PLUGIN_PATH it adds who
 * failed.
 */
void cvr_call_enter(const void *desc, const char *callback, const char *where, cvr_error *err);
int32_t cvr_call_leave(int32_t status, cvr_error *err);
/* A callback that returns a status and takes `err` last; one whose value goes to `to`; one without a value. */
#define CVR_CALL(desc_, callback_, where_, err_, ...)                                                                  \
    (cvr_call_enter((desc_), #callback_, (where_), (err_)),                                                            \
     cvr_call_leave((desc_)->callback_(__VA_ARGS__, (err_)), (err_)))
#define CVR_CALL_TO(to_, desc_, callback_, where_, ...)                                                                \
    (cvr_call_enter((desc_), #callback_, (where_), NULL), (to_) = (desc_)->callback_(__VA_ARGS__),                     \
     (void)cvr_call_leave(CVR_OK, NULL))
#define CVR_CALL_VOID(desc_, callback_, where_, ...)                                                                   \
    (cvr_call_enter((desc_), #callback_, (where_), NULL), (desc_)->callback_(__VA_ARGS__),                             \
     (void)cvr_call_leave(CVR_OK, NULL))
/* CVR_ERR_PLUGIN, with who in front: for a callback that returned something that it may not. */
int32_t cvr_call_blame(const void *desc, const char *callback, const char *where, cvr_error *err, const char *format,
                       ...) CVR_PRINTF(5, 6);

/* "plugin com.acme.bad: callback `run` of kernel reference/acme.bad at c1/acme.bad": the innermost call of the calling
 * thread. Returns its length, 0 where there is none. May be called in a signal handler. */
size_t cvr_call_describe(char *buf, size_t size);
/* For a watchdog: the calls that a thread (of cvr_call_threads()) is in, outermost first. One that has the same numbers
 * later on has not returned, nor moved on to another launch, meanwhile. */
typedef struct cvr_call_view {
    uint64_t serial;
    uintptr_t launch;
} cvr_call_view;
size_t cvr_call_threads(void);
size_t cvr_call_look(size_t thread, cvr_call_view *views, size_t most);
size_t cvr_call_describe_at(size_t thread, size_t depth, char *buf, size_t size);
/* Is called in every thread that calls a plugin for the first time, with its number. */
typedef void (*cvr_thread_fn)(size_t thread);
void cvr_call_on_thread(cvr_thread_fn fn);

/* Pictures by every codec there is; see cvr_image_service. Loads the codecs. */
int32_t cvr_plugins_image_service(cvr_plugins *p, const cvr_image_service **out, cvr_error *err);

/* A thread pool of n workers, the calling thread among them. One thread at a time may call run(). */
int32_t cvr_pool_create(cvr_threadpool **out, uint32_t n_workers, cvr_error *err);
/* Ties each worker to a CPU of its own, the calling thread, too, until the pool is destroyed by it.
 * CVR_ERR_UNSUPPORTED, and nothing changes, where the process may use fewer CPUs. */
int32_t cvr_pool_pin(cvr_threadpool *pool, cvr_error *err);
/* For a thread that a pinned one started: it may use again what the process could use before. */
void cvr_thread_unpin(void);
void cvr_pool_destroy(cvr_threadpool **pool);

#pragma GCC visibility pop
#endif
