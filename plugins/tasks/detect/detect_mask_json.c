/* The compressed string has the characters 0 to o, of which JSON writes the backslash in another way. */
#include "detect_mask_json.h"

void mask_json(detect_text *to, rle_view mask, int64_t height, int64_t width) {
    char *const counts = to->host->alloc(to->host, rle_string_room(mask.n), 16);
    if (!counts) {
        to->failed = 1;
        return;
    }
    const uint64_t n = rle_to_string(mask, counts);
    detect_text_add(to, "{\"size\": [%lld, %lld], \"counts\": \"", (long long)height, (long long)width);
    for (uint64_t i = 0, from = 0; i < n; i++) {
        if (counts[i] == '\\') detect_text_put(to, "\\", 1);
        if (i + 1 < n && counts[i + 1] != '\\') continue;
        detect_text_put(to, counts + from, i + 1 - from);
        from = i + 1;
    }
    detect_text_put(to, "\"}", 2);
    to->host->free(to->host, counts);
}
