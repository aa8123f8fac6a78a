/* Evaluation of pictures that are looked at one by one, in views; see views.c. */
#include "session_parts.h"

/* The sample as the data has it that goes with this one: both are read in the same order, and bad ones may be left out
 * of either. */
static int32_t find_untouched(cvr_session *s, const cvr_origin *with, cvr_batch *out, cvr_error *err) {
    do {
        CVR_TRY(data_suggest_skip(&s->set, cvr_batches_next(s->data.untouched, out, err), err));
        if (out->view.n == 0)
            return cvr_fail(err, CVR_ERR_INVALID, "picture %lld is there once and then not; do its files change?",
                            (long long)with->index);
    } while (out->view.origins[0]->index != with->index);
    return CVR_OK;
}

int32_t evaluate_views(cvr_session *s, const cvr_batch *b, cvr_batch *seen, cvr_batch_view *outputs, cvr_error *err) {
    *seen = *b;
    if (s->data.untouched) CVR_TRY(find_untouched(s, b->view.origins[0], seen, err));
    const cvr_canvas size = views_picture_size(seen);
    const view_target to = {size.height, size.width, seen->canvas, seen->view.origins[0]};
    return views_run(&s->views, &s->net, b, &to, outputs, err);
}
