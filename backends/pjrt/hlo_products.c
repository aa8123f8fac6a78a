/* See hlo.h: sums, products, looking up, sorting. */
#include "hlo.h"
#include <math.h>

/* ---- reductions ---- */

/* What an operation leaves everything as it is with. */
static hlo_value neutral(hlo *h, const char *op, uint32_t dtype) {
    const int whole = dtype != CVR_F32 && dtype != HLO_F64;
    if (strcmp(op, "maximum") == 0) {
        if (dtype == CVR_U8 || dtype == HLO_U32 || dtype == HLO_U64) return hlo_integer(h, dtype, 0);
        return whole ? hlo_integer(h, dtype,
                                   dtype == CVR_I64   ? INT64_MIN
                                   : dtype == CVR_I32 ? INT32_MIN
                                                      : INT8_MIN)
                     : hlo_scalar(h, dtype, -HUGE_VAL);
    }
    if (strcmp(op, "minimum") == 0 && dtype == HLO_U32) return hlo_integer(h, dtype, UINT32_MAX);
    if (strcmp(op, "minimum") == 0)
        return whole ? hlo_integer(h, dtype,
                                   dtype == CVR_I64   ? INT64_MAX
                                   : dtype == CVR_I32 ? INT32_MAX
                                                      : INT8_MAX)
                     : hlo_scalar(h, dtype, HUGE_VAL);
    return hlo_scalar(h, dtype, strcmp(op, "and") == 0);
}

hlo_value hlo_reduce(hlo *h, const char *op, hlo_value a, uint32_t axes) {
    char x[HLO_TEXT], y[HLO_TEXT], w[HLO_TEXT], of[HLO_TEXT], is[HLO_TEXT], of_w[HLO_TEXT];
    hlo_value v = {.dtype = a.dtype};
    int first = 1;
    if (!(axes & ((1u << a.rank) - 1))) return a;
    for (uint32_t i = 0; i < a.rank; i++)
        if (!(axes >> i & 1)) v.shape[v.rank++] = a.shape[i];
    const hlo_value with = neutral(h, op, a.dtype);
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.reduce(%s init: %s) applies stablehlo.%s across dimensions = [", hlo_name(v, y),
            hlo_name(a, x), hlo_name(with, w), op);
    for (uint32_t i = 0; i < a.rank; i++) {
        if (!(axes >> i & 1)) continue;
        hlo_put(h, "%s%u", first ? "" : ", ", i);
        first = 0;
    }
    hlo_put(h, "] : (%s, %s) -> %s\n", hlo_type(a, of), hlo_type(with, of_w), hlo_type(v, is));
    return v;
}

hlo_value hlo_sum(hlo *h, hlo_value a, uint32_t axes) {
    return hlo_reduce(h, "add", a, axes);
}

hlo_value hlo_mean(hlo *h, hlo_value a, uint32_t axes) {
    const hlo_value sum = hlo_sum(h, a, axes);
    return hlo_scale(h, sum, (double)hlo_count(sum) / (double)hlo_count(a));
}

hlo_value hlo_reduce_window(hlo *h, const char *op, hlo_value a, const hlo_window *w) {
    char x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT], of[HLO_TEXT], is[HLO_TEXT], scalar[HLO_TEXT];
    const hlo_value with = neutral(h, op, a.dtype);
    hlo_value v = a;
    for (int i = 0; i < 2; i++) {
        const int64_t base = (a.shape[1 + i] - 1) * w->base[i] + 1 + w->low[i] + w->high[i];
        v.shape[1 + i] = (base - (w->size[i] - 1) * w->dilation[i] - 1) / w->step[i] + 1;
    }
    v = hlo_new(h, v);
    (void)hlo_type(with, scalar);
    hlo_put(h, "    %s = \"stablehlo.reduce_window\"(%s, %s) <{", hlo_name(v, y), hlo_name(a, x), hlo_name(with, z));
#define LIST(name_, field_)                                                                                            \
    hlo_put(h, name_ " = array<i64: 1, %lld, %lld, 1>, ", (long long)w->field_[0], (long long)w->field_[1])
    LIST("window_dimensions", size);
    LIST("window_strides", step);
    LIST("base_dilations", base);
    LIST("window_dilations", dilation);
#undef LIST
    hlo_put(h, "padding = dense<[[0, 0], [%lld, %lld], [%lld, %lld], [0, 0]]> : tensor<4x2xi64>}> ({\n",
            (long long)w->low[0], (long long)w->high[0], (long long)w->low[1], (long long)w->high[1]);
    hlo_put(h, "    ^bb0(%%wa: %s, %%wb: %s):\n      %%wc = stablehlo.%s %%wa, %%wb : %s\n", scalar, scalar, op,
            scalar);
    hlo_put(h, "      stablehlo.return %%wc : %s\n    }) : (%s, %s) -> %s\n", scalar, hlo_type(a, of), scalar,
            hlo_type(v, is));
    return v;
}

/* ---- products ---- */

hlo_value hlo_dot(hlo *h, hlo_value a, hlo_value b, uint32_t n_batch, uint32_t of_a, uint32_t of_b) {
    char x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT], ta[HLO_TEXT], tb[HLO_TEXT], tv[HLO_TEXT];
    hlo_value v = {.dtype = a.dtype == CVR_I32 ? CVR_I32 : CVR_F32};
    for (uint32_t i = 0; i < n_batch; i++) v.shape[v.rank++] = a.shape[i];
    for (uint32_t i = n_batch; i < a.rank; i++)
        if (i != of_a) v.shape[v.rank++] = a.shape[i];
    for (uint32_t i = n_batch; i < b.rank; i++)
        if (i != of_b) v.shape[v.rank++] = b.shape[i];
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.dot_general %s, %s,", hlo_name(v, z), hlo_name(a, x), hlo_name(b, y));
    for (int side = 0; side < 2 && n_batch; side++) {
        hlo_put(h, side ? " x [" : " batching_dims = [");
        for (uint32_t i = 0; i < n_batch; i++) hlo_put(h, "%s%u", i ? ", " : "", i);
        hlo_put(h, side ? "]," : "]");
    }
    hlo_put(h, " contracting_dims = [%u] x [%u], precision = [%s, %s] : (%s, %s) -> %s\n", of_a, of_b,
            a.dtype == CVR_F32 ? "HIGHEST" : "DEFAULT", b.dtype == CVR_F32 ? "HIGHEST" : "DEFAULT", hlo_type(a, ta),
            hlo_type(b, tb), hlo_type(v, tv));
    return v;
}

hlo_value hlo_convolve(hlo *h, hlo_value x, hlo_value w, const hlo_convolution *c) {
    char nx[HLO_TEXT], nw[HLO_TEXT], ny[HLO_TEXT], tx[HLO_TEXT], tw[HLO_TEXT], ty[HLO_TEXT];
    const hlo_value v = hlo_new(h, c->result);
    const char *precision = x.dtype == CVR_F32 ? "HIGHEST" : "DEFAULT";
#define PAIR(field_) (long long)c->field_[0], (long long)c->field_[1]
    hlo_put(h, "    %s = stablehlo.convolution(%s, %s) dim_numbers = %s, ", hlo_name(v, ny), hlo_name(x, nx),
            hlo_name(w, nw), c->axes);
    hlo_put(h, "window = {stride = [%lld, %lld], pad = [[%lld, %lld], [%lld, %lld]], ", PAIR(step),
            (long long)c->low[0], (long long)c->high[0], (long long)c->low[1], (long long)c->high[1]);
    hlo_put(h, "lhs_dilate = [%lld, %lld], rhs_dilate = [%lld, %lld]} ", PAIR(x_dilation), PAIR(w_dilation));
    hlo_put(h, "{batch_group_count = %lld : i64, feature_group_count = %lld : i64, ", (long long)c->batch_groups,
            (long long)c->groups);
    hlo_put(h, "precision_config = [#stablehlo<precision %s>, #stablehlo<precision %s>]} : (%s, %s) -> %s\n", precision,
            precision, hlo_type(x, tx), hlo_type(w, tw), hlo_type(v, ty));
#undef PAIR
    return v;
}

/* ---- looking up ---- */

/* One gather; `batched`: axis 0 of both is common. Whole rows of a are taken. */
static hlo_value gather(hlo *h, hlo_value a, hlo_value index, uint32_t batched) {
    char x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT], ta[HLO_TEXT], ti[HLO_TEXT], tv[HLO_TEXT];
    hlo_value v = {.dtype = a.dtype, .rank = index.rank};
    memcpy(v.shape, index.shape, sizeof v.shape);
    for (uint32_t i = 1 + batched; i < a.rank; i++) {
        if (v.rank == HLO_RANK) hlo_fail(h, "a look-up of too many axes");
        v.shape[v.rank++ % HLO_RANK] = a.shape[i];
    }
    v = hlo_new(h, v);
    hlo_put(h, "    %s = \"stablehlo.gather\"(%s, %s) <{dimension_numbers = #stablehlo.gather<", hlo_name(v, z),
            hlo_name(a, x), hlo_name(index, y));
    if (a.rank > 1 + batched) {
        hlo_put(h, "offset_dims = [");
        for (uint32_t i = index.rank; i < v.rank; i++) hlo_put(h, "%s%u", i > index.rank ? ", " : "", i);
        hlo_put(h, "], ");
    }
    hlo_put(h, "collapsed_slice_dims = [%u], ", batched);
    if (batched) hlo_put(h, "operand_batching_dims = [0], start_indices_batching_dims = [0], ");
    hlo_put(h, "start_index_map = [%u], index_vector_dim = %u>, indices_are_sorted = false, slice_sizes = array<i64: ",
            batched, index.rank);
    for (uint32_t i = 0; i < a.rank; i++)
        hlo_put(h, "%s%lld", i ? ", " : "", i <= batched ? 1LL : (long long)a.shape[i]);
    hlo_put(h, ">}> : (%s, %s) -> %s\n", hlo_type(a, ta), hlo_type(index, ti), hlo_type(v, tv));
    return v;
}

hlo_value hlo_take(hlo *h, hlo_value a, hlo_value index) {
    return gather(h, a, index, 0);
}
hlo_value hlo_take_batched(hlo *h, hlo_value a, hlo_value index) {
    return gather(h, a, index, 1);
}

hlo_value hlo_scatter_add(hlo *h, hlo_value into, hlo_value index, hlo_value rows) {
    char x[HLO_TEXT], y[HLO_TEXT], w[HLO_TEXT], z[HLO_TEXT], ta[HLO_TEXT], ti[HLO_TEXT], tr[HLO_TEXT], ts[HLO_TEXT];
    const hlo_value scalar = {.dtype = into.dtype}, v = hlo_new(h, into);
    hlo_put(h, "    %s = \"stablehlo.scatter\"(%s, %s, %s) <{scatter_dimension_numbers = #stablehlo.scatter<",
            hlo_name(v, z), hlo_name(into, x), hlo_name(index, y), hlo_name(rows, w));
    if (into.rank > 1) {
        hlo_put(h, "update_window_dims = [");
        for (uint32_t i = 1; i < into.rank; i++) hlo_put(h, "%s%u", i > 1 ? ", " : "", i);
        hlo_put(h, "], ");
    }
    hlo_put(h, "inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>, "
               "indices_are_sorted = false, unique_indices = false}> ({\n");
    hlo_put(h, "    ^bb0(%%wa: %s, %%wb: %s):\n      %%wc = stablehlo.add %%wa, %%wb : %s\n", hlo_type(scalar, ts), ts,
            ts);
    hlo_put(h, "      stablehlo.return %%wc : %s\n    }) : (%s, %s, %s) -> %s\n", ts, hlo_type(into, ta),
            hlo_type(index, ti), hlo_type(rows, tr), ta);
    return v;
}

void hlo_sort(hlo *h, hlo_value *key, hlo_value *with) {
    char x[HLO_TEXT], y[HLO_TEXT], tk[HLO_TEXT], tw[HLO_TEXT], sk[HLO_TEXT], sw[HLO_TEXT];
    const hlo_value of_key = {.dtype = key->dtype}, of_with = {.dtype = with->dtype};
    const int is_float = key->dtype == CVR_F32;
    const int is_unsigned = key->dtype >= HLO_BOOL || key->dtype == CVR_U8;
    const uint32_t id = h->next++;
    hlo_put(h, "    %%%u:2 = \"stablehlo.sort\"(%s, %s) <{dimension = %u : i64, is_stable = true}> ({\n", id,
            hlo_name(*key, x), hlo_name(*with, y), key->rank - 1);
    hlo_put(h, "    ^bb0(%%wa: %s, %%wb: %s, %%wc: %s, %%wd: %s):\n", hlo_type(of_key, sk), sk, hlo_type(of_with, sw),
            sw);
    hlo_put(h, "      %%we = stablehlo.compare LT, %%wa, %%wb, %s : (%s, %s) -> tensor<i1>\n",
            is_float      ? "TOTALORDER"
            : is_unsigned ? "UNSIGNED"
                          : "SIGNED",
            sk, sk);
    hlo_put(h, "      stablehlo.return %%we : tensor<i1>\n    }) : (%s, %s) -> (%s, %s)\n", hlo_type(*key, tk),
            hlo_type(*with, tw), tk, tw);
    key->id = with->id = id;
    key->part = 1;
    with->part = 2;
}
