/*
 * A network that was pruned: its model builds it as ever, and then it is built without the channels that [widths]
 * leaves out. Every command builds its networks so, and knows nothing of it.
 */
#include "network.h"

bool network_has_widths(const run_network *n) {
    const cvr_setting *const *lines;
    return n->widths ? *n->widths : cvr_config_lines(n->settings->config, "widths", &lines) > 0;
}

int32_t network_read_widths(cvr_config *c, cvr_channels *channels, cvr_error *err) {
    const cvr_setting *const *lines;
    const size_t count = cvr_config_lines(c, "widths", &lines);
    for (size_t i = 0; i < count; i++) {
        const int32_t status = cvr_channels_read(channels, lines[i]->value, err);
        if (status != CVR_OK) return lines[i]->file ? cvr_fail_at(err, lines[i]->file, lines[i]->line, status) : status;
    }
    return CVR_OK;
}

static int32_t read_text(const char *text, cvr_channels *channels, cvr_error *err) {
    while (*text) {
        const size_t n = strcspn(text, "\n");
        char *line = cvr_strndup(text, n);
        if (!line) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        const int32_t status = cvr_channels_read(channels, line, err);
        cvr_free(line);
        CVR_TRY(status);
        text += n + (text[n] != '\0');
    }
    return CVR_OK;
}

void network_trace_free(traced_network *t) {
    cvr_channels_destroy(&t->channels);
    cvr_graph_destroy(&t->graph);
}

int32_t network_trace(const run_network *n, const cvr_graph *g, traced_network *out, cvr_error *err) {
    int32_t status;
    *out = (traced_network){0};
    CVR_TRY_OUT(cvr_graph_trace(&out->graph, g, err));
    CVR_TRY_OUT(network_build(n, out->graph, err));
    CVR_TRY_OUT(cvr_channels_create(&out->channels, out->graph, err));
    status = n->widths ? read_text(n->widths, out->channels, err)
                       : network_read_widths(n->settings->config, out->channels, err);
out:
    if (status != CVR_OK) network_trace_free(out);
    return status;
}

int32_t network_build_narrow(const run_network *n, cvr_graph *g, cvr_error *err) {
    traced_network t;
    CVR_TRY(network_trace(n, g, &t, err));
    const int32_t status = cvr_graph_narrow(g, t.graph, t.channels, err);
    network_trace_free(&t);
    return status;
}
