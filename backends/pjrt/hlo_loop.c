/* See hlo.h: a loop is a `while` whose first value counts its rounds. */
#include "hlo.h"

static void put_types(hlo *h, const hlo_loop *l, const hlo_value *carried) {
    char text[HLO_TEXT];
    hlo_put(h, " : %s", hlo_type(l->round, text));
    for (uint32_t i = 0; i < l->n; i++) hlo_put(h, ", %s", hlo_type(carried[i], text));
}

void hlo_loop_begin(hlo *h, hlo_loop *l, hlo_value *carried, uint32_t n) {
    char inside[HLO_TEXT], outside[HLO_TEXT];
    const hlo_value zero = hlo_integer(h, CVR_I32, 0);
    if (n == 0 || n > HLO_CARRIED) {
        hlo_fail(h, "a loop carries %u values", n);
        n = 0;
    }
    l->id = h->next++;
    l->n = n;
    l->round = hlo_new(h, zero);
    hlo_put(h, "    %%%u:%u = stablehlo.while(%s = %s", l->id, n + 1, hlo_name(l->round, inside),
            hlo_name(zero, outside));
    for (uint32_t i = 0; i < n; i++) {
        const hlo_value before = carried[i];
        carried[i] = hlo_new(h, before);
        hlo_put(h, ", %s = %s", hlo_name(carried[i], inside), hlo_name(before, outside));
    }
    hlo_put(h, ")");
    put_types(h, l, carried);
    hlo_put(h, "\n    cond {\n");
    const hlo_value goes_on = hlo_compare(h, "LT", l->round, carried[0]);
    hlo_put(h, "    stablehlo.return %s : tensor<i1>\n    } do {\n", hlo_name(goes_on, inside));
}

void hlo_loop_end(hlo *h, const hlo_loop *l, hlo_value *carried) {
    char text[HLO_TEXT];
    const hlo_value next = hlo_add(h, l->round, hlo_integer(h, CVR_I32, 1));
    hlo_put(h, "    stablehlo.return %s", hlo_name(next, text));
    for (uint32_t i = 0; i < l->n; i++) hlo_put(h, ", %s", hlo_name(carried[i], text));
    put_types(h, l, carried);
    hlo_put(h, "\n    }\n");
    for (uint32_t i = 0; i < l->n; i++) {
        carried[i].id = l->id;
        carried[i].part = i + 2;
    }
}
