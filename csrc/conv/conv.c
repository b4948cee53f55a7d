/* Convolution forward: raw weights, fused with bias and activation, and on packed weights. Chooses
 * the algorithm by shape; they live in conv_direct.h, conv_depthwise.h, conv_grouped.h,
 * conv_winograd.h. */
#include "conv_depthwise.h"
#include "conv_direct.h"
#include "conv_grouped.h"
#include "conv_pack.h"
#include "conv_winograd.h"

/* Whether each output cell of an axis meets the input cell of its own number alone. */
static int keeps_cells(const zk_axis *a) {
    return a->taps == 1 && a->step == 1 && !a->shift && a->in == a->outs;
}

/* A window of one cell knows no rows: all cells are one list, which can be cut anywhere. */
static void join_cells(zk_conv *p) {
    if (p->groups > 1 || !keeps_cells(&p->z) || !keeps_cells(&p->v) || !keeps_cells(&p->h)) return;
    zk_axis *h = &p->h;
    h->outs *= p->images * p->z.outs * p->v.outs, h->in = h->out = h->outs;
    p->z.outs = p->z.in = p->z.out = p->v.outs = p->v.in = p->v.out = p->images = 1;
}

/* The convolution x -> y of this call; attr as in conv.h. */
static zk_conv forward(const zk_call *c, const int64_t *kernel) {
    const zk_arg *y = c->a, *x = c->a + 1;
    int64_t groups = conv_attr(c, CONV_GROUPS), filters = y->dims[y->ndim - 1];
    zk_conv p = {
        .z = forward_axis(c, 0, cells_of(x, 0), cells_of(y, 0), kernel[0]),
        .v = forward_axis(c, 1, cells_of(x, 1), cells_of(y, 1), kernel[1]),
        .h = forward_axis(c, 2, cells_of(x, 2), cells_of(y, 2), kernel[2]),
        .solid = x->ndim == 5,
        .images = x->dims[0],
        .groups = groups,
        .ci = x->dims[x->ndim - 1] / groups,
        .co = filters / groups,
        .in = c->p ? c->p[1] : NULL,
        .out = c->p ? c->p[0] : NULL,
        .residual = c->p && c->nin == 4 ? c->p[4] : NULL,
    };
    join_cells(&p);
    return p;
}

static zk_conv raw_forward(const zk_call *c) {
    const zk_arg *w = c->a + 2;
    return forward(c, (int64_t[]){kernel_cells(w, 0), kernel_cells(w, 1), kernel_cells(w, 2)});
}

static int64_t raw_scratch(const zk_call *c) {
    zk_conv p = raw_forward(c);
    int64_t packed = zk_align(packed_floats(&p) * 4);
    if (is_depthwise(&p)) return depthwise_scratch(&p, c->threads);
    if (is_spread(&p)) return grouped_scratch(&p, c->threads);
    const int tile = (int)conv_attr(c, CONV_WINOGRAD);
    if (!tile) return packed + direct_scratch(&p, c->threads);
    return packed + raw_winograd_scratch(&p, tile, c->threads);
}

static void run_raw(const zk_call *c, const float *bias, int activation) {
    zk_conv p = raw_forward(c);
    if (is_depthwise(&p)) {
        run_depthwise(c, &p, c->p[2], p.v.taps, p.h.taps, bias, activation);
        return;
    }
    if (is_spread(&p)) {
        run_grouped(c, &p, raw_weights(&p, c->p[2], p.h.taps, 0), bias, activation);
        return;
    }
    float *packed = (float *)c->scratch;
    char *rest = c->scratch + zk_align(packed_floats(&p) * 4);
    const int tile = (int)conv_attr(c, CONV_WINOGRAD);
    if (tile) {
        run_raw_winograd(c, &p, tile, 0, packed, bias, activation, rest);
        return;
    }
    pack_weights(c, &p, c->p[2], c->a + 2, 0, packed);
    run_direct(c, &p, packed, bias, activation, rest);
}

/* conv: y = correlation of x with w.
 * out y(n, [od, oh], ow, o)  in x(n, [d, h], w, c) w([kd, kh], kw, c / groups, o) */
static void conv(const zk_call *c) { run_raw(c, NULL, 0); }

/* conv_fused: y = activation(conv(x, w) + b [+ residual]).
 * out y  in x w as for conv, b(o), residual like y
 */
static void conv_fused(const zk_call *c) {
    run_raw(c, c->p[3], (int)conv_attr(c, CONV_ACTIVATION));
}

static zk_conv packed_forward(const zk_call *c) {
    int64_t kernel[3];
    for (int i = 0; i < 3; i++) kernel[i] = conv_attr(c, CONV_KERNEL + i);
    return forward(c, kernel);
}

/* Outputs along an axis of the Winograd tiles that packed weights are for; 0: for direct sums. */
static int tile_of(const zk_arg *packed, const zk_conv *p) {
    const int64_t points = count_taps(p) == 9 ? packed->dims[1] : 0;
    return points == WINO_POINTS(4) ? 4 : points == WINO_POINTS(2) ? 2 : 0;
}

static int64_t conv_packed_scratch(const zk_call *c) {
    zk_conv p = packed_forward(c);
    if (is_depthwise(&p)) return depthwise_scratch(&p, c->threads);
    if (is_spread(&p)) return grouped_scratch(&p, c->threads);
    const int tile = tile_of(c->a + 2, &p);
    return tile ? winograd_scratch(&p, tile, c->threads) : direct_scratch(&p, c->threads);
}

/* conv_packed: y = activation(conv(x, w) + b [+ residual]) with w from pack_conv.
 * out y(n, [od, oh], ow, o)  in x(n, [d, h], w, c) w(groups * panels, taps, c / groups, 16) b(o)
 * residual like y */
static void conv_packed(const zk_call *c) {
    zk_conv p = packed_forward(c);
    const int activation = (int)conv_attr(c, CONV_ACTIVATION), tile = tile_of(c->a + 2, &p);
    if (is_depthwise(&p)) run_depthwise(c, &p, c->p[2], p.v.taps, p.h.taps, c->p[3], activation);
    else if (is_spread(&p)) run_grouped(c, &p, panel_weights(&p, c->p[2]), c->p[3], activation);
    else if (tile) run_winograd(c, &p, tile, c->p[2], c->p[3], activation, c->scratch);
    else run_direct(c, &p, c->p[2], c->p[3], activation, c->scratch);
}

static zk_conv packing(const zk_call *c) {
    const zk_arg *w = c->a + 1;
    int64_t groups = conv_attr(c, 0);
    return (zk_conv){.z = {.taps = kernel_cells(w, 0), .dindex = 1},
                     .v = {.taps = kernel_cells(w, 1), .dindex = 1},
                     .h = {.taps = kernel_cells(w, 2), .dindex = 1},
                     .solid = w->ndim == 5,
                     .groups = groups,
                     .ci = w->dims[w->ndim - 2],
                     .co = w->dims[w->ndim - 1] / groups};
}

static int64_t pack_conv_scratch(const zk_call *c) {
    zk_conv p = packing(c);
    return tile_of(c->a, &p) ? packed_floats(&p) * 4 : 0;
}

/* pack_conv.  out packed(groups * panels, taps, c, 16), for Winograd (panels, points, c + 1, 16)
 * in w([kd, kh], kw, c, o); attr: groups. Depthwise weights are copied. */
static void pack_conv(const zk_call *c) {
    zk_conv p = packing(c);
    const zk_arg *w = c->a + 1;
    const int tile = tile_of(c->a, &p);
    if (is_depthwise(&p)) memcpy(c->p[0], c->p[1], (size_t)zk_count(w) * 4);
    else if (tile) pack_winograd(c, &p, c->p[1], w, 0, tile, (float *)c->scratch, c->p[0]);
    else pack_weights(c, &p, c->p[1], w, 0, c->p[0]);
}

const zk_kernel ZK_TABLE(conv)[] = {{"conv", conv, raw_scratch},
                                    {"conv_fused", conv_fused, raw_scratch},
                                    {"conv_packed", conv_packed, conv_packed_scratch},
                                    {"pack_conv", pack_conv, pack_conv_scratch},
                                    {0}};
