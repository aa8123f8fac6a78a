/*
 * The transforms on a test host.
 */
#include "augment_case.h"
#include <criterion/criterion.h>
#include <cvr/config.h>

test_host augment_host;

void augment_load(void) {
    test_host_init(&augment_host);
    test_host_load(&augment_host, "weights_safetensors");
    test_host_load(&augment_host, "augment_basic");
    test_host_load(&augment_host, "augment_geometry");
    test_host_load(&augment_host, "augment_colour");
    test_host_load(&augment_host, "augment_auto");
    test_host_load(&augment_host, "augment_boxes");
    test_host_load(&augment_host, "augment_erase");
    test_host_load(&augment_host, "augment_mix");
}

const cvr_augment_desc *transform(const char *name) {
    return test_host_find(&augment_host, CVR_KIND_AUGMENT, name);
}

void *settings_of(const cvr_augment_desc *d, const char *text, cvr_error *err) {
    const cvr_schema schema = {d->attrs, d->n_attrs};
    void *packed = NULL;
    if (cvr_attrs_parse(&schema, text, NULL, d->name, &packed, err) != CVR_OK) return NULL;
    if (!d->check || d->check(packed, err) == CVR_OK) return packed;
    cvr_free(packed);
    return NULL;
}

void expect_settings_refused(const char *const (*list)[2], size_t n) {
    for (size_t i = 0; i < n; i++) {
        cvr_error err;
        cvr_error_init(&err);
        void *const attrs = settings_of(transform(list[i][0]), list[i][1], &err);
        cr_expect_null(attrs, "%s %s was taken", list[i][0], list[i][1]);
        cr_expect(err.message[0], "no message");
        cvr_free(attrs);
    }
}
