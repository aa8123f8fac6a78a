/* Fuzz target: plugins/datasets/masks, tables of colours, and masks that are read by them. */
#include "../../plugins/datasets/masks/mask_values.h"
#include "fuzz.h"

static void check_table(const colour_table *t, const name_table *classes) {
    for (uint64_t i = 0; i < t->n; i++) {
        const colour_row *const row = &t->rows[i];
        fuzz_check(row->rgb < 1u << 24 && (!i || t->rows[i - 1].rgb < row->rgb), "colours that are not in order");
        fuzz_check(row->klass < classes->n || row->klass == MASK_IGNORED, "a class of no name");
        fuzz_check(colour_table_find(t, row->rgb) == row, "a colour that is not found");
    }
    fuzz_check(classes->n >= 1 && classes->n <= MASK_IGNORED, "%llu classes", (unsigned long long)classes->n);
    for (int64_t i = 0; i < (int64_t)classes->n; i++)
        fuzz_check(name_table_get(classes, i)[0] != '\0', "a class without a name");
}

/* The input's own bytes as a mask: each pixel gets a class of the table, or the mask is refused. */
static void check_mask(const colour_table *t, const name_table *classes, const uint8_t *bytes, size_t n) {
    uint8_t pixels[3 * 64];
    const mask_values v = {.colours = t, .table = "table", .n_classes = (int64_t)classes->n};
    cvr_image image = {.struct_size = sizeof image, .width = 0, .height = 1, .channels = 3, .data = pixels};
    cvr_error err = CVR_ERROR_INIT;
    for (int i = 0; i < 64; i++) {
        const uint32_t rgb = t->rows[(n + (size_t)i) % t->n].rgb;
        for (int k = 0; k < 3; k++) pixels[3 * i + k] = (uint8_t)(rgb >> 8 * (2 - k));
    }
    image.width = 64;
    fuzz_check(mask_values_apply(&v, &image, &err) == CVR_OK, "a mask of the table's colours: %s", err.message);
    for (int i = 0; i < 64; i++) fuzz_check(pixels[i] < classes->n || pixels[i] == MASK_IGNORED, "a pixel of no class");
    image.width = (int64_t)(n / 3 < 64 ? n / 3 : 64);
    memcpy(pixels, bytes, 3 * (size_t)image.width);
    fuzz_check_error(mask_values_apply(&v, &image, &err), &err);
}

/* The same bytes as numbers, of which some stand for classes. */
static void check_numbers(const uint8_t *bytes, size_t n, uint64_t number) {
    uint8_t pixels[256];
    mask_values v = {.remedy = "mend it", .colour_remedy = "mend it"};
    cvr_error err = CVR_ERROR_INIT;
    const size_t most = n < sizeof pixels ? n : sizeof pixels;
    memcpy(pixels, bytes, most);
    mask_values_count(&v, (int64_t)(number % 255 + 1));
    v.class_of[number / 255 % 256] = MASK_IGNORED;
    const cvr_image image = {
        .struct_size = sizeof image, .width = (int64_t)most, .height = 1, .channels = 1, .data = pixels};
    cvr_image mask = image;
    const int32_t status = mask_values_apply(&v, &mask, &err);
    fuzz_check_error(status, &err);
    for (size_t i = 0; i < most && status == CVR_OK; i++)
        fuzz_check(pixels[i] < v.n_classes || pixels[i] == MASK_IGNORED, "a pixel of no class");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const char *const ignored[] = {"", "Void", "void, Sky,", " ,,x"};
    const uint64_t number = fuzz_number(bytes, n);
    const char *const path = fuzz_file("table.csv", bytes, n);
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host_init(&h, (1u << 20) + 1100 * 64 * (uint64_t)n);
    colour_table t = {.host = &h.host};
    name_table classes = {.host = &h.host};
    const int32_t status = colour_table_read(&t, path, ignored[number % 4], &classes, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) {
        check_table(&t, &classes);
        check_mask(&t, &classes, bytes, n);
    }
    check_numbers(bytes, n, number);
    colour_table_free(&t);
    name_table_free(&classes);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
