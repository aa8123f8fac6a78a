/* cvrun prune: a network with fewer channels, or with zeros, from a trained run, and what that costs and brings. */
#include "compress_json.h"
#include "cvrun.h"
#include "measured_side.h"
#include "run_folder.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct pruning_run {
    compress_notes notes;
    measured_side before, untrained, after; /* `untrained`: before it was trained further, where it was */
    cvr_compress_result result;
    int64_t epochs, steps;
    double lr_factor;
    char target[64], amount[64], folder[4096], origin[4096];
} pruning_run;

/* ---- what came of it ---- */

static void describe(const pruning_run *p, cvr_text *t) {
    cvr_text_add(t, "{\n  \"method\": ");
    cvr_text_add_json(t, p->result.by);
    cvr_text_add(t, ",\n  \"origin\": ");
    cvr_text_add_json(t, p->origin);
    cvr_text_add(t, ",\n  \"epochs\": %lld, \"steps\": %lld,\n", (long long)p->epochs, (long long)p->steps);
    measured_side_json(t, "before", &p->before);
    cvr_text_add(t, ",\n");
    if (p->epochs) measured_side_json(t, "untrained", &p->untrained);
    if (p->epochs) cvr_text_add(t, ",\n");
    measured_side_json(t, "after", &p->after);
    cvr_text_add(t, ",\n  ");
    compress_notes_json(t, &p->notes);
    cvr_text_add(t, "\n}\n");
}

static int32_t write_json(const pruning_run *p, bool print, cvr_error *err) {
    cvr_text t = {0};
    describe(p, &t);
    return compress_json_write(p->folder, &t, print, err);
}

static void print_table(const pruning_run *p) {
    char a[32], b[32];
    measured_sides_print(&p->before, &p->after);
    (void)snprintf(a, sizeof a, "%lld", (long long)p->before.params);
    (void)snprintf(b, sizeof b, "%lld", (long long)p->after.params);
    print_text("%-22s %12s %12s\n", "parameters", a, b);
    for (size_t i = 0; p->epochs && i < p->untrained.metrics.n; i++)
        print_text("before it was trained further: %s %.4f\n", p->untrained.metrics.names[i],
                   p->untrained.metrics.values[i]);
    compress_notes_print(&p->notes);
}

/* ---- the new folder ---- */

/* What training in it needs: the weights to start from, and with epochs, how long and how fast. Who prunes the result
 * again says anew how much. */
static int32_t write_config(cvr_session *s, const pruning_run *p, bool first, bool last, cvr_error *err) {
    const char *slash = strrchr(p->folder, '/');
    char network[64], epochs[32], lr[32];
    cvr_setting instead[MOST_INSTEAD] = {
        {.section = "run", .key = "name", .value = slash ? slash + 1 : p->folder},
        {.section = "model", .key = "weights", .value = CVR_PRUNED_WEIGHTS},
        {.section = "prune", .key = "held", .value = p->result.held},
        {.section = "prune", .key = "epochs", .value = "0"},
        {.section = "prune", .key = "steps", .value = "1"},
    };
    size_t n = 5;
    if (last) instead[n++] = (cvr_setting){.section = "prune", .key = "target", .value = ""};
    if (last) instead[n++] = (cvr_setting){.section = "prune", .key = "amount", .value = "0"};
    (void)snprintf(epochs, sizeof epochs, "%lld", (long long)(p->epochs / p->steps));
    (void)snprintf(lr, sizeof lr, "%.9g", p->result.lr * p->lr_factor);
    if (p->epochs) instead[n++] = (cvr_setting){.section = "train", .key = "epochs", .value = epochs};
    if (p->epochs && first && p->result.lr > 0)
        instead[n++] = (cvr_setting){.section = "optim", .key = "lr", .value = lr};
    return run_folder_begin(s, p->folder, instead, n, network, err);
}

/* A later step begins a new training. */
static void remove_checkpoints(const pruning_run *p) {
    static const char *const names[] = {"weights/last.state", "weights/last.state.1", "weights/last.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = cvr_fs_join(p->folder, names[i]);
        if (path) (void)unlink(path);
        cvr_free(path);
    }
}

/* ---- one step ---- */

/* Of several steps each leaves the same share of what it finds. Methods without a target take a share of what is left
 * as it is. */
static void share_of_step(pruning_run *p, cvr_session *s) {
    cvr_config *c = cvr_session_config(s);
    char word[16] = "macs";
    double share = 0.5;
    const double amount = strtod(cvr_config_get(c, "prune", "amount", NULL), NULL), each = 1 / (double)p->steps;
    const char *target = cvr_config_get(c, "prune", "target", NULL); /* until the next question */
    if (!target) return;
    const bool given = sscanf(target, "%15[a-z]:%lf", word, &share) == 2;
    if (!given && amount > 0 && amount < 1)
        (void)snprintf(p->amount, sizeof p->amount, "prune.amount=%.9g", 1 - pow(1 - amount, each));
    else
        (void)snprintf(p->target, sizeof p->target, "prune.target=%s:%.9g", word, pow(share, each));
}

static int32_t read_settings(pruning_run *p, cvr_session *s, cvr_error *err) {
    cvr_config *c = cvr_session_config(s);
    p->epochs = strtoll(cvr_config_get(c, "prune", "epochs", NULL), NULL, 10);
    p->steps = strtoll(cvr_config_get(c, "prune", "steps", NULL), NULL, 10);
    p->lr_factor = strtod(cvr_config_get(c, "prune", "lr_factor", NULL), NULL);
    if (p->epochs % p->steps == 0) return CVR_OK;
    cvr_fail(err, CVR_ERR_USAGE, "prune.epochs = %lld is no multiple of prune.steps = %lld, which train as long each",
             (long long)p->epochs, (long long)p->steps);
    return cvr_config_blame(c, "prune", "epochs", CVR_ERR_USAGE, err);
}

static int32_t prune_step(const arguments *a, pruning_run *p, int64_t step, cvr_error *err) {
    const bool first = step == 0;
    cvr_session *s = NULL;
    int32_t status;
    CVR_TRY_OUT(try_session(a, CVR_FOR_COMPRESSION | CVR_FOR_PRUNING, &s, err));
    if (first) CVR_TRY_OUT(read_settings(p, s, err));
    if (first && p->steps > 1) {
        share_of_step(p, s);
        cvr_session_close(&s);
        arguments each = *a;
        if (each.n_settings == sizeof each.settings / sizeof *each.settings)
            return cvr_fail(err, CVR_ERR_USAGE, "too many settings");
        if (*p->amount || *p->target) each.settings[each.n_settings++] = *p->amount ? p->amount : p->target;
        CVR_TRY_OUT(try_session(&each, CVR_FOR_COMPRESSION | CVR_FOR_PRUNING, &s, err));
    }
    if (first) CVR_TRY_OUT(measure_side(s, a->path, &p->before, err));
    if (first) CVR_TRY_OUT(run_folder_beside(a->path, "pruned", p->folder, sizeof p->folder, err));
    const cvr_compress_options o = {.folder = p->folder, .note = compress_notes_take, .ctx = &p->notes};
    compress_notes_clear(&p->notes);
    CVR_TRY_OUT(cvr_session_prune(s, &o, &p->result, err));
    CVR_TRY_OUT(write_config(s, p, first, step + 1 == p->steps, err));
out:
    if (status != CVR_OK && first && *p->folder) run_folder_discard(p->folder);
    cvr_session_close(&s);
    return status;
}

static int32_t measure_folder(const pruning_run *p, measured_side *to, cvr_error *err) {
    const arguments there = {.path = p->folder};
    cvr_session *s = NULL;
    int32_t status = try_session(&there, CVR_FOR_EVALUATION, &s, err);
    measured_side_clear(to);
    if (status == CVR_OK) status = measure_side(s, p->folder, to, err);
    cvr_session_close(&s);
    return status;
}

static int32_t train_on(const pruning_run *p, cvr_error *err) {
    const arguments there = {.path = p->folder};
    const cvr_train_options o = {.folder = p->folder, .resume = true};
    cvr_train_result result;
    cvr_session *s = NULL;
    int32_t status = try_session(&there, CVR_FOR_TRAINING, &s, err);
    if (status == CVR_OK) status = train_in_folder(s, &o, &result, err);
    cvr_session_close(&s);
    return status;
}

/* ---- the command ---- */

static int32_t prune(const arguments *a, pruning_run *p, cvr_error *err) {
    arguments again = {.path = p->folder};
    CVR_TRY(prune_step(a, p, 0, err));
    if (*p->amount || *p->target) again.settings[again.n_settings++] = *p->amount ? p->amount : p->target;
    for (int64_t step = 0; step < p->steps; step++) {
        if (step) {
            const int32_t status = prune_step(&again, p, step, err);
            if (status != CVR_OK)
                cvr_log(CVR_LOG_INFO, "step %lld of %lld failed; %s has the network that the step before it left",
                        (long long)step + 1, (long long)p->steps, p->folder);
            CVR_TRY(status);
        }
        if (step + 1 == p->steps && p->epochs) CVR_TRY(measure_folder(p, &p->untrained, err));
        remove_checkpoints(p);
        if (p->epochs) CVR_TRY(train_on(p, err));
    }
    return measure_folder(p, &p->after, err);
}

static int run_prune(const arguments *given) {
    arguments a = *given;
    cvr_error err = CVR_ERROR_INIT;
    pruning_run p = {0};
    cvr_text own[sizeof a.settings / sizeof *a.settings] = {{0}};
    char *real = a.path ? realpath(a.path, NULL) : NULL;
    int32_t status = take_own_settings(&a, "prune", own, &err);
    (void)snprintf(p.origin, sizeof p.origin, "%s", real ? real : "");
    free(real);
    if (status == CVR_OK && (!a.path || !cvr_fs_is_folder(a.path)))
        status =
            cvr_fail(&err, CVR_ERR_USAGE, "%s is not a run folder; train first: cvrun train", a.path ? a.path : "that");
    if (status == CVR_OK) status = prune(&a, &p, &err);
    if (status == CVR_OK) status = write_json(&p, a.json, &err);
    if (status == CVR_OK && !a.json) print_table(&p);
    if (status == CVR_OK && !a.json) print_text("%s\n", p.folder);
    compress_notes_clear(&p.notes);
    measured_side_clear(&p.before);
    measured_side_clear(&p.untrained);
    measured_side_clear(&p.after);
    for (size_t i = 0; i < a.n_settings; i++) cvr_text_clear(&own[i]);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command prune_command = {
    .name = "prune",
    .usage = "RUN_DIR [method=l1] [target=macs:0.5] [key=value ...]",
    .summary = "a network with fewer channels from a trained run",
    .help = "Makes RUN_DIR-pruned, a run like any other, and prints what it costs and brings; the same is in its "
            "compress.json. Keys of [prune] need no section.\n"
            "  cvrun prune RUN_DIR target=macs:0.5 epochs=20\n"
            "      half of the products, and 20 epochs of training with a tenth of the learning rate\n"
            "  cvrun prune RUN_DIR method=l1_unstructured prune.layers=conv1 prune.amount=0.5 remove=yes\n"
            "      weights become zero, as by torch.nn.utils.prune; nothing becomes smaller or faster\n"
            "`cvrun help compressors` has the methods and their keys.\n",
    .run = run_prune,
    .needs_path = true,
};
