/*
 * The transforms of augment/ on a test host, for the tests of all of them.
 */
#ifndef CVR_TEST_AUGMENT_CASE_H
#define CVR_TEST_AUGMENT_CASE_H

#include "../support/test_host.h"

extern test_host augment_host;
/* `.init` of a suite: loads the plugins. */
void augment_load(void);
const cvr_augment_desc *transform(const char *name);
/* Settings as a recipe has them, packed and checked, for cvr_free(); NULL where they are refused, with `err` filled. */
void *settings_of(const cvr_augment_desc *d, const char *text, cvr_error *err);
/* Name and settings of n transforms, each of which is refused with a message. */
void expect_settings_refused(const char *const (*list)[2], size_t n);

#endif
