/* See pack_use.h. */
#include "pack_use.h"
#include "each_draw.h"
#include <criterion/criterion.h>

#define KERNEL "kernel:cpu/"

static const cvr_plugin_info *find_plugin(const cvr_plugins *plugins, const char *id) {
    for (size_t i = 0; i < cvr_plugins_count(plugins); i++) {
        if (strcmp(cvr_plugins_info(plugins, i)->id, id) == 0) return cvr_plugins_info(plugins, i);
    }
    return NULL;
}

void pack_use_begin(pack_use *u, const case_machine *m, const char *pack) {
    const cvr_plugin_info *info = find_plugin(m->plugins, pack);
    cr_assert(info, "no plugin %s", pack);
    u->machine = m;
    u->isa = info->isa;
    for (const char *at = strstr(info->provides, KERNEL); at; at = strstr(at, KERNEL)) {
        at += strlen(KERNEL);
        cr_assert_lt(u->n, PACK_MOST_OPS);
        (void)snprintf(u->ops[u->n++].op, sizeof u->ops->op, "%.*s", (int)strcspn(at, " "), at);
    }
    cr_assert_gt(u->n, 0, "%s provides no kernel", pack);
}

static void count_program(pack_use *u, const cvr_program *p) {
    for (size_t i = 0; i < cvr_program_nodes(p); i++) {
        cvr_node_info info;
        cvr_program_node(p, i, &info);
        for (op_use *op = u->ops; op < u->ops + u->n; op++) {
            if (strcmp(op->op, info.op) != 0) continue;
            op->all++;
            op->own += *u->isa ? strcmp(info.isa, u->isa) == 0 : strcmp(info.backend, "cpu") == 0;
        }
    }
}

static void count_nodes(void *ctx, layer_case *c, char *why, size_t size) {
    pack_use *u = ctx;
    case_run *run;
    cvr_error err;
    cvr_error_init(&err);
    c->low = u->low ? CVR_BF16 : 0;
    c->math = u->math;
    for (int evaluation = 0; evaluation < 2 && !*why; evaluation++) {
        c->training = c->backward = !evaluation;
        if (case_open(&run, u->machine, c, &err) == CVR_OK)
            count_program(u, case_program(run));
        else
            (void)snprintf(why, size, "%.400s", err.message);
        case_close(&run);
    }
}

void pack_use_count(pack_use *u, const char *family) {
    cr_assert_eq(for_each_draw(CVR_TEST_DIR "/layers/cases", family, u->machine, count_nodes, u), 0);
}

void pack_use_expect(const pack_use *u, const char *pack, double share) {
    size_t seen = 0;
    for (const op_use *op = u->ops; op < u->ops + u->n; op++) {
        seen += op->all > 0;
        if (u->except && strstr(u->except, op->op)) continue;
        cr_expect((double)op->own >= share * (double)op->all, "%s: %zu of %zu nodes are by %s", op->op, op->own,
                  op->all, pack);
    }
    cr_expect_gt(seen, 0, "no case has an op of %s", pack);
}
