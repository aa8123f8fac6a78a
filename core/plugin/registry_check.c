/* What a descriptor must be beyond what the registry's table of fields can say. */
#include "registry.h"

#define LARGEST_PAYLOAD (1u << 20)

static int32_t check_augment(const cvr_augment_desc *d, cvr_error *err) {
    const int n = !!d->part_size + !!d->part_source + !!d->part_apply;
    return n == 0 || n == 3
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_PLUGIN,
                          "augment: `%s` has some of part_size, part_source and part_apply; all or none", d->name);
}

static int32_t check_kernel(const cvr_kernel_desc *k, cvr_error *err) {
    const uint64_t least = strcmp(k->payload_kind, CVR_PAYLOAD_CPU_FN) == 0 ? sizeof(cvr_cpu_fn) : sizeof(uint64_t);
    const void *payloads[] = {k->payload, k->prepare};
    for (int i = 0; i < 2; i++) {
        const uint64_t size = payloads[i] ? payload_size(payloads[i]) : least;
        if (size < least || size > LARGEST_PAYLOAD)
            return cvr_fail(err, CVR_ERR_PLUGIN, "a kernel for %s has a payload `%s` of %llu bytes by its struct_size",
                            k->op, k->payload_kind, (unsigned long long)size);
    }
    const int n = !!k->prepares + !!k->prepared_size + !!k->prepare;
    return n == 0 || n == 3
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_PLUGIN,
                          "a kernel for %s has some of prepares, prepared_size and prepare; all or none", k->op);
}

int32_t registry_check(const char *kind, const void *desc, cvr_error *err) {
    if (strcmp(kind, CVR_KIND_AUGMENT) == 0) return check_augment(desc, err);
    return strcmp(kind, CVR_KIND_KERNEL) == 0 ? check_kernel(desc, err) : CVR_OK;
}
