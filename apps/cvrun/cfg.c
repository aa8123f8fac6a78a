/* cvrun cfg */
#include "cvrun.h"

static int run_cfg(const arguments *a) {
    cvr_session *session;
    cvr_text text = {0};
    const int status = open_session(a, CVR_FOR_SETTINGS, &session);
    if (status != EXIT_OK) return status;
    if (a->json)
        cvr_config_print_json(cvr_session_config(session), &text);
    else
        cvr_config_print(cvr_session_config(session), true, &text);
    if (text.s) print_page(text.s);
    cvr_text_clear(&text);
    cvr_session_close(&session);
    return EXIT_OK;
}

const command cfg_command = {
    .name = "cfg",
    .usage = "RECIPE.ini|RUN_DIR [key=value ...]",
    .summary = "the effective settings, each with its origin",
    .help = "Defaults < recipe < command line. --json prints JSON.\n",
    .run = run_cfg,
    .needs_path = true,
};
