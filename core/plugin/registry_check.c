/* What a descriptor must be beyond what the registry's table of fields can say. */
#include "registry.h"
#include <cvr/plugin/elementwise_steps.h>

/* "op acme.bad: `prepares`, ... : why". */
static int32_t refuse(cvr_error *err, const char *what, const char *fields, const char *why) {
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s: %s: %s", what, fields, why);
}

static int32_t check_augment(const cvr_augment_desc *d, const char *what, cvr_error *err) {
    const int n = !!d->part_size + !!d->part_source + !!d->part_apply;
    const bool batch = d->stage == CVR_STAGE_BATCH, many = d->n_samples > 1;
    if (!d->apply != (batch || many) || !d->apply_many != !many || !d->apply_batch != !batch)
        return refuse(err, what, "`apply`, `apply_many`, `apply_batch`",
                      "it has the one of them that goes with its `stage` and `n_samples`");
    if (many && batch) return refuse(err, what, "`n_samples`", "a transform of batches takes no several samples");
    if ((d->fresh || d->alone) && !many)
        return refuse(err, what, "`fresh`, `alone`", "it takes no other samples (`n_samples`)");
    if (d->closes && d->stage != CVR_STAGE_SAMPLE)
        return refuse(err, what, "`closes`", "only a transform of CVR_STAGE_SAMPLE can be left out of some epochs");
    if (d->closes && n)
        return refuse(err, what, "`closes`, `part_size`",
                      "a transform that some epochs do without cannot work part by part");
    if (d->n_params && !d->make_params) return refuse(err, what, "`n_params`", "nobody draws them: no `make_params`");
    return n == 0 || n == 3 ? CVR_OK
                            : refuse(err, what, "`part_size`, `part_source`, `part_apply`", "all three or none");
}

static int32_t check_kernel(const cvr_kernel_desc *k, const char *what, cvr_error *err) {
    const bool host = cvr_kernel_is_host(k); /* other payloads are judged by the backend that they are for */
    const uint64_t least = host ? sizeof(cvr_cpu_fn) : sizeof(uint64_t);
    const void *payloads[] = {k->payload, k->prepare};
    static const char *const names[] = {"payload", "prepare"};
    for (int i = 0; i < 2; i++) {
        const uint64_t size = payloads[i] ? leading_size(payloads[i]) : least;
        if (size < least)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s->struct_size` is %llu; a payload `%.40s` has %llu or more",
                            what, names[i], (unsigned long long)size, k->payload_kind, (unsigned long long)least);
        if (host && payloads[i] && !((const cvr_cpu_fn *)payloads[i])->run)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s->run` is missing (NULL)", what, names[i]);
    }
    const int n = !!k->prepares + !!k->prepared_size + !!k->prepare;
    return n == 0 || n == 3 ? CVR_OK : refuse(err, what, "`prepares`, `prepared_size`, `prepare`", "all three or none");
}

/* Those that the core and the plugins beside it ask for. */
static const struct {
    const char *name;
    uint64_t size;
} traits[] = {{CVR_TRAIT_PRECISION, sizeof(cvr_precision_trait)},
              {CVR_TRAIT_RECOMPUTE, sizeof(cvr_recompute_trait)},
              {CVR_TRAIT_MULTI_TENSOR, sizeof(cvr_multi_tensor_trait)},
              {CVR_TRAIT_COLUMN_SUM, sizeof(cvr_column_sum_trait)},
              {CVR_TRAIT_COUNTS, sizeof(cvr_counts_trait)},
              {CVR_TRAIT_ELEMENTWISE, sizeof(cvr_elementwise_trait)}};

/* Bits past the inputs that there are. */
static bool past(uint64_t bits, uint32_t inputs) {
    return inputs < 64 && bits >> inputs;
}

static int32_t check_traits(const cvr_op_desc *d, const char *what, cvr_error *err) {
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++) {
        const void *t = cvr_op_trait(d, traits[i].name);
        if (t && leading_size(t) < traits[i].size)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `trait` gives %s with a `struct_size` of %llu; it has %llu", what,
                            traits[i].name, (unsigned long long)leading_size(t), (unsigned long long)traits[i].size);
    }
    const cvr_elementwise_trait *e = cvr_op_trait(d, CVR_TRAIT_ELEMENTWISE);
    return !e || e->steps ? CVR_OK : refuse(err, what, "`trait`", "it is elementwise without `steps`");
}

/* Nodes keep attributes as bytes, longer than the text of a recipe lives. */
static int32_t check_op(const cvr_op_desc *d, const char *what, cvr_error *err) {
    for (uint32_t i = 0; i < d->n_attrs; i++)
        if (d->attrs[i]->kind == CVR_ATTR_STRING || d->attrs[i]->kind == CVR_ATTR_PATH)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: attribute `%s` is text, which no op can have", what,
                            d->attrs[i]->name);
    if (d->min_inputs > d->max_inputs)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `min_inputs` is %u, `max_inputs` %u", what, d->min_inputs,
                        d->max_inputs);
    if (past(d->mutates, d->max_inputs) || past(d->optional, d->max_inputs))
        return refuse(err, what, past(d->mutates, d->max_inputs) ? "`mutates`" : "`optional`",
                      "it has bits of inputs past `max_inputs`");
    if (!d->n_outputs && !d->mutates)
        return refuse(err, what, "`n_outputs`", "0, and it `mutates` nothing: it would never run");
    if ((d->flags & CVR_OP_ALIAS) && (d->n_outputs != 1 || !d->min_inputs || d->mutates))
        return refuse(err, what, "`flags`", "CVR_OP_ALIAS is for ops with an input and one output that change nothing");
    return check_traits(d, what, err);
}

static int32_t check_layer(const cvr_layer_desc *d, const char *what, cvr_error *err) {
    if (d->min_inputs <= d->max_inputs) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s: `min_inputs` is %u, `max_inputs` %u", what, d->min_inputs, d->max_inputs);
}

static int32_t check_field(const cvr_field_kind *k, const char *what, cvr_error *err) {
    if (k->dtype && !cvr_dtype_size(k->dtype)) return refuse(err, what, "`dtype`", "no element type");
    if (k->axis && !k->rank) return refuse(err, what, "`axis`", "its rank is 0");
    if (k->height_axis == CVR_NO_AXIS || (k->height_axis < k->rank && k->rank - k->height_axis >= 2)) return CVR_OK;
    return refuse(err, what, "`height_axis`", "none of its axes with another behind it");
}

static int32_t check_wants(const cvr_task_desc *d, const char *what, cvr_error *err) {
    for (uint32_t i = 0; i < d->n_wants; i++)
        if (d->wants[i]->optional > 1 || (d->wants[i]->dtype && !cvr_dtype_size(d->wants[i]->dtype)))
            return refuse(err, what, "`wants`", "an element type that is none, or `optional` is not 0 or 1");
    return CVR_OK;
}

/* One recipe may have keys of several backends in [backend]. `plugin` is the vendor's library of whichever has that
 * key. */
static int32_t check_backend(const cvr_backend_desc *d, const char *what, cvr_error *err) {
    const size_t n = strlen(d->name);
    for (uint32_t i = 0; i < d->n_attrs; i++)
        if (strcmp(d->attrs[i]->name, "plugin") != 0 &&
            (strncmp(d->attrs[i]->name, d->name, n) != 0 || d->attrs[i]->name[n] != '_'))
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "%s: `attrs[%u]` is `%.40s`; a backend's keys but `plugin` begin with its name, %.40s_",
                            what, i, d->attrs[i]->name, d->name);
    return !d->pin == !d->unpin ? CVR_OK : refuse(err, what, "`pin`, `unpin`", "both or none");
}

static int32_t check_compressor(const cvr_compressor_desc *d, const char *what, cvr_error *err) {
    const cvr_finetune *f = CVR_HAS(d, finetune) ? d->finetune : NULL;
    if (!f || (f->struct_size >= sizeof *f && f->settings && f->stage && f->rewrite && f->convert)) return CVR_OK;
    return refuse(err, what, "`finetune`", "its `struct_size` makes no sense, or a callback is missing");
}

int32_t registry_check(const char *kind, const void *desc, const char *what, cvr_error *err) {
    if (strcmp(kind, CVR_KIND_AUGMENT) == 0) return check_augment(desc, what, err);
    if (strcmp(kind, CVR_KIND_OP) == 0) return check_op(desc, what, err);
    if (strcmp(kind, CVR_KIND_LAYER) == 0) return check_layer(desc, what, err);
    if (strcmp(kind, CVR_KIND_FIELD) == 0) return check_field(desc, what, err);
    if (strcmp(kind, CVR_KIND_BACKEND) == 0) return check_backend(desc, what, err);
    if (strcmp(kind, CVR_KIND_COMPRESSOR) == 0) return check_compressor(desc, what, err);
    if (strcmp(kind, CVR_KIND_TASK) == 0) return check_wants(desc, what, err);
    return strcmp(kind, CVR_KIND_KERNEL) == 0 ? check_kernel(desc, what, err) : CVR_OK;
}
