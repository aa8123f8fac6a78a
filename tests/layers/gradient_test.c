/*
 * Analytic gradients against central differences (apps/conform/gradient_check.c) on the reference backend. At most 1 %
 * of the directions may be undecided. Every input and parameter of a layer must once have been checked where rounding
 * explains less than 0.2 %, else the test fails as too weak.
 */
#include "gradient_check.h"
#include "support/each_draw.h"
#include <criterion/criterion.h>

#define MOST_CHECKED 256u

typedef struct checked {
    char name[130]; /* "conv2d gparam.weight" */
    bool strong;
} checked;

typedef struct ledger {
    const case_machine *machine;
    checked all[MOST_CHECKED];
    uint32_t n;
    size_t directions, undecided;
} ledger;

static checked *entry(ledger *l, const char *layer, const char *what) {
    char name[130];
    (void)snprintf(name, sizeof name, "%.40s %.80s", layer, what);
    for (uint32_t i = 0; i < l->n; i++) {
        if (strcmp(l->all[i].name, name) == 0) return &l->all[i];
    }
    cr_assert_lt(l->n, MOST_CHECKED);
    memcpy(l->all[l->n].name, name, sizeof name);
    return &l->all[l->n++];
}

static void check_case(void *ctx, layer_case *c, char *why, size_t size) {
    ledger *l = ctx;
    gradient_report r;
    gradient_check(l->machine, c, &r, why, size);
    for (uint32_t i = 0; i < r.n; i++) {
        checked *e = entry(l, c->layer, r.all[i].name);
        e->strong = e->strong || r.all[i].strong;
    }
    l->directions += r.directions;
    l->undecided += r.undecided;
}

Test(gradients, central_differences) {
    static ledger l;
    case_machine m;
    cvr_error err;
    uint32_t weak = 0;
    cvr_error_init(&err);
    cr_assert_eq(machine_open(&m, "reference", NULL, 1, &err), CVR_OK, "%s", err.message);
    l.machine = &m;
    const size_t complaints = for_each_draw(CVR_TEST_DIR "/layers/cases", "", &m, check_case, &l);
    machine_close(&m);
    for (uint32_t i = 0; i < l.n; i++) {
        if (l.all[i].strong) continue;
        weak++;
        cr_log_error("%s: no draw is precise enough to tell a wrong factor of 1.01", l.all[i].name);
    }
    cr_assert_gt(l.n, 0);
    cr_assert_leq(l.undecided * 100, l.directions, "%zu of %zu directions meet a kink at every step", l.undecided,
                  l.directions);
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
    cr_assert_eq(weak, 0);
}
