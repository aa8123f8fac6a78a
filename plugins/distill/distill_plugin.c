/* The plugin "distillers". */
#include "distill.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    const cvr_distiller_desc *const all[] = {&distill_hinton, &distill_dkd, &distill_deit, &distill_hints,
                                             &distill_attention};
    (void)host;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CVR_TRY(r->add(r, CVR_KIND_DISTILLER, all[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("distillers", "0.1.0",
                  "op:expand op:sum op:mean op:amax op:mul op:add_broadcast op:softmax op:log_softmax "
                  "op:relu6 op:l2_norm2d op:mse_loss op:cross_entropy layer:conv2d layer:batch_norm2d "
                  "layer:relu layer:concat layer:reshape layer:adaptive_avg_pool2d layer:cross_entropy",
                  load)
