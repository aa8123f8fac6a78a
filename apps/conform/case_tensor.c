/* Tensors of a test case: copies of them, and how far two are apart. */
#include "layer_case.h"
#include <math.h>
#include <stdlib.h>

size_t case_bytes(const cvr_type *t) {
    return (size_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

bool case_tensor_set(case_tensor *t, const char *name, const cvr_type *type, const void *data) {
    const size_t bytes = case_bytes(type);
    memset(t, 0, sizeof *t);
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    t->type = *type;
    t->data = calloc(1, bytes + 1);
    if (t->data && data) memcpy(t->data, data, bytes);
    return t->data != NULL;
}

void layer_case_clear(layer_case *c) {
    for (uint32_t i = 0; i < CASE_MOST_IO; i++) {
        free(c->inputs[i].data);
        free(c->gradients[i].data);
    }
    for (uint32_t i = 0; i < CASE_MOST_PARAMS; i++) free(c->params[i].data);
    memset(c, 0, sizeof *c);
}

void case_result_clear(case_result *r) {
    for (uint32_t i = 0; i < r->n; i++) free(r->all[i].data);
    memset(r, 0, sizeof *r);
}

const case_tensor *case_result_find(const case_result *r, const char *name) {
    for (uint32_t i = 0; i < r->n; i++) {
        if (strcmp(r->all[i].name, name) == 0) return &r->all[i];
    }
    return NULL;
}

/* Units of relative * (|b| + max |b|) + absolute. */
static double distance(const case_tensor *a, const case_tensor *b, double relative, double absolute) {
    const size_t bytes = case_bytes(&b->type);
    if (a->type.dtype != b->type.dtype || case_bytes(&a->type) != bytes) return INFINITY;
    if (b->type.dtype != CVR_F32) return memcmp(a->data, b->data, bytes) == 0 ? 0 : INFINITY;
    const float *x = a->data, *y = b->data;
    double largest = 0, worst = 0;
    for (size_t i = 0; i < bytes / sizeof *y; i++) {
        if (isfinite(y[i]) && fabs((double)y[i]) > largest) largest = fabs((double)y[i]);
    }
    for (size_t i = 0; i < bytes / sizeof *y; i++) {
        if ((isnan(x[i]) && isnan(y[i])) || x[i] == y[i]) continue;
        const double far = fabs((double)x[i] - y[i]) / (relative * (fabs((double)y[i]) + largest) + absolute);
        if (!(far <= worst)) worst = isnan(far) ? INFINITY : far;
    }
    return worst;
}

double case_distance_by_terms(const case_tensor *a, const case_tensor *b, const case_tensor *sum, double relative) {
    const size_t bytes = case_bytes(&b->type);
    const float *x = a->data, *y = b->data, *s = sum->data;
    double worst = 0;
    if (b->type.dtype != CVR_F32) return distance(a, b, relative, 0);
    if (a->type.dtype != CVR_F32 || case_bytes(&a->type) != bytes || case_bytes(&sum->type) != bytes) return INFINITY;
    for (size_t i = 0; i < bytes / sizeof *y; i++) {
        if (x[i] == y[i]) continue;
        const double far = fabs((double)x[i] - y[i]) / (relative * fabs((double)s[i]));
        if (!(far <= worst)) worst = isnan(far) ? INFINITY : far;
    }
    return worst;
}

double case_distance(const case_tensor *a, const case_tensor *b, double relative) {
    return distance(a, b, relative, 0);
}

double case_distance_in(const layer_case *c, const case_tensor *a, const case_tensor *b, double relative) {
    return case_distance_rounded(c, a, b, relative, 22);
}

double case_distance_rounded(const layer_case *c, const case_tensor *a, const case_tensor *b, double relative,
                             int bits) {
    double largest = 0;
    int64_t terms = 0;
    if (strncmp(b->name, "gparam.", 7) != 0) return distance(a, b, relative, 0);
    for (uint32_t k = 0; k < c->n_gradients; k++) {
        const float *g = c->gradients[k].data;
        const int64_t n = g ? cvr_numel(c->gradients[k].type.rank, c->gradients[k].type.shape) : 0;
        for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)g[i]));
        terms += n;
    }
    return distance(a, b, relative, ldexp(sqrt((double)terms) * largest, -bits));
}
