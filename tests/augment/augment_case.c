/*
 * The transforms on a stub host.
 */
#include "augment_case.h"
#include <cvr/config.h>

stub_host augment_host;

void augment_load(void) {
    stub_host_init(&augment_host);
    stub_host_load(&augment_host, "weights_safetensors");
    stub_host_load(&augment_host, "augment_basic");
    stub_host_load(&augment_host, "augment_geometry");
    stub_host_load(&augment_host, "augment_colour");
    stub_host_load(&augment_host, "augment_auto");
    stub_host_load(&augment_host, "augment_erase");
    stub_host_load(&augment_host, "augment_mix");
}

const cvr_augment_desc *transform(const char *name) {
    return stub_host_find(&augment_host, CVR_KIND_AUGMENT, name);
}

void *settings_of(const cvr_augment_desc *d, const char *text, cvr_error *err) {
    const cvr_schema schema = {d->attrs, d->n_attrs};
    void *packed = NULL;
    if (cvr_attrs_parse(&schema, text, NULL, d->name, &packed, err) != CVR_OK) return NULL;
    if (!d->check || d->check(packed, err) == CVR_OK) return packed;
    cvr_free(packed);
    return NULL;
}
