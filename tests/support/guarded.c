/* See guarded.h. */
#define _DEFAULT_SOURCE
#include "guarded.h"
#include "guard.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct bench {
    case_machine plain, guarded[AGREE_MOST_ISAS];
    const agree_what *what;
} bench;

static char running[700], kernel[400];

static void entering(const char *node, const char *op, const char *isa) {
    (void)snprintf(kernel, sizeof kernel, "node %.100s, op %.60s, isa `%.60s`\n", node, op, isa);
}

static void on_fault(int signal) {
    static const char what[] = "out of bounds, or a write to an input: ";
    if (write(2, what, sizeof what - 1) < 0 || write(2, running, strlen(running)) < 0) _exit(3);
    if (write(2, kernel, strlen(kernel)) < 0) _exit(3);
    _exit(signal);
}

static void guard_on(const bench *b, const case_machine *m, const layer_case *c, const case_result *plain, char *why,
                     size_t size) {
    case_result guarded;
    cvr_error err;
    cvr_error_init(&err);
    if (case_result_of(m, c, &guarded, &err) != CVR_OK) {
        (void)snprintf(why, size, "%.350s", err.message);
        return;
    }
    for (uint32_t i = 0; i < plain->n && !*why; i++) {
        const case_tensor *g = case_result_find(&guarded, plain->all[i].name);
        if (!g || !(case_distance_in(c, g, &plain->all[i], b->what->relative) <= 1))
            (void)snprintf(why, size, "%s differs between guard pages on %s", plain->all[i].name, m->label);
    }
    case_result_clear(&guarded);
}

static void guard_case(void *ctx, layer_case *c, char *why, size_t size) {
    const bench *b = ctx;
    case_result plain;
    cvr_error err;
    cvr_error_init(&err);
    c->low = b->what->low ? CVR_BF16 : 0;
    c->math = b->what->math;
    (void)snprintf(running, sizeof running, "%s: %s %s; ", c->label, c->layer, c->settings);
    if (case_result_of(&b->plain, c, &plain, &err) != CVR_OK) {
        (void)snprintf(why, size, "%.350s", err.message);
        return;
    }
    for (uint32_t i = 0; i < b->what->n_isas && !*why; i++) guard_on(b, &b->guarded[i], c, &plain, why, size);
    case_result_clear(&plain);
}

static void open_guarded(case_machine *m, const agree_what *what, const char *isa, const guard_service *service) {
    cvr_plugins *plugins;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cvr_plugins_offer(plugins, GUARD_SERVICE, service);
    cr_assert_eq(machine_open_on(m, plugins, what->backend, isa, 2, &err), CVR_OK, "%s", err.message);
}

size_t guarded_all(const agree_what *what) {
    static const guard_service service = {sizeof service, entering};
    bench b = {.what = what};
    cvr_error err;
    cvr_error_init(&err);
    (void)signal(SIGSEGV, on_fault);
    (void)signal(SIGBUS, on_fault);
    cr_assert_eq(machine_open(&b.plain, "reference", NULL, 1, &err), CVR_OK, "%s", err.message);
    for (uint32_t i = 0; i < what->n_isas; i++) open_guarded(&b.guarded[i], what, what->isas[i], &service);
    const size_t complaints = for_each_draw(CVR_TEST_DIR "/layers/cases", what->family, &b.plain, guard_case, &b);
    for (uint32_t i = 0; i < what->n_isas; i++) machine_close(&b.guarded[i]);
    machine_close(&b.plain);
    return complaints;
}
