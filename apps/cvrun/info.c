/* cvrun info: every layer, what it costs, and what runs it. */
#include "cvrun.h"

typedef struct layer_row {
    char name[96];
    char shape[64];
    int64_t params;
    const char *stage, *trained; /* "" where it has no parameters, or they are trained */
    double flops;
    char kernel[64];
} layer_row;

static void shape_text(const cvr_type *t, char *buf, size_t size) {
    size_t n = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; t && i < t->rank && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%lld", i ? " x " : "", (long long)t->shape[i]);
}

/* Counts the layer's own parameters, and says where they stand and whether they are trained. */
static void look_at_params(const cvr_store *s, layer_row *row) {
    const char *layer = row->name;
    const size_t n = strlen(layer);
    row->stage = row->trained = "";
    for (size_t i = 0; i < cvr_store_count(s); i++) {
        const cvr_store_entry *e = cvr_store_get(s, i);
        if (e->role <= CVR_STORE_FROZEN && strncmp(e->name, layer, n) == 0 && e->name[n] == '.' &&
            !strchr(e->name + n + 1, '.')) {
            row->params += cvr_numel(e->type.rank, e->type.shape);
            row->stage = e->stage;
            row->trained = e->thaws_in == 0 ? "" : e->thaws_in == CVR_NEVER ? "frozen" : "thaws later";
        }
    }
}

/* Training's step where there is one: what is planned is that. */
static const cvr_program *shown(const cvr_session_info *i) {
    return i->train_program ? i->train_program : i->eval_program;
}

/* Pictures that a run of the program takes: of an optimizer step, or of a part of one. */
static int64_t batch_of(const cvr_session_info *i) {
    const int32_t slot = cvr_program_slot(shown(i), CVR_FIELD_IMAGE); /* a probe's step reads features */
    return slot < 0 ? i->batch : cvr_program_slot_type(shown(i), slot)->shape[0];
}

/* Forward nodes; those of one layer make one row. Returns rows; free with cvr_free. */
static layer_row *make_rows(const cvr_session_info *i, size_t *n_rows) {
    const cvr_program *p = shown(i);
    layer_row *rows = cvr_calloc(cvr_program_nodes(p) + 1, sizeof *rows);
    *n_rows = 0;
    for (size_t k = 0; rows && k < cvr_program_nodes(p); k++) {
        cvr_node_info node;
        cvr_program_node(p, k, &node);
        if (node.backward || node.recompute) continue;
        const size_t length = strcspn(node.name, "/");
        layer_row *row = *n_rows && strlen(rows[*n_rows - 1].name) == length &&
                                 strncmp(rows[*n_rows - 1].name, node.name, length) == 0
                             ? &rows[*n_rows - 1]
                             : NULL;
        if (!row) {
            row = &rows[(*n_rows)++];
            (void)snprintf(row->name, sizeof row->name, "%.*s", (int)length, node.name);
            look_at_params(i->store, row);
        }
        row->flops += node.flops;
        shape_text(node.output, row->shape, sizeof row->shape);
        (void)snprintf(row->kernel, sizeof row->kernel, "%s:%s%s%s", node.backend, node.op, *node.isa ? " " : "",
                       node.isa);
    }
    return rows;
}

static void print_table(const cvr_session_info *i, const layer_row *rows, size_t n) {
    char a[32], b[32], c[32];
    double flops = 0;
    const int64_t batch = batch_of(i);
    bool frozen = false, staged = false;
    int width = 20;
    for (size_t k = 0; k < n; k++) frozen = frozen || *rows[k].trained;
    for (size_t k = 0; k < n; k++) staged = staged || *rows[k].stage;
    for (size_t k = 0; k < n; k++) width = (int)strlen(rows[k].name) > width ? (int)strlen(rows[k].name) : width;
    print_text("%-*s %-22s %12s %14s  ", width, "layer", "output", "parameters", "MFLOP");
    if (staged) print_text("%-20s ", "stage");
    if (frozen) print_text("%-11s ", "");
    print_text("kernel\n");
    for (size_t k = 0; k < n; k++) {
        flops += rows[k].flops;
        print_text("%-*s %-22s %12s %14.2f  ", width, rows[k].name, rows[k].shape, human_count(rows[k].params, a),
                   rows[k].flops * 1e-6);
        if (staged) print_text("%-20s ", rows[k].stage);
        if (frozen) print_text("%-11s ", rows[k].trained);
        print_text("%s\n", rows[k].kernel);
    }
    print_text("\n%s parameters, %.2f MFLOP forward for a batch of %lld, %.2f for a picture\n",
               human_count(i->params, a), flops * 1e-6, (long long)batch, flops * 1e-6 / (double)batch);
    print_text("backend %s: %s\n", i->backend, i->device);
    print_text("planned memory: %s (parameters and state %s, arena %s)\n", cvr_bytes_text(i->planned_bytes, a),
               cvr_bytes_text(i->store_bytes, b), cvr_bytes_text(i->arena_bytes, c));
}

static void print_json(const cvr_session_info *i, const layer_row *rows, size_t n) {
    cvr_text t = {0};
    cvr_text_add(&t, "{\"params\": %lld, \"backend\": ", (long long)i->params);
    cvr_text_add_json(&t, i->backend);
    cvr_text_add(&t, ", \"planned_memory_bytes\": %llu, \"store_bytes\": %llu, \"arena_bytes\": %llu, \"layers\": [",
                 (unsigned long long)i->planned_bytes, (unsigned long long)i->store_bytes,
                 (unsigned long long)i->arena_bytes);
    for (size_t k = 0; k < n; k++) {
        cvr_text_add(&t, "%s\n  {\"name\": ", k ? "," : "");
        cvr_text_add_json(&t, rows[k].name);
        cvr_text_add(&t, ", \"output\": ");
        cvr_text_add_json(&t, rows[k].shape);
        cvr_text_add(&t, ", \"stage\": ");
        cvr_text_add_json(&t, rows[k].stage);
        cvr_text_add(&t, ", \"frozen\": %s", *rows[k].trained ? "true" : "false");
        cvr_text_add(&t, ", \"params\": %lld, \"flops\": %.0f, \"kernel\": ", (long long)rows[k].params, rows[k].flops);
        cvr_text_add_json(&t, rows[k].kernel);
        cvr_text_add(&t, "}");
    }
    cvr_text_add(&t, "\n]}\n");
    fputs(t.s ? t.s : "", stdout);
    cvr_text_clear(&t);
}

static int run_info(const arguments *a) {
    cvr_session *session;
    cvr_session_info i;
    size_t n;
    const int status = open_session(a, CVR_FOR_TRAINING | CVR_DATA_IF_GIVEN, &session);
    if (status != EXIT_OK) return status;
    cvr_session_describe(session, &i);
    layer_row *rows = make_rows(&i, &n);
    if (rows && a->json)
        print_json(&i, rows, n);
    else if (rows)
        print_table(&i, rows, n);
    cvr_free(rows);
    cvr_session_close(&session);
    return EXIT_OK;
}

const command info_command = {
    .name = "info",
    .usage = "RECIPE.ini|RUN_DIR|model=NAME [key=value ...]",
    .summary = "every layer: shape, parameters, cost, kernel",
    .help = "Shapes, kernels and planned memory are those of a training step. One multiply-accumulate is two "
            "floating-point operations. --json "
            "prints JSON.\n"
            "Without data, as in cvrun info model=yolox_s model.num_classes=80, they are those of a look at one "
            "picture.\n",
    .run = run_info,
    .needs_path = true,
};
