/*
 * The weights format "safetensors" (https://github.com/huggingface/safetensors).
 */
#include "safetensors.h"

/* A length within the format's limit, and the '{' that every header begins with. A file that was cut short still
 * counts, so that the reader can say what is wrong with it. */
static int32_t probe(const uint8_t *bytes, uint64_t n, uint64_t file_size) {
    (void)file_size;
    if (n < 9 || bytes[8] != '{') return 0;
    uint64_t len = 0;
    for (int i = 7; i >= 0; i--) len = len << 8 | bytes[i];
    return len <= ST_MAX_HEADER;
}

static const cvr_weights_desc safetensors = {
    .struct_size = sizeof safetensors,
    .name = "safetensors",
    .extension = ".safetensors",
    .doc = "Named tensors as PyTorch, timm and Hugging Face exchange them",
    .probe = probe,
    .read = st_read,
    .write = st_write,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_WEIGHTS, &safetensors, err);
}

CVR_DEFINE_PLUGIN("weights_safetensors", "0.1.0", "", load)
