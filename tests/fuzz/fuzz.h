/*
 * What a fuzz target is: one function over bytes, by the name that libFuzzer knows as well. It must answer for any
 * bytes: with CVR_OK, or with a status and one line. What the sanitizers do not see it says by fuzz_check.
 *
 * A target is a file fuzz_NAME.c and one line in tests/CMakeLists.txt.
 */
#ifndef CVR_FUZZ_H
#define CVR_FUZZ_H

#include <cvr/plugin/plugin.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* A host that counts its blocks and refuses those larger than any input is worth. */
typedef struct fuzz_host {
    cvr_host host;
    int64_t live;  /* blocks that are allocated now */
    uint64_t used; /* bytes asked for, in all */
    uint64_t most; /* a larger block gets NULL */
} fuzz_host;

void fuzz_host_init(fuzz_host *h, uint64_t most);

/* Ends the program with this text unless `ok`; the driver says which input it was. */
void fuzz_check(int ok, const char *format, ...) CVR_PRINTF(2, 3);
/* A status that is not CVR_OK comes with one line of text that was not cut. */
void fuzz_check_error(int32_t status, const cvr_error *err);
/* Reads every byte, so that memory that is not the target's own is noticed. */
void fuzz_touch(const void *bytes, uint64_t n);

#endif
