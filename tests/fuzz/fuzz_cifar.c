/*
 * Fuzz target: plugins/datasets/cifar. An input is a file of records, plain or gzip; or, where it begins with a letter,
 * the names of the classes.
 */
#include "fuzz_dataset.h"

typedef struct cifar_attrs {
    int64_t coarse;
} cifar_attrs;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const uint8_t record[2 + 3 * 1024] = {3, 4};
    const uint64_t number = fuzz_number(bytes, n);
    const int names = n > 0 && (bytes[0] | 32) >= 'a' && (bytes[0] | 32) <= 'z', hundred = number / 8 % 2 == 0;
    const cifar_attrs attrs = {hundred && number / 16 % 2};
    const char *const file = hundred ? "test.bin" : "test_batch.bin";
    (void)fuzz_file(hundred ? "test_batch.bin" : "test.bin", NULL, 0);
    if (names)
        (void)fuzz_file(file, record, sizeof record - !hundred);
    else
        fuzz_gzip_file(file, bytes, n, number);
    static const char *const lists[] = {"batches.meta.txt", "fine_label_names.txt", "coarse_label_names.txt"};
    for (int i = 0; i < 3; i++) {
        if (names)
            fuzz_gzip_file(lists[i], bytes, n, number);
        else
            (void)fuzz_file(lists[i], NULL, 0);
    }
    /* The first block of records, twice what the bytes could be at gzip's best, and its windows. */
    fuzz_dataset(&attrs, CVR_SPLIT_VAL, number / 32 % 2 ? 1 : 3, (4u << 20) + 4 * 1100 * (uint64_t)n);
    return 0;
}
