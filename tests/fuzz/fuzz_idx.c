/* Fuzz target: plugins/datasets/idx. An input is a file of pictures or one of labels, plain or gzip; the other is
 * whole. */
#include "fuzz_dataset.h"

typedef struct idx_attrs {
    const char *train_images, *train_labels, *val_images, *val_labels;
    int64_t classes;
} idx_attrs;

static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 0, 2, 1};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const uint64_t number = fuzz_number(bytes, n);
    const int pictures = n > 3 && bytes[3] == 3;
    const idx_attrs attrs = {"", "", "", "", number / 16 % 3 ? 0 : 10};
    (void)fuzz_file("train-images-idx3-ubyte", images, sizeof images);
    (void)fuzz_file("train-labels-idx1-ubyte", labels, sizeof labels);
    fuzz_gzip_file(pictures ? "train-images-idx3-ubyte" : "train-labels-idx1-ubyte", bytes, n, number);
    if (number / 64 % 2) /* whose labels are counted as well */
        (void)fuzz_file("t10k-labels-idx1-ubyte", bytes, n);
    else
        (void)fuzz_file("t10k-labels-idx1-ubyte", NULL, 0);
    /* Three streams with inflate's window, and what the bytes could be at gzip's best. */
    fuzz_dataset(&attrs, CVR_SPLIT_TRAIN, number / 8 % 2 ? 3 : 0, (1u << 20) + 3 * 1100 * (uint64_t)(n + 64));
    return 0;
}
