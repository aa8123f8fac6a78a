/* One op of object detection as a case: inputs are added one by one, all outputs are read back. */
#ifndef CVR_TEST_DETECT_CASE_H
#define CVR_TEST_DETECT_CASE_H

#include "layer_case.h"
#include <criterion/criterion.h>
#include <stdarg.h>

/* "op:nms@*" with settings. */
static inline layer_case detect_case(const char *op, const char *format, ...) CVR_PRINTF(2, 3);
static inline layer_case detect_case(const char *op, const char *format, ...) {
    layer_case c = {.training = true};
    va_list ap;
    (void)snprintf(c.layer, sizeof c.layer, "op:%s@*", op);
    va_start(ap, format);
    (void)vsnprintf(c.settings, sizeof c.settings, format, ap);
    va_end(ap);
    return c;
}

/* `data` NULL: zeros. Returns where the numbers lie. */
static inline void *detect_add(layer_case *c, uint32_t dtype, uint32_t rank, const int64_t *shape, const void *data) {
    case_tensor *t = &c->inputs[c->n_inputs++];
    cvr_type type;
    cvr_type_set(&type, dtype, rank, shape);
    cr_assert(case_tensor_set(t, "in", &type, data));
    t->constant = true;
    return t->data;
}

#define DETECT_SHAPE(...) ((const int64_t[]){__VA_ARGS__})
/* An input of the numbers that follow: detect_list(&c, CVR_I64, int64_t, 3, 0, 1, 2) is (3). */
#define detect_list(c_, dtype_, type_, n_, ...)                                                                        \
    detect_add(c_, dtype_, 1, DETECT_SHAPE(n_), (const type_[]){__VA_ARGS__})

static inline case_machine detect_machine(const char *backend, const char *isa, uint32_t threads) {
    case_machine m;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(machine_open(&m, backend, isa, threads, &err), CVR_OK, "%s: %s", backend, err.message);
    return m;
}

#endif
