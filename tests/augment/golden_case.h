/*
 * Cases of transforms in a golden file: a case NAME has the tensors NAME/FIELD, see tests/parity/augment.py.
 */
#ifndef CVR_TEST_GOLDEN_CASE_H
#define CVR_TEST_GOLDEN_CASE_H

#include "augment_case.h"

void golden_text(const test_tensors *t, const char *name, const char *field, char *buf, size_t size);
/* `got` is what the case says, in type and shape, and as near as its field `tol` allows. */
void golden_expect(const test_tensors *t, const char *name, const char *field, const char *tol, const cvr_field *got);
/* What make_params would have drawn; returns how many numbers. */
uint32_t golden_numbers(const test_tensors *t, const char *name, double *params);
/* The transform of the case, and its settings, for cvr_free(). */
void *golden_attrs(const test_tensors *t, const char *name, const cvr_augment_desc **d);

#endif
