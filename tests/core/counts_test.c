/* Ragged values: counts travel through ops that honour them, and an op that would take padding for data is refused. */
#include <criterion/criterion.h>
#include <cvr/program.h>

static cvr_error err = CVR_ERROR_INIT;

typedef struct world {
    cvr_plugins *plugins;
    cvr_store *store;
    cvr_graph *g;
    const cvr_builder *b;
    cvr_value boxes, more, counts, others; /* (2,5,4), (2,5,4), (2), (2) */
} world;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

static void open_world(world *w) {
    static const int64_t boxes[3] = {2, 5, 4}, samples[1] = {2};
    cvr_type type;
    good(cvr_plugins_open(&w->plugins, NULL, 0, &err));
    good(cvr_store_create(&w->store, 1, &err));
    good(cvr_graph_create(&w->g, w->plugins, w->store, true, &err));
    w->b = cvr_graph_builder(w->g);
    cvr_type_set(&type, CVR_F32, 3, boxes);
    good(cvr_graph_input(w->g, "boxes", &type, &w->boxes, &err));
    good(cvr_graph_input(w->g, "more", &type, &w->more, &err));
    cvr_type_set(&type, CVR_I64, 1, samples);
    good(cvr_graph_input(w->g, "counts", &type, &w->counts, &err));
    good(cvr_graph_input(w->g, "others", &type, &w->others, &err));
    good(w->b->set_counts(w->b, w->boxes, 1, w->counts, &err));
}

static void close_world(world *w) {
    cvr_graph_destroy(&w->g);
    cvr_store_destroy(&w->store);
    cvr_plugins_close(&w->plugins);
}

static cvr_value two(const world *w, const char *layer, cvr_value x, cvr_value y, int32_t *status) {
    const cvr_value in[2] = {x, y};
    cvr_value out = CVR_NONE;
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = layer,
                                 .name = layer,
                                 .inputs = in,
                                 .outputs = &out,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    *status = w->b->layer(w->b, &call, &err);
    return out;
}

static void expect_padded(const world *w, cvr_value v, uint32_t axis) {
    uint32_t have;
    cr_assert_eq(w->b->counts(w->b, v, &have), w->counts);
    cr_assert_eq(have, axis);
}

Test(counts, travel) {
    world w;
    cvr_value y, small, row;
    cvr_type type;
    int32_t status;
    uint32_t axis = 9;
    open_world(&w);
    cr_assert_eq(w.b->counts(w.b, w.more, &axis), CVR_NONE);
    good(cvr_layer(w.b, "a", "silu", "", w.boxes, &y, &err));
    expect_padded(&w, y, 1);
    y = two(&w, "add", y, w.more, &status); /* beside what is not padded */
    good(status);
    expect_padded(&w, y, 1);
    static const int64_t four[1] = {4}, rows[2] = {5, 4};
    cvr_type_set(&type, CVR_F32, 1, four);
    good(cvr_graph_input(w.g, "four", &type, &small, &err));
    y = two(&w, "mul", small, y, &status); /* axes correspond from the last */
    good(status);
    expect_padded(&w, y, 1);
    cvr_type_set(&type, CVR_F32, 2, rows);
    good(cvr_graph_input(w.g, "rows", &type, &row, &err));
    y = two(&w, "mul", row, y, &status);
    good(status);
    expect_padded(&w, y, 1);
    const cvr_cast_attrs bf16 = {CVR_BF16};
    good(cvr_emit(w.b, "cast", &bf16, sizeof bf16, &y, 1, &y, &err));
    expect_padded(&w, y, 1);
    close_world(&w);
}

/* Also what the gradients of ops that honour counts are made of. */
Test(counts, gradients) {
    world w;
    cvr_value y, seed;
    cvr_type type;
    open_world(&w);
    cvr_graph_wants_gradient(w.g, w.boxes);
    good(cvr_layer(w.b, "a", "gelu", "", w.boxes, &y, &err));
    type = *w.b->type(w.b, y);
    good(cvr_graph_input(w.g, "seed", &type, &seed, &err));
    good(cvr_graph_backward_from(w.g, y, seed, &err));
    expect_padded(&w, cvr_graph_gradient(w.g, w.boxes), 1);
    close_world(&w);
}

Test(counts, refused) {
    world w;
    cvr_value y;
    int32_t status;
    open_world(&w);
    static const char *const layers[][3] = {{"linear", "3", "layer head (linear): "},
                                            {"softmax", "2", "op softmax"},
                                            {"mean", "1", "op mean"},
                                            {"slice", "1 end=2", "op slice"}};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        cvr_error_init(&err);
        cr_expect_eq(cvr_layer(w.b, "head", layers[i][0], layers[i][1], w.boxes, &y, &err), CVR_ERR_INVALID);
        cr_expect(strncmp(err.message, "layer head", 10) == 0 && strstr(err.message, "op ") &&
                      strstr(err.message, "padded along axis 1") && !strchr(err.message, '\n'),
                  "%s: %s", layers[i][0], err.message);
    }
    good(w.b->set_counts(w.b, w.more, 1, w.others, &err));
    (void)two(&w, "add", w.boxes, w.more, &status);
    cr_expect(status == CVR_ERR_INVALID && strstr(err.message, "other counts"), "%s", err.message);
    good(w.b->set_counts(w.b, w.more, 2, w.counts, &err));
    (void)two(&w, "add", w.boxes, w.more, &status);
    cr_expect_eq(status, CVR_ERR_INVALID);
    cr_expect_neq(w.b->set_counts(w.b, w.more, 0, w.counts, &err), CVR_OK);
    cr_expect_neq(w.b->set_counts(w.b, w.more, 3, w.counts, &err), CVR_OK);
    cr_expect_neq(w.b->set_counts(w.b, w.more, 1, w.boxes, &err), CVR_OK);
    close_world(&w);
}
