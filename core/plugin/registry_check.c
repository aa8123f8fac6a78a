/* What a descriptor must be beyond what the registry's table of fields can say. */
#include "registry.h"

#define LARGEST_PAYLOAD (1u << 20)

static int32_t check_augment(const cvr_augment_desc *d, cvr_error *err) {
    const int n = !!d->part_size + !!d->part_source + !!d->part_apply;
    const bool batch = d->stage == CVR_STAGE_BATCH, many = d->n_samples > 1;
    if (d->stage > CVR_STAGE_BATCH || d->n_params > CVR_AUGMENT_PARAMS || !d->apply != (batch || many) ||
        !d->apply_many != !many || !d->apply_batch != !batch)
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "augment: `%s` needs a stage, at most %u numbers, and the one apply that goes with its stage "
                        "and number of samples",
                        d->name, CVR_AUGMENT_PARAMS);
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

static int32_t check_field(const cvr_field_kind *k, cvr_error *err) {
    if (k->rank <= 4 && (!k->axis || k->rank) && (!k->dtype || cvr_dtype_size(k->dtype)) &&
        (k->height_axis == CVR_NO_AXIS || (k->height_axis < k->rank && k->rank - k->height_axis >= 2)))
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "field: `%s` has a rank past 4, or an axis or an element type that is none",
                    k->name);
}

int32_t registry_check(const char *kind, const void *desc, cvr_error *err) {
    if (strcmp(kind, CVR_KIND_AUGMENT) == 0) return check_augment(desc, err);
    if (strcmp(kind, CVR_KIND_FIELD) == 0) return check_field(desc, err);
    return strcmp(kind, CVR_KIND_KERNEL) == 0 ? check_kernel(desc, err) : CVR_OK;
}
