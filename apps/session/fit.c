/* What is settled once for a run, before its programs are planned: precision, and what train.memory asks for. */
#include "network.h"
#include <cvr/peaks.h>

/* ---- precision ---- */

/* bf16 moves half the bytes, but its casts and its rounding cost: products must be clearly faster. */
#define LEAST_BF16_GAIN 1.2
#define PEAK_RUNS 3 /* in turn, since others may be at work while one of them is measured */
#define PEAK_SECONDS 0.1

/* " (avx512)", or nothing: kernels of devices, and those in plain C, are of no instruction set. */
static const char *isa_text(const char *isa, char text[64]) {
    text[0] = '\0';
    if (isa && *isa) (void)snprintf(text, 64, " (%.60s)", isa);
    return text;
}

static void tell_choice(const cvr_peaks *p, bool bf16) {
    char bf16_isa[64], f32_isa[64];
    if (p->f32 > 0 && p->bf16 > 0)
        cvr_log(CVR_LOG_INFO,
                "precision=auto: %s: products in bf16 measure %.4g GFLOP/s%s, in f32 %.4g%s, %.2f times as fast; "
                "bf16 is taken from %.1f times on",
                bf16 ? "bf16" : "f32", 1e-9 * p->bf16, isa_text(p->bf16_isa, bf16_isa), 1e-9 * p->f32,
                isa_text(p->f32_isa, f32_isa), p->bf16 / p->f32, LEAST_BF16_GAIN);
    else
        cvr_log(CVR_LOG_INFO, "precision=auto: f32, since this device has no bf16 products of its own to measure");
}

static int32_t measure_choice(const run_network *n, int64_t *precision, cvr_error *err) {
    const cvr_peak_request request = {n->plugins, n->device, n->pool, CVR_PEAK_F32 | CVR_PEAK_BF16, PEAK_SECONDS};
    cvr_peaks peaks = {0};
    for (int i = 0; i < PEAK_RUNS; i++) CVR_TRY(cvr_raise_peaks(&request, &peaks, err));
    const bool bf16 = peaks.f32 > 0 && peaks.bf16 >= LEAST_BF16_GAIN * peaks.f32;
    tell_choice(&peaks, bf16);
    *precision = bf16 ? PRECISION_BF16 : PRECISION_F32;
    return CVR_OK;
}

/* What `auto` comes to is a setting from now on, and so part of config.ini: whoever goes on with the run, or evaluates
 * it, computes as it did, whatever would be measured then. */
int32_t network_settle_precision(run_network *n, cvr_error *err) {
    int64_t *setting = &n->settings->backend->precision;
    if (*setting == PRECISION_AUTO && n->settings->run_precision != PRECISION_AUTO) {
        *setting = n->settings->run_precision;
        cvr_log(CVR_LOG_INFO, "precision=auto: %s, as the run computed until now", precision_name(*setting));
    }
    if (*setting == PRECISION_AUTO) CVR_TRY(measure_choice(n, setting, err));
    n->precision = *setting;
    return CVR_OK;
}

/* Nodes that two programs run on different kernels. */
static size_t nodes_apart(const cvr_program *a, const cvr_program *b) {
    size_t apart = 0;
    for (size_t i = 0; i < cvr_program_nodes(a); i++) {
        cvr_node_info x, y = {.isa = NULL};
        cvr_program_node(a, i, &x);
        if (i < cvr_program_nodes(b)) cvr_program_node(b, i, &y);
        apart += !y.isa || strcmp(x.op, y.op) != 0 || strcmp(x.isa, y.isa) != 0 || strcmp(x.backend, y.backend) != 0;
    }
    return apart;
}

uint32_t math_of_precision(int64_t precision) {
    if (precision == PRECISION_BF16X3) return CVR_MATH_BF16X3;
    return precision == PRECISION_TF32 ? CVR_MATH_TF32 : CVR_MATH_F32;
}

/* They are those that run on another kernel in f32. Where there are none the precision is f32, and that is said. */
int32_t network_explain_math(run_network *n, const net_program *p, cvr_error *err) {
    const int64_t asked = n->precision;
    const char *name = precision_name(asked);
    net_program *plain;
    n->precision = PRECISION_F32;
    CVR_TRY(net_program_plan(n, &p->key, &plain, err));
    const size_t apart = nodes_apart(p->program, plain->program);
    if (apart)
        cvr_log(CVR_LOG_INFO, "precision=%s: %zu of %zu nodes multiply so; the others compute in f32", name, apart,
                cvr_program_nodes(p->program));
    else
        cvr_log(CVR_LOG_WARNING, "precision=%s: no kernel for this machine multiplies so; it computes in f32", name);
    if (apart) n->precision = asked;
    net_program_destroy(&plain);
    return CVR_OK;
}

/* ---- train.memory ---- */

/* Planned bytes of a program where `most` values are made again. */
static int32_t probe(run_network *n, const program_key *key, size_t most, uint64_t *bytes, cvr_recompute *r,
                     cvr_error *err) {
    net_program *p;
    n->recompute = most;
    CVR_TRY(net_program_plan(n, key, &p, err));
    *bytes = cvr_program_arena_bytes(p->program) + cvr_store_bytes(n->store);
    *r = p->recompute;
    net_program_destroy(&p);
    return CVR_OK;
}

int32_t network_fit_memory(run_network *n, const program_key *largest, cvr_error *err) {
    const uint64_t budget = n->settings->memory;
    uint64_t kept, bytes;
    char a[32], b[32];
    cvr_recompute r;
    if (!budget) return CVR_OK;
    CVR_TRY(probe(n, largest, 0, &kept, &r, err));
    if (kept <= budget) return CVR_OK;
    size_t low = 0, high = r.candidates; /* low does not fit */
    CVR_TRY(probe(n, largest, high, &bytes, &r, err));
    if (bytes > budget)
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "train.memory = %s: this step needs at least %lluM (%s without computing anything twice); lower "
            "train.batch or data.img_size",
            n->settings->train->memory, (unsigned long long)((bytes + 999999) / 1000000), cvr_bytes_text(kept, b));
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        CVR_TRY(probe(n, largest, middle, &bytes, &r, err));
        *(bytes <= budget ? &high : &low) = middle;
    }
    CVR_TRY(probe(n, largest, high, &bytes, &r, err));
    cvr_log(CVR_LOG_INFO, "train.memory: %zu of %zu activations are computed twice: %s in place of %s", r.dropped,
            r.candidates, cvr_bytes_text(bytes, a), cvr_bytes_text(kept, b));
    return CVR_OK;
}
