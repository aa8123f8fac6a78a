/*
 * A pack of CPU kernels: the plugin that registers cpu_pack_tables, compiled for one instruction set.
 *
 * CVR_PACK_NAME, CVR_PACK_ISA and CVR_PACK_PRIORITY come from the build. The core picks, kernel by kernel, the pack of
 * the highest priority whose instruction set the machine has.
 */
#include "kernels.h"

/* The core borrows payloads. */
static cvr_cpu_fn payloads[512];
#define MOST_PAYLOADS (sizeof payloads / sizeof *payloads)

static int32_t add_kernel(const cvr_registrar *r, const cpu_kernel *k, cvr_cpu_fn own[2], cvr_error *err) {
    static const cpu_preparation nothing;
    const cpu_preparation *kept = k->preparation ? k->preparation : &nothing;
    own[0] = (cvr_cpu_fn){.struct_size = sizeof *own, .run = k->run};
    own[1] = (cvr_cpu_fn){.struct_size = sizeof *own, .run = kept->run};
    const cvr_kernel_desc desc = {
        .struct_size = sizeof desc,
        .op = k->op,
        .backend = "cpu",
        .payload_kind = CVR_PAYLOAD_CPU_FN,
        .payload = &own[0],
        .isa = CVR_PACK_ISA,
        .op_version = 1,
        .priority = CVR_PACK_PRIORITY,
        .flags = k->flags,
        .inplace = k->inplace,
        .supports = k->supports,
        .workspace = k->workspace,
        .prepares = kept->inputs,
        .prepared_size = kept->size,
        .prepare = kept->run ? &own[1] : NULL,
    };
    return r->add(r, CVR_KIND_KERNEL, &desc, err);
}

const cvr_host *cpu_pack_host;

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    size_t used = 0;
    cpu_pack_host = host;
    for (const cpu_kernel_table *const *t = cpu_pack_tables; *t; t++)
        for (uint64_t i = 0; i < (*t)->n_kernels; i++, used += 2) {
            if (used + 2 > MOST_PAYLOADS)
                return cvr_fail(err, CVR_ERR_PLUGIN, "has more than %zu kernels", MOST_PAYLOADS / 2);
            CVR_TRY(add_kernel(r, &(*t)->kernels[i], &payloads[used], err));
        }
    return CVR_OK;
}

CVR_DEFINE_PLUGIN(CVR_PACK_NAME, "0.1.0", "", load)
