/* Values of keys that a schema takes as text: numbers with a unit or a word in their place. */
#include "run_settings.h"
#include <math.h>
#include <stdlib.h>

const char *precision_name(int64_t precision) {
    static const char *const names[] = {"f32", "bf16", "bf16x3", "f16", "tf32", "auto"};
    return names[precision];
}

int32_t parse_save_every(const char *text, save_interval *out, cvr_error *err) {
    char *unit;
    const double n = strtod(text, &unit);
    unit += strspn(unit, " ");
    memset(out, 0, sizeof *out);
    if (unit != text && n >= 1 && n < 1e9) {
        if (strcmp(unit, "step") == 0 || strcmp(unit, "steps") == 0)
            out->steps = (int64_t)n;
        else if (strcmp(unit, "epoch") == 0 || strcmp(unit, "epochs") == 0)
            out->epochs = (int64_t)n;
        else if (strcmp(unit, "min") == 0)
            out->seconds = n * 60;
        if (out->steps || out->epochs || out->seconds > 0) return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_USAGE, "run.save_every = %s: write `50 steps`, `5 min` or `1 epoch`", text);
}

int32_t parse_channels(const char *key, const char *text, const double imagenet[3], int64_t channels, double out[4],
                       cvr_error *err) {
    const cvr_attr_desc list = {.struct_size = sizeof list, .name = key, .kind = CVR_ATTR_FLOATS, .count = 4};
    const cvr_attr_desc *const one[] = {&list};
    const cvr_schema schema = {one, 1};
    struct {
        int64_t n;
        double v[4];
    } *packed = NULL;
    if (strcmp(text, "imagenet") == 0) {
        const double grey = (imagenet[0] + imagenet[1] + imagenet[2]) / 3;
        for (int i = 0; i < 4; i++) out[i] = channels == 1 ? grey : imagenet[i % 3];
        return CVR_OK;
    }
    static const char *const words[] = {"imagenet"};
    const cvr_setting s = {.key = key, .value = text};
    const int32_t status = cvr_attrs_pack(&schema, &s, 1, "[data]", (void **)&packed, err);
    if (status == CVR_ERR_USAGE && cvr_nearest(text, words, 1))
        return cvr_fail(err, status, "data.%s = %s: not a number, and no word; did you mean `imagenet`?", key, text);
    CVR_TRY(status);
    const int64_t n = packed->n;
    for (int i = 0; i < 4 && n > 0; i++) out[i] = packed->v[i < n ? i : n - 1];
    cvr_free(packed);
    return n > 0 ? CVR_OK
                 : cvr_fail(err, CVR_ERR_USAGE, "data.%s is empty; write one number, or one for each channel", key);
}

int32_t parse_optional(const char *key, const char *text, double otherwise, double *out, cvr_error *err) {
    char *end;
    *out = otherwise;
    if (!*text) return CVR_OK;
    *out = strtod(text, &end);
    if (*end == '\0' && isfinite(*out) && *out >= 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "%s = %s: not a number from 0 up", key, text);
}

int32_t parse_bytes(const char *key, const char *text, uint64_t *out, cvr_error *err) {
    static const char units[] = "KMGT";
    char *end;
    *out = 0;
    if (!*text) return CVR_OK;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (const char *u = units; unit && u <= unit; u++) value *= 1000;
    if (end > text && end[unit != NULL] == '\0' && value >= 1 && value < 0x1p62) {
        *out = (uint64_t)value;
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_USAGE, "%s = %s: not an amount of memory; write 2G, 1.5G or 800M", key, text);
}
