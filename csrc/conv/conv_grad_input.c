/* Gradient of a convolution with respect to its input. Each phase of the strides is a convolution
 * of stride 1 over the gradient, with turned weights, whose pixels are `stride` cells apart: every
 * cell of the result is written once, by one task. */
#include "conv_depthwise.h"
#include "conv_direct.h"
#include "conv_grouped.h"
#include "conv_pack.h"
#include "conv_winograd.h"

static int64_t count_phases(const zk_call *c) {
    return conv_attr(c, CONV_STRIDES) * conv_attr(c, CONV_STRIDES + 1) *
           conv_attr(c, CONV_STRIDES + 2);
}

/* One phase of this call. */
static zk_conv phase_at(const zk_call *c, int64_t i) {
    const zk_arg *dx = c->a, *g = c->a + 1, *w = c->a + 2;
    int64_t groups = conv_attr(c, CONV_GROUPS), across = conv_attr(c, CONV_STRIDES + 2);
    int64_t down = conv_attr(c, CONV_STRIDES + 1), plane = i / across / down;
    int64_t row = i / across % down, col = i % across;
    return (zk_conv){
        .z = phase_axis(c, 0, plane, cells_of(g, 0), cells_of(dx, 0), kernel_cells(w, 0)),
        .v = phase_axis(c, 1, row, cells_of(g, 1), cells_of(dx, 1), kernel_cells(w, 1)),
        .h = phase_axis(c, 2, col, cells_of(g, 2), cells_of(dx, 2), kernel_cells(w, 2)),
        .solid = g->ndim == 5,
        .images = g->dims[0],
        .groups = groups,
        .ci = g->dims[g->ndim - 1] / groups,
        .co = dx->dims[dx->ndim - 1] / groups,
        .in = c->p ? c->p[1] : NULL,
        .out = c->p ? c->p[0] : NULL,
    };
}

/* The largest need of any phase: they run one after the other. */
static int64_t conv_grad_input_scratch(const zk_call *c) {
    int64_t packed = 0, own = 0;
    for (int64_t i = 0; i < count_phases(c); i++) {
        zk_conv p = phase_at(c, i);
        if (is_depthwise(&p) || is_spread(&p)) {
            own = zk_max(own, is_spread(&p) ? grouped_scratch(&p, c->threads)
                                            : depthwise_scratch(&p, c->threads));
            continue;
        }
        packed = zk_max(packed, zk_align(packed_floats(&p) * 4));
        own = zk_max(own, direct_scratch(&p, c->threads));
        const int tile = (int)conv_attr(c, CONV_WINOGRAD);
        if (tile) own = raw_winograd_scratch(&p, tile, c->threads);
    }
    return packed + own;
}

static void run_phase(const zk_call *c, const zk_conv *p) {
    float *packed = (float *)c->scratch;
    char *rest = c->scratch + zk_align(packed_floats(p) * 4);
    if (is_depthwise(p)) {
        run_depthwise(c, p, c->p[2], kernel_cells(c->a + 2, 1), kernel_cells(c->a + 2, 2), NULL,
                      ZK_LINEAR);
        return;
    }
    const int tile = (int)conv_attr(c, CONV_WINOGRAD);
    if (tile) {
        run_raw_winograd(c, p, tile, 1, packed, NULL, ZK_LINEAR, rest);
        return;
    }
    if (is_spread(p)) {
        zk_weights w = raw_weights(p, c->p[2], kernel_cells(c->a + 2, 2), 1);
        run_grouped(c, p, w, NULL, ZK_LINEAR);
        return;
    }
    pack_weights(c, p, c->p[2], c->a + 2, 1, packed);
    run_direct(c, p, packed, NULL, ZK_LINEAR, rest);
}

/* conv_grad_input.  out dx(n, [d, h], w, c)  in g(n, [od, oh], ow, o)
 * w([kd, kh], kw, c / groups, o) */
static void conv_grad_input(const zk_call *c) {
    for (int64_t i = 0; i < count_phases(c); i++) {
        zk_conv p = phase_at(c, i);
        run_phase(c, &p);
    }
}

const zk_kernel ZK_TABLE(conv_grad_input)[] = {
    {"conv_grad_input", conv_grad_input, conv_grad_input_scratch}, {0}};
