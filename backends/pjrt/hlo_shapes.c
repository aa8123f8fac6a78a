/* See hlo.h: what moves elements and leaves them as they are. */
#include "hlo.h"

/* "[1, 2, 3]" */
static const char *list(const int64_t *values, uint32_t n, char *text) {
    size_t at = (size_t)snprintf(text, HLO_TEXT, "[");
    for (uint32_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, HLO_TEXT - at, "%s%lld", i ? ", " : "", (long long)values[i]);
    (void)snprintf(text + at, HLO_TEXT - at, "]");
    return text;
}

hlo_value hlo_reshape(hlo *h, hlo_value a, uint32_t rank, const int64_t *shape) {
    char x[HLO_TEXT], y[HLO_TEXT], from[HLO_TEXT], to[HLO_TEXT];
    hlo_value v = {.dtype = a.dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) v.shape[i] = shape[i];
    if (rank == a.rank && memcmp(v.shape, a.shape, rank * sizeof *shape) == 0) return a;
    if (hlo_count(v) != hlo_count(a)) hlo_fail(h, "a reshape changes the number of elements");
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.reshape %s : (%s) -> %s\n", hlo_name(v, y), hlo_name(a, x), hlo_type(a, from),
            hlo_type(v, to));
    return v;
}

hlo_value hlo_reshape_like(hlo *h, hlo_value a, hlo_value like) {
    return hlo_reshape(h, a, like.rank, like.shape);
}

hlo_value hlo_transpose(hlo *h, hlo_value a, const uint32_t *order) {
    char x[HLO_TEXT], y[HLO_TEXT], from[HLO_TEXT], to[HLO_TEXT], axes[HLO_TEXT];
    int64_t wide[HLO_RANK];
    hlo_value v = hlo_new(h, a);
    for (uint32_t i = 0; i < a.rank; i++) {
        wide[i] = order[i];
        v.shape[i] = a.shape[order[i]];
    }
    hlo_put(h, "    %s = stablehlo.transpose %s, dims = %s : (%s) -> %s\n", hlo_name(v, y), hlo_name(a, x),
            list(wide, a.rank, axes), hlo_type(a, from), hlo_type(v, to));
    return v;
}

hlo_value hlo_to_logical(hlo *h, hlo_value a) {
    static const uint32_t order[4] = {0, 3, 1, 2};
    return a.rank == 4 ? hlo_transpose(h, a, order) : a;
}

hlo_value hlo_to_memory(hlo *h, hlo_value a) {
    static const uint32_t order[4] = {0, 2, 3, 1};
    return a.rank == 4 ? hlo_transpose(h, a, order) : a;
}

hlo_value hlo_broadcast(hlo *h, hlo_value a, hlo_value like, const uint32_t *axes) {
    char x[HLO_TEXT], y[HLO_TEXT], from[HLO_TEXT], to[HLO_TEXT], dims[HLO_TEXT];
    int64_t wide[HLO_RANK] = {0};
    for (uint32_t i = 0; i < a.rank; i++) wide[i] = axes[i];
    like.dtype = a.dtype;
    const hlo_value v = hlo_new(h, like);
    hlo_put(h, "    %s = stablehlo.broadcast_in_dim %s, dims = %s : (%s) -> %s\n", hlo_name(v, y), hlo_name(a, x),
            list(wide, a.rank, dims), hlo_type(a, from), hlo_type(v, to));
    return v;
}

hlo_value hlo_along(hlo *h, hlo_value a, hlo_value like, uint32_t axis) {
    const int64_t n = hlo_count(a);
    if (a.rank != 1) a = n == 1 ? hlo_reshape(h, a, 0, NULL) : hlo_reshape(h, a, 1, &n);
    return hlo_broadcast(h, a, like, &axis);
}

hlo_value hlo_expand(hlo *h, hlo_value a, hlo_value like, uint32_t axes) {
    uint32_t at[HLO_RANK], n = 0;
    for (uint32_t i = 0; i < like.rank; i++)
        if (!(axes >> i & 1)) at[n++] = i;
    if (n != a.rank) hlo_fail(h, "an expansion does not fit");
    return hlo_broadcast(h, a, like, at);
}

hlo_value hlo_slice(hlo *h, hlo_value a, const int64_t *from, const int64_t *to, const int64_t *step) {
    char x[HLO_TEXT], y[HLO_TEXT], of[HLO_TEXT], is[HLO_TEXT];
    hlo_value v = a;
    int whole = 1;
    for (uint32_t i = 0; i < a.rank; i++) {
        const int64_t by = step ? step[i] : 1;
        v.shape[i] = to[i] > from[i] ? (to[i] - from[i] + by - 1) / by : 0;
        whole = whole && v.shape[i] == a.shape[i];
    }
    if (whole) return a;
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.slice %s [", hlo_name(v, y), hlo_name(a, x));
    for (uint32_t i = 0; i < a.rank; i++)
        hlo_put(h, "%s%lld:%lld:%lld", i ? ", " : "", (long long)from[i], (long long)to[i],
                (long long)(step ? step[i] : 1));
    hlo_put(h, "] : (%s) -> %s\n", hlo_type(a, of), hlo_type(v, is));
    return v;
}

hlo_value hlo_slice_axis(hlo *h, hlo_value a, uint32_t axis, int64_t from, int64_t to) {
    int64_t low[HLO_RANK] = {0}, high[HLO_RANK];
    memcpy(high, a.shape, sizeof high);
    low[axis] = from;
    high[axis] = to;
    return hlo_slice(h, a, low, high, NULL);
}

/* ", %at, %zero": where a slice of `a` starts along each axis. */
static void put_place(hlo *h, hlo_value a, uint32_t axis, hlo_value at, hlo_value zero) {
    char text[HLO_TEXT];
    for (uint32_t i = 0; i < a.rank; i++) hlo_put(h, ", %s", hlo_name(i == axis ? at : zero, text));
}

/* The types of those, and the result's, which end the statement. */
static void put_place_types(hlo *h, hlo_value a, hlo_value result) {
    char text[HLO_TEXT];
    for (uint32_t i = 0; i < a.rank; i++) hlo_put(h, ", tensor<i32>");
    hlo_put(h, ") -> %s\n", hlo_type(result, text));
}

hlo_value hlo_slice_at(hlo *h, hlo_value a, uint32_t axis, hlo_value at) {
    char x[HLO_TEXT], y[HLO_TEXT], sizes[HLO_TEXT];
    const hlo_value zero = hlo_integer(h, CVR_I32, 0);
    hlo_value v = a;
    v.shape[axis] = 1;
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.dynamic_slice %s", hlo_name(v, y), hlo_name(a, x));
    put_place(h, a, axis, at, zero);
    hlo_put(h, ", sizes = %s : (%s", list(v.shape, v.rank, sizes), hlo_type(a, x));
    put_place_types(h, a, v);
    return v;
}

hlo_value hlo_update_at(hlo *h, hlo_value into, hlo_value part, uint32_t axis, hlo_value at) {
    char x[HLO_TEXT], y[HLO_TEXT], z[HLO_TEXT];
    const hlo_value zero = hlo_integer(h, CVR_I32, 0);
    hlo_value one = into;
    one.dtype = part.dtype;
    one.shape[axis] = 1;
    one = hlo_reshape_like(h, part, one);
    const hlo_value v = hlo_new(h, into);
    hlo_put(h, "    %s = stablehlo.dynamic_update_slice %s, %s", hlo_name(v, z), hlo_name(into, x), hlo_name(one, y));
    put_place(h, into, axis, at, zero);
    hlo_put(h, " : (%s, %s", hlo_type(into, x), hlo_type(one, y));
    put_place_types(h, into, v);
    return v;
}

hlo_value hlo_pad(hlo *h, hlo_value a, hlo_value with, const int64_t *low, const int64_t *high, const int64_t *inner) {
    char x[HLO_TEXT], w[HLO_TEXT], y[HLO_TEXT], of[HLO_TEXT], of_w[HLO_TEXT], is[HLO_TEXT], l[HLO_TEXT], u[HLO_TEXT],
        m[HLO_TEXT];
    static const int64_t none[HLO_RANK];
    hlo_value v = a;
    if (!inner) inner = none;
    for (uint32_t i = 0; i < a.rank; i++)
        v.shape[i] = a.shape[i] + low[i] + high[i] + (a.shape[i] > 0 ? (a.shape[i] - 1) * inner[i] : 0);
    if (memcmp(v.shape, a.shape, sizeof v.shape) == 0) {
        int same = 1;
        for (uint32_t i = 0; i < a.rank; i++) same = same && !low[i];
        if (same) return a;
    }
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.pad %s, %s, low = %s, high = %s, interior = %s : (%s, %s) -> %s\n", hlo_name(v, y),
            hlo_name(a, x), hlo_name(with, w), list(low, a.rank, l), list(high, a.rank, u), list(inner, a.rank, m),
            hlo_type(a, of), hlo_type(with, of_w), hlo_type(v, is));
    return v;
}

hlo_value hlo_concat(hlo *h, const hlo_value *all, uint32_t n, uint32_t axis) {
    char text[HLO_TEXT];
    hlo_value v = all[0];
    for (uint32_t i = 1; i < n; i++) v.shape[axis] += all[i].shape[axis];
    v = hlo_new(h, v);
    hlo_put(h, "    %s = stablehlo.concatenate", hlo_name(v, text));
    for (uint32_t i = 0; i < n; i++) hlo_put(h, "%s %s", i ? "," : "", hlo_name(all[i], text));
    hlo_put(h, ", dim = %u : (", axis);
    for (uint32_t i = 0; i < n; i++) hlo_put(h, "%s%s", i ? ", " : "", hlo_type(all[i], text));
    hlo_put(h, ") -> %s\n", hlo_type(v, text));
    return v;
}

hlo_value hlo_reverse(hlo *h, hlo_value a, uint32_t axes) {
    char x[HLO_TEXT], y[HLO_TEXT], type[HLO_TEXT], dims[HLO_TEXT];
    int64_t wide[HLO_RANK];
    uint32_t n = 0;
    for (uint32_t i = 0; i < a.rank; i++)
        if (axes >> i & 1) wide[n++] = i;
    const hlo_value v = hlo_new(h, a);
    hlo_put(h, "    %s = stablehlo.reverse %s, dims = %s : %s\n", hlo_name(v, y), hlo_name(a, x), list(wide, n, dims),
            hlo_type(a, type));
    return v;
}
