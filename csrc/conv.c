/* Convolution forward: raw weights, fused with bias and activation, and on packed weights. Chooses
 * the algorithm by shape; the algorithms live in conv_direct.h and conv_depthwise.h. */
#include "conv_depthwise.h"
#include "conv_direct.h"
#include "conv_pack.h"

/* The convolution x -> y of this call; attr as in conv.h. */
static zk_conv forward(const zk_call *c, int64_t kernel_rows, int64_t kernel_cols) {
    const zk_arg *y = c->a, *x = c->a + 1;
    int64_t groups = conv_attr(c, 6), filters = y->dims[y->ndim - 1];
    return (zk_conv){
        .v = forward_axis(c, 0, cells_of(x, 0), cells_of(y, 0), kernel_rows),
        .h = forward_axis(c, 1, cells_of(x, 1), cells_of(y, 1), kernel_cols),
        .images = x->dims[0],
        .groups = groups,
        .ci = x->dims[x->ndim - 1] / groups,
        .co = filters / groups,
        .in = c->p ? c->p[1] : NULL,
        .out = c->p ? c->p[0] : NULL,
    };
}

static zk_conv raw_forward(const zk_call *c) {
    return forward(c, kernel_cells(c->a + 2, 0), kernel_cells(c->a + 2, 1));
}

static int64_t raw_scratch(const zk_call *c) {
    zk_conv p = raw_forward(c);
    if (is_depthwise(&p)) return 0;
    return zk_align(packed_floats(&p) * 4) + direct_scratch(&p, c->threads);
}

static void run_raw(const zk_call *c, const float *bias, int activation) {
    zk_conv p = raw_forward(c);
    if (is_depthwise(&p)) {
        run_depthwise(c, &p, c->p[2], p.h.taps, bias, activation);
        return;
    }
    float *packed = (float *)c->scratch;
    pack_weights(c, &p, c->p[2], p.h.taps, 0, packed);
    run_direct(c, &p, packed, bias, activation, c->scratch + zk_align(packed_floats(&p) * 4));
}

/* conv: y = correlation of x with w.
 * out y(n, oh, ow, o)  in x(n, h, w, c) w(kh, kw, c / groups, o); 1-D: without h, oh, kh */
static void conv(const zk_call *c) { run_raw(c, NULL, 0); }

/* conv_fused: y = activation(conv(x, w) + b).  out y  in x w as for conv, b(o)
 */
static void conv_fused(const zk_call *c) { run_raw(c, c->p[3], (int)conv_attr(c, 7)); }

/* attr of conv_packed: 8, 9 kernel rows and columns */
static zk_conv packed_forward(const zk_call *c) {
    return forward(c, conv_attr(c, 8), conv_attr(c, 9));
}

static int64_t conv_packed_scratch(const zk_call *c) {
    zk_conv p = packed_forward(c);
    return is_depthwise(&p) ? 0 : direct_scratch(&p, c->threads);
}

/* conv_packed: y = activation(conv(x, w) + b) with w from pack_conv.
 * out y(n, oh, ow, o)  in x(n, h, w, c) w(groups * panels, taps, c / groups, 16) b(o) */
static void conv_packed(const zk_call *c) {
    zk_conv p = packed_forward(c);
    int activation = (int)conv_attr(c, 7);
    if (is_depthwise(&p)) run_depthwise(c, &p, c->p[2], p.h.taps, c->p[3], activation);
    else run_direct(c, &p, c->p[2], c->p[3], activation, c->scratch);
}

/* pack_conv.  out packed(groups * panels, taps, c, 16)  in w(kh, kw, c, o); attr: groups. Depthwise
 * weights are copied. */
static void pack_conv(const zk_call *c) {
    const zk_arg *w = c->a + 1;
    int64_t groups = conv_attr(c, 0);
    zk_axis v = {.taps = kernel_cells(w, 0), .dindex = 1};
    zk_axis h = {.taps = kernel_cells(w, 1), .dindex = 1};
    zk_conv p = {.v = v,
                 .h = h,
                 .groups = groups,
                 .ci = w->dims[w->ndim - 2],
                 .co = w->dims[w->ndim - 1] / groups};
    if (is_depthwise(&p)) memcpy(c->p[0], c->p[1], (size_t)zk_count(w) * 4);
    else pack_weights(c, &p, c->p[1], h.taps, 0, c->p[0]);
}

const zk_kernel ZK_TABLE(conv)[] = {{"conv", conv, raw_scratch},
                                    {"conv_fused", conv_fused, raw_scratch},
                                    {"conv_packed", conv_packed, conv_packed_scratch},
                                    {"pack_conv", pack_conv, NULL},
                                    {0}};
