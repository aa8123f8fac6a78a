/*
 * What the host does for a plugin. A plugin never links against libcvr: everything comes through these tables.
 */
#ifndef CVR_PLUGIN_HOST_H
#define CVR_PLUGIN_HOST_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_LOG_ERROR 0u
#define CVR_LOG_WARNING 1u
#define CVR_LOG_INFO 2u
#define CVR_LOG_DEBUG 3u

/* Lives as long as the process. Every function may be called from any thread. */
typedef struct cvr_host {
    uint64_t struct_size;
    void *ctx;
    /* One line of text, no newline at its end. */
    void (*log)(const struct cvr_host *host, uint32_t level, const char *text);
    /* `align` is a power of two; NULL when memory is out. Not zeroed. */
    void *(*alloc)(const struct cvr_host *host, uint64_t bytes, uint64_t align);
    void (*free)(const struct cvr_host *host, void *p);
    /* A service by its name ("cvr.host.threadpool/1"), or NULL where this host has none of that name. */
    const void *(*get)(const struct cvr_host *host, const char *service);
} cvr_host;

/*
 * "cvr.host.threadpool/1": run() calls fn(ctx, task, worker) once for every task in [0, n_tasks) and returns when all
 * are done. `worker` < n_workers names the thread, for scratch memory; results must never depend on it, nor on
 * n_workers. Cut the work by its shape. run() inside a task runs the inner tasks in the caller's thread.
 */
typedef void (*cvr_task_fn)(void *ctx, uint64_t task, uint32_t worker);

#define CVR_SERVICE_THREADPOOL "cvr.host.threadpool/1"
typedef struct cvr_threadpool {
    uint64_t struct_size;
    void *ctx;
    uint32_t n_workers;
    uint32_t reserved;
    void (*run)(const struct cvr_threadpool *pool, uint64_t n_tasks, cvr_task_fn fn, void *task_ctx);
} cvr_threadpool;

/* Pixels in memory: 8 bits a channel, interleaved (H, W, C), rows dense. `data` belongs to whoever made the image. */
typedef struct cvr_image {
    uint64_t struct_size;
    int64_t width, height, channels;
    uint8_t *data;
    /* For encode, of pictures of 1 channel: 256 colours (R, G, B) that the pixels stand for. NULL: they are grey. */
    const uint8_t *palette;
} cvr_image;

/* Gives the memory for something; it belongs to whoever passed the function. NULL when memory is out. */
typedef void *(*cvr_alloc_fn)(void *ctx, uint64_t bytes);

/*
 * A rectangle of a picture, in pixels of the whole, upright picture. What is in memory may be smaller by `reduce`, a
 * power of two from 1 to 8: the whole picture is then ceil(height / reduce) by ceil(width / reduce), and the part is
 * rows top / reduce to ceil((top + rows) / reduce) of it, columns likewise. `top` and `left` are multiples of `reduce`.
 */
typedef struct cvr_part {
    uint64_t struct_size;
    int64_t height, width; /* of the whole picture */
    int64_t top, left, rows, columns;
    int64_t reduce;
} cvr_part;

static inline void cvr_part_whole(cvr_part *p, int64_t height, int64_t width) {
    p->struct_size = sizeof *p;
    p->height = p->rows = height;
    p->width = p->columns = width;
    p->top = p->left = 0;
    p->reduce = 1;
}

/* Rows and columns in memory of the stretch [at, at + n). */
static inline int64_t cvr_part_reduced(int64_t at, int64_t n, int64_t reduce) {
    return (at + n + reduce - 1) / reduce - at / reduce;
}

/* Whether `p` lies inside a picture of its size, and is not empty. */
static inline int32_t cvr_part_valid(const cvr_part *p) {
    const int64_t r = p->reduce;
    return (r == 1 || r == 2 || r == 4 || r == 8) && p->top >= 0 && p->left >= 0 && p->rows >= 1 && p->columns >= 1 &&
           p->rows <= p->height && p->columns <= p->width && p->top <= p->height - p->rows &&
           p->left <= p->width - p->columns && p->top % r == 0 && p->left % r == 0;
}

/* Whether all of `inner` is in `outer`, at the same size. */
static inline int32_t cvr_part_covers(const cvr_part *outer, const cvr_part *inner) {
    return outer->height == inner->height && outer->width == inner->width && outer->top <= inner->top &&
           outer->left <= inner->left && outer->top + outer->rows >= inner->top + inner->rows &&
           outer->left + outer->columns >= inner->left + inner->columns;
}

/*
 * How a decoder learns which part of a picture is wanted. Once it knows the size it calls choose(), once, and decodes
 * at least what choose() put into `want`, at a reduction of want->reduce or less. It then says in `given` what it has
 * decoded; pixels outside of `want` may be anything. Inside of it they are those of the whole picture, bit for bit,
 * where given->reduce is 1. A decoder that does not care never calls choose().
 */
typedef struct cvr_part_request {
    uint64_t struct_size;
    void *ctx;
    int32_t (*choose)(const struct cvr_part_request *r, int64_t height, int64_t width, int64_t channels, cvr_part *want,
                      cvr_error *err);
    cvr_part *given;
} cvr_part_request;

/* More pixels than this are not decoded, unless someone says so: as PIL, which takes them for an attack on memory. */
#define CVR_MAX_PIXELS UINT64_C(178956970)

/* The arguments of decode_part() and of a codec; `request` may be NULL: the whole picture. A picture of more than
 * `max_pixels` is refused by its header; 0 stands for CVR_MAX_PIXELS, or in a call of the service for what
 * data.max_pixels says.
 * `exact` is for masks, whose pixels are numbers or names of classes, not light. A format that does not keep pixels as
 * they were is refused. With `channels` 3 colours come as ever; with 0 a palette's indices and numbers of grey come as
 * they are stored, in one channel (more than 255 is an error), and only what is stored in colours comes as RGB. */
typedef struct cvr_picture_job {
    uint64_t struct_size;
    const uint8_t *bytes;
    uint64_t n;
    uint64_t channels;
    cvr_alloc_fn alloc;
    void *alloc_ctx;
    const cvr_part_request *request;
    cvr_image *out;
    uint64_t max_pixels;
    uint64_t exact; /* 0 or 1 */
} cvr_picture_job;

/*
 * "cvr.host.image/1": pictures by whichever codec knows their first bytes.
 * decode: `channels` is 1 (grey, ITU-R 601-2 luma), 3 (RGB) or 0 (grey stays grey, all else is RGB). `alloc` gives the
 * memory for the pixels. Alpha is dropped, palettes are applied, 16 bits become 8 by their high byte, EXIF orientation
 * is applied. decode_part: the same, of the part that the request asks for. encode: `format` is a codec's name ("png");
 * the bytes go to `sink`, which returns a status.
 */
typedef int32_t (*cvr_sink_fn)(void *ctx, const void *bytes, uint64_t n, cvr_error *err);

#define CVR_SERVICE_IMAGE "cvr.host.image/1"
typedef struct cvr_image_service {
    uint64_t struct_size;
    void *ctx;
    int32_t (*decode)(const struct cvr_image_service *s, const uint8_t *bytes, uint64_t n, uint32_t channels,
                      cvr_alloc_fn alloc, void *alloc_ctx, cvr_image *out, cvr_error *err);
    int32_t (*encode)(const struct cvr_image_service *s, const char *format, const cvr_image *image, cvr_sink_fn sink,
                      void *sink_ctx, cvr_error *err);
    int32_t (*decode_part)(const struct cvr_image_service *s, const cvr_picture_job *job, cvr_error *err);
    /* 1 where a file of this name ends as some codec's pictures do (".png", in any case). */
    int32_t (*is_picture)(const struct cvr_image_service *s, const char *name);
} cvr_image_service;

/*
 * "cvr.host.config/1": the effective settings. get() returns the text of a key, or NULL; `origin` (may be NULL) gets
 * where it was set ("default", "recipe.ini:12", "command line"). While settings are gathered there are no defaults yet.
 * Both live until the next call; call it from the thread that called you.
 */
#define CVR_SERVICE_CONFIG "cvr.host.config/1"
typedef struct cvr_config_service {
    uint64_t struct_size;
    void *ctx;
    const char *(*get)(const struct cvr_config_service *s, const char *section, const char *key, const char **origin);
} cvr_config_service;

/*
 * "cvr.host.profiler/1": a backend brackets each launch with begin() and end() while `enabled` says so. `node` is the
 * launch's number, `recording` the id that the backend was given with it. One that only queues launches says afterwards
 * by spent() from when to when each ran, in seconds of the device's own clock; from any thread.
 */
#define CVR_SERVICE_PROFILER "cvr.host.profiler/1"
typedef struct cvr_profiler {
    uint64_t struct_size;
    void *ctx;
    int32_t (*enabled)(const struct cvr_profiler *p);
    void (*begin)(const struct cvr_profiler *p, uint64_t recording, uint64_t node);
    void (*end)(const struct cvr_profiler *p, uint64_t recording, uint64_t node);
    void (*spent)(const struct cvr_profiler *p, uint64_t recording, uint64_t node, double begin_s, double end_s);
} cvr_profiler;

/*
 * "cvr.host.launches/1": a backend that runs launches on the thread that called `replay` says which one runs, so that a
 * kernel that faults or does not return is named with its node. current() gives the place of this thread, until
 * `replay` returns, or NULL; the address of the cvr_launch goes there by cvr_launch_note(), and NULL when it is done.
 */
#define CVR_SERVICE_LAUNCHES "cvr.host.launches/1"
struct cvr_launch;
typedef struct cvr_launch_service {
    uint64_t struct_size;
    void *ctx;
    const struct cvr_launch **(*current)(const struct cvr_launch_service *s);
} cvr_launch_service;

/* One store, which another thread may look at. */
static inline void cvr_launch_note(const struct cvr_launch **place, const struct cvr_launch *launch) {
#if defined(__GNUC__)
    if (place) __atomic_store_n(place, launch, __ATOMIC_RELAXED);
#else
    if (place) *place = launch;
#endif
}

/*
 * "cvr.host.state/1": what a plugin wants to find again when a run goes on: bytes by a name with a prefix of its own
 * ("acme.scale"), kept in the checkpoint. put() copies (n 0: forgets the name); what is there when a checkpoint is
 * written is in it. On resume all is back before any plugin is asked for anything but to load. get() gives the bytes,
 * 8-byte aligned, which live until the next put() of that name, or NULL. At most CVR_STATE_NAMES names of
 * CVR_STATE_BYTES bytes each. From the thread that called you.
 */
#define CVR_SERVICE_STATE "cvr.host.state/1"
#define CVR_STATE_NAMES 256u
#define CVR_STATE_BYTES (16u << 20)
typedef struct cvr_state_service {
    uint64_t struct_size;
    void *ctx;
    int32_t (*put)(const struct cvr_state_service *s, const char *name, const void *bytes, uint64_t n, cvr_error *err);
    const void *(*get)(const struct cvr_state_service *s, const char *name, uint64_t *n);
} cvr_state_service;

/*
 * "cvr.host.tuning/1": choices that were made by timing, so that a run that goes on makes the same ones: they are in
 * the checkpoint, and in the cache folder for other runs. A key has a prefix of its maker's and names all that the
 * choice depends on: device, driver, library versions, the problem ("cuda/sm_90/cudnn 9.19/conv 64x56x56 ..."). get():
 * the choice, or NULL; it lives until the next put(). From the thread that called you. At most 1000 bytes each.
 */
#define CVR_SERVICE_TUNING "cvr.host.tuning/1"
typedef struct cvr_tuning_service {
    uint64_t struct_size;
    void *ctx;
    const char *(*get)(const struct cvr_tuning_service *s, const char *key);
    int32_t (*put)(const struct cvr_tuning_service *s, const char *key, const char *choice, cvr_error *err);
} cvr_tuning_service;

/*
 * "cvr.host.cache/1": bytes in files of the user's cache folder, for what takes long to make and can be made again
 * (compiled pipelines). put() replaces the whole file or nothing. get() gives back what put() was given, to the byte,
 * or *n = 0 where there is nothing, or it is damaged, which is said in a warning. `name` is as a name of a plugin's.
 */
#define CVR_SERVICE_CACHE "cvr.host.cache/1"
typedef struct cvr_cache_service {
    uint64_t struct_size;
    void *ctx;
    int32_t (*get)(const struct cvr_cache_service *s, const char *name, cvr_alloc_fn alloc, void *alloc_ctx,
                   uint64_t *n, cvr_error *err);
    int32_t (*put)(const struct cvr_cache_service *s, const char *name, const void *bytes, uint64_t n, cvr_error *err);
} cvr_cache_service;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_host) == 48, "cvr_host has padding");
CVR_STATIC_ASSERT(sizeof(cvr_threadpool) == 32, "cvr_threadpool has padding");
CVR_STATIC_ASSERT(sizeof(cvr_image) == 48, "cvr_image has padding");
CVR_STATIC_ASSERT(sizeof(cvr_image_service) == 48, "cvr_image_service has padding");
CVR_STATIC_ASSERT(sizeof(cvr_part) == 64, "cvr_part has padding");
CVR_STATIC_ASSERT(sizeof(cvr_part_request) == 32, "cvr_part_request has padding");
CVR_STATIC_ASSERT(sizeof(cvr_picture_job) == 80, "cvr_picture_job has padding");
CVR_STATIC_ASSERT(sizeof(cvr_config_service) == 24, "cvr_config_service has padding");
CVR_STATIC_ASSERT(sizeof(cvr_launch_service) == 24, "cvr_launch_service has padding");
CVR_STATIC_ASSERT(sizeof(cvr_state_service) == 32, "cvr_state_service has padding");
CVR_STATIC_ASSERT(sizeof(cvr_tuning_service) == 32, "cvr_tuning_service has padding");
CVR_STATIC_ASSERT(sizeof(cvr_cache_service) == 32, "cvr_cache_service has padding");
CVR_STATIC_ASSERT(sizeof(cvr_profiler) == 48, "cvr_profiler has padding");

#endif
