/*
 * The weights format "pth": the files of torch.save, read without running anything in them.
 */
#include "pth.h"

/* The length of a header of 640 bytes, and of some others, begins as a pickle does; but no pickle has these zeros. */
static int32_t is_safetensors(const uint8_t *bytes, uint64_t n) {
    static const uint8_t zeros[4] = {0};
    return n > 8 && memcmp(bytes + 4, zeros, sizeof zeros) == 0 && bytes[8] == '{';
}

/* Any pickle and any zip file is answered for, so that the reader can say what is wrong with it. */
static int32_t probe(const uint8_t *bytes, uint64_t n, uint64_t file_size) {
    (void)file_size;
    return pth_is_zip(bytes, n) || (pth_is_pickle(bytes, n) && !is_safetensors(bytes, n)) || pth_is_tar(bytes, n);
}

static int32_t refuse_write(const cvr_host *host, const cvr_weight *const *weights, uint64_t n_weights,
                            const char *const *metadata, uint64_t n_metadata, cvr_sink_fn sink, void *sink_ctx,
                            cvr_error *err) {
    (void)host, (void)weights, (void)n_weights, (void)metadata, (void)n_metadata, (void)sink, (void)sink_ctx;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "pth files are only read; write .safetensors, which PyTorch loads as well");
}

static const cvr_weights_desc pth = {
    .struct_size = sizeof pth,
    .name = "pth",
    .extension = ".pth",
    .doc = "State dicts of torch.save, both of its formats; read only, and nothing in them is run",
    .probe = probe,
    .read = pth_read,
    .write = refuse_write,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_WEIGHTS, &pth, err);
}

CVR_DEFINE_PLUGIN("weights_pth", "0.1.0", "", load)
