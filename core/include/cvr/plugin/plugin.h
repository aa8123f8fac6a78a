/*
 * The one header that a plugin needs, and the one symbol that it exports.
 *
 *     CVR_EXPORT const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor);
 *
 * cvr_plugin_query is pure: no threads, no device, no I/O. It always returns its header, also to a host that it cannot
 * work with, so that the refusal can say why. `load` only registers.
 */
#ifndef CVR_PLUGIN_PLUGIN_H
#define CVR_PLUGIN_PLUGIN_H

#include "abi.h"
#include "attr.h"
#include "axes.h"
#include "backend.h"
#include "bf16.h"
#include "codec.h"
#include "compressor.h"
#include "data.h"
#include "device.h"
#include "distiller.h"
#include "elementwise_steps.h"
#include "exporter.h"
#include "f16.h"
#include "gradient.h"
#include "graph.h"
#include "host.h"
#include "kernel.h"
#include "layer.h"
#include "op.h"
#include "optimizer.h"
#include "pass.h"
#include "reporter.h"
#include "rng.h"
#include "task.h"
#include "text.h"
#include "trait.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_PLUGIN_MAGIC 0x314e494755505643ull /* "CVPUGIN1" */
#define CVR_PLUGIN_SYMBOL "cvr_plugin_query"

/* Kinds that the registrar takes, and the struct that `desc` is. */
#define CVR_KIND_OP "cvr.op/1"                 /* cvr_op_desc */
#define CVR_KIND_KERNEL "cvr.kernel/1"         /* cvr_kernel_desc */
#define CVR_KIND_LAYER "cvr.layer/1"           /* cvr_layer_desc */
#define CVR_KIND_MODEL "cvr.model/1"           /* cvr_model_desc */
#define CVR_KIND_TASK "cvr.task/1"             /* cvr_task_desc */
#define CVR_KIND_OPTIMIZER "cvr.optimizer/1"   /* cvr_optimizer_desc */
#define CVR_KIND_SCHEDULER "cvr.scheduler/1"   /* cvr_scheduler_desc */
#define CVR_KIND_GRADIENT "cvr.gradient/1"     /* cvr_gradient_desc */
#define CVR_KIND_PASS "cvr.pass/1"             /* cvr_pass_desc */
#define CVR_KIND_AUGMENT "cvr.augment/1"       /* cvr_augment_desc */
#define CVR_KIND_DATASET "cvr.dataset/1"       /* cvr_dataset_desc */
#define CVR_KIND_FIELD "cvr.field/1"           /* cvr_field_kind */
#define CVR_KIND_CODEC "cvr.codec/1"           /* cvr_codec_desc */
#define CVR_KIND_WEIGHTS "cvr.weights/1"       /* cvr_weights_desc */
#define CVR_KIND_EXPORTER "cvr.exporter/1"     /* cvr_exporter_desc */
#define CVR_KIND_COMPRESSOR "cvr.compressor/1" /* cvr_compressor_desc */
#define CVR_KIND_DISTILLER "cvr.distiller/1"   /* cvr_distiller_desc */
#define CVR_KIND_REPORTER "cvr.reporter/1"     /* cvr_reporter_desc */
#define CVR_KIND_BACKEND "cvr.backend/1"       /* cvr_backend_desc */

/* add() copies what it is given, deeply. All that a plugin adds takes effect when `load` returns CVR_OK, or none of it
 * does. */
typedef struct cvr_registrar {
    uint64_t struct_size;
    void *ctx;
    int32_t (*add)(const struct cvr_registrar *r, const char *kind, const void *desc, cvr_error *err);
} cvr_registrar;

/* Everything up to `shutdown` is frozen: a host reads it from a plugin of any version. */
typedef struct cvr_plugin {
    uint64_t magic;
    uint64_t struct_size;
    uint32_t abi_major, abi_minor;
    uint32_t min_host_minor;
    uint32_t reserved;
    const char *id;        /* "layer_conv"; others: "com.acme.swish" */
    const char *version;   /* "1.0.2" */
    const char *sanitizer; /* CVR_SANITIZER: host and plugin must agree */
    const char *requires_; /* what it needs of others, "op:relu layer:conv2d", or "" */
    int32_t (*load)(const cvr_host *host, const cvr_registrar *r, cvr_error *err);
    void (*shutdown)(void); /* NULL: nothing to do. Called before exit, in reverse order of loading. */
} cvr_plugin;

#if defined(__SANITIZE_ADDRESS__)
#define CVR_SANITIZER "address"
#elif defined(__SANITIZE_THREAD__)
#define CVR_SANITIZER "thread"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CVR_SANITIZER "address"
#elif __has_feature(thread_sanitizer)
#define CVR_SANITIZER "thread"
#endif
#endif
#ifndef CVR_SANITIZER
#define CVR_SANITIZER ""
#endif

CVR_EXPORT const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor);

/*
 * Defines the header and the one symbol of a plugin that has nothing to shut down: the last line of its file.
 *     CVR_DEFINE_PLUGIN("com.acme.swish", "1.0.0", "layer:conv2d", load)
 */
#define CVR_DEFINE_PLUGIN(id_, version_, requires_text, load_)                                                         \
    static const cvr_plugin cvr_this_plugin = {                                                                        \
        CVR_PLUGIN_MAGIC, sizeof(cvr_plugin), CVR_ABI_MAJOR, CVR_ABI_MINOR, CVR_ABI_MINOR, 0, id_,                     \
        version_,         CVR_SANITIZER,      requires_text, load_,         NULL};                                     \
    const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {                                     \
        (void)host_major;                                                                                              \
        (void)host_minor;                                                                                              \
        return &cvr_this_plugin;                                                                                       \
    }

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_registrar) == 24, "cvr_registrar has padding");
CVR_STATIC_ASSERT(sizeof(cvr_plugin) == 80, "cvr_plugin has padding");

#endif
