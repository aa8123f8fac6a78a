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
    uint64_t logs; /* lines that were logged */
} fuzz_host;

void fuzz_host_init(fuzz_host *h, uint64_t most);

/* Ends the program with this text unless `ok`; the driver says which input it was. */
void fuzz_check(int ok, const char *format, ...) CVR_PRINTF(2, 3);
/* A status that is not CVR_OK comes with one line of text. Of what a user wrote himself it may quote any byte: who
 * shows it to a terminal cleans it. */
void fuzz_check_line(int32_t status, const cvr_error *err);
/* The same, and it was not cut and has no control characters: for messages about files that others made. */
void fuzz_check_error(int32_t status, const cvr_error *err);
/* A number that depends on the input's bytes: how a target puts them to use. */
uint64_t fuzz_number(const uint8_t *bytes, size_t n);
/* Writes a file into a folder of this process, which goes at the end, and returns its path, which lives until then. One
 * file a name; `bytes` NULL removes it. */
const char *fuzz_file(const char *name, const void *bytes, size_t n);
const char *fuzz_folder(void);
/* A cvr_alloc_fn: malloc into the fuzz_block at `ctx`, freeing what is there. */
typedef struct fuzz_block {
    void *p;
    uint64_t n;
} fuzz_block;
void *fuzz_alloc_one(void *ctx, uint64_t n);
/* Reads every byte, so that memory that is not the target's own is noticed. */
void fuzz_touch(const void *bytes, uint64_t n);

#endif
