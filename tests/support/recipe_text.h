/* A recipe from a text, for tests by Criterion. Its tests run side by side, so that no two may write one file. */
#ifndef CVR_TEST_RECIPE_TEXT_H
#define CVR_TEST_RECIPE_TEXT_H

#include <criterion/criterion.h>
#include <cvr/config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline cvr_config *recipe_of_text(const char *text) {
    char path[] = "/tmp/cvr_recipe_XXXXXX";
    cvr_config *c = NULL;
    cvr_error err = CVR_ERROR_INIT;
    const int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(close(file), 0);
    const int32_t status = cvr_config_load(&c, path, &err);
    (void)unlink(path);
    cr_assert_eq(status, CVR_OK, "%s", err.message);
    return c;
}

#endif
