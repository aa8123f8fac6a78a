/*
 * The first batch as the network sees it. What the device does of the transforms, mixing above all, is not in the
 * pictures that leave the host, but their labels are mixed already: shown together they would not belong together. So
 * the device's part is run once by itself, and the picture is what comes out of it.
 */
#include "trainer.h"

/* Numbers that were drawn for transforms of the device are fields of no kind; so are counts of ragged axes and the
 * sizes of padded pictures. */
static bool is_drawn(const cvr_batch_view *b) {
    for (uint32_t i = 0; i < b->n_fields; i++) {
        const cvr_named_tensor *f = b->fields[i];
        const size_t n = strlen(f->name);
        const bool counts = n > 6 && strcmp(f->name + n - 6, "_count") == 0;
        if (!*f->kind && !counts && strcmp(f->name, "image_size") != 0) return true;
    }
    return false;
}

/* The image of the batch replaced by what the device makes of it, in `pixels`; free with cvr_free. */
static int32_t run_transforms(trainer *t, const cvr_batch *b, cvr_named_tensor *image, void **pixels, cvr_error *err) {
    const program_key key = {.purpose = PROGRAM_SHOWN, .batch = b->view.n, .canvas = b->canvas};
    const net_scalars at = {.loss_scale = 1, .seed = t->s->set.run->seed};
    net_program *p;
    CVR_TRY(network_program(&t->s->net, &key, &p, err));
    CVR_TRY(net_program_run(p, &b->view, &at, err));
    const int32_t slot = cvr_program_slot(p->program, SHOWN);
    const cvr_type *type = cvr_program_slot_type(p->program, slot);
    *pixels = cvr_alloc_aligned((uint64_t)cvr_numel(type->rank, type->shape) * sizeof(float) + 8, 64);
    if (!*pixels) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY(cvr_program_read(p->program, slot, *pixels, err));
    *image = *b->view.fields[0];
    image->tensor.dtype = type->dtype;
    image->tensor.data = *pixels;
    return CVR_OK;
}

int32_t tell_first_batch(trainer *t, const cvr_batch *b, cvr_error *err) {
    if (t->s->net.probes) return CVR_OK; /* features are no pictures */
    if (!is_drawn(&b->view)) return tell_batch(t, "train_batch0", b, NULL, err);
    cvr_batch shown = *b;
    cvr_named_tensor image;
    void *pixels = NULL;
    const cvr_named_tensor **fields = cvr_calloc(b->view.n_fields, sizeof *fields);
    int32_t status;
    if (!fields) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(run_transforms(t, b, &image, &pixels, err));
    memcpy(fields, b->view.fields, b->view.n_fields * sizeof *fields);
    fields[0] = &image;
    shown.view.fields = fields;
    CVR_TRY_OUT(tell_batch(t, "train_batch0", &shown, NULL, err));
out:
    cvr_free((void *)(uintptr_t)fields);
    cvr_free(pixels);
    return status;
}
