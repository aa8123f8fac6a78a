/* The plugin "compress_quant": quantisation after training, the method `ptq` of `cvrun quantize`; `qat` is in
 * quant_qat.c. */
#include "quant.h"

const cvr_attr_desc quant_key_observer = CVR_ATTR_INIT(
    CHOICE, "observer", "histogram",
    "the range that a value's integers are spread over: all that was seen; a moving average of it; that of the least "
    "squared error; that without the outermost values; that of the least entropy",
    .choices = "minmax|average|histogram|percentile|entropy");
const cvr_attr_desc quant_key_percentile =
    CVR_ATTR_INIT(FLOAT, "percentile", "99.99", "share of values within the range, for observer = percentile",
                  CVR_ATTR_BETWEEN(50, 100));
const cvr_attr_desc quant_key_skip =
    CVR_ATTR_INIT(STRING, "skip", "", "layers that stay in f32: names with * and ?, separated by commas: fc,layer4.*");
const cvr_attr_desc quant_key_keep = CVR_ATTR_INIT(
    STRING, "keep", "", "more of them; or auto:0.5%, the fewest that keep the task's chief metric within half a point");
const cvr_attr_desc quant_key_bias_correction =
    CVR_ATTR_INIT(BOOL, "bias_correction", "yes", "biases make up for what rounding the weights adds on average");
const cvr_attr_desc quant_key_sensitivity = CVR_ATTR_INIT(
    BOOL, "sensitivity", "no", "tell for each layer what the network's results lose where it alone is on integers");
static const cvr_attr_desc *const attrs_of[] = {
    &quant_key_observer, &quant_key_percentile,      &quant_key_skip,
    &quant_key_keep,     &quant_key_bias_correction, &quant_key_sensitivity};

int32_t quant_note_floats(const quant_job *job, cvr_error *err) {
    char text[QUANT_KEY + 128];
    for (uint64_t i = 0; i < job->n_sites; i++) {
        const quant_site *s = &job->sites[i];
        if (s->int8) continue;
        (void)snprintf(text, sizeof text, "%.480s: %s", s->layer, s->why);
        CVR_TRY(job->c->note(job->c, "left in f32", text, err));
    }
    return CVR_OK;
}

static int32_t run_job(quant_job *job, cvr_error *err) {
    CVR_TRY(quant_collect(job, err));
    CVR_TRY(quant_calibrate(job, err));
    CVR_TRY(quant_write(job, err));
    CVR_TRY(quant_keep(job, err));
    return quant_note_floats(job, err);
}

int32_t quant_compress(const cvr_compression *c, cvr_error *err) {
    quant_job job = {.c = c, .host = c->host, .settings = c->attrs};
    const int32_t status = run_job(&job, err);
    quant_close(&job);
    return status;
}

static const cvr_compressor_desc ptq = {.struct_size = sizeof ptq,
                                        .name = "ptq",
                                        .section = "quant",
                                        .doc = "integers of 8 bits, by ranges that values have on some pictures",
                                        .n_attrs = sizeof attrs_of / sizeof *attrs_of,
                                        .attrs = attrs_of,
                                        .compress = quant_compress,
                                        .rewrite = quant_rewrite};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_COMPRESSOR, &ptq, err));
    return r->add(r, CVR_KIND_COMPRESSOR, &quant_qat, err);
}

CVR_DEFINE_PLUGIN("compress_quant", "0.1.0",
                  "op:quantize op:dequantize op:fake_quantize op:elementwise op:amax op:average_update op:from_logical",
                  load)
