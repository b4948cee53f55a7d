/* Gradient of a convolution with respect to its input. Each phase of the strides is a convolution
 * of stride 1 over the gradient, with turned weights, whose pixels are `stride` cells apart: every
 * cell of the result is written once, by one task. */
#include "conv_depthwise.h"
#include "conv_direct.h"
#include "conv_pack.h"

/* Phase (row, col) of this call.  dx(n, h, w, c)  g(n, oh, ow, o) w(kh, kw, c / groups, o) */
static zk_conv phase_of(const zk_call *c, int64_t row, int64_t col) {
    const zk_arg *dx = c->a, *g = c->a + 1, *w = c->a + 2;
    int64_t groups = conv_attr(c, 6);
    return (zk_conv){
        .v = phase_axis(c, 0, row, cells_of(g, 0), cells_of(dx, 0), kernel_cells(w, 0)),
        .h = phase_axis(c, 1, col, cells_of(g, 1), cells_of(dx, 1), kernel_cells(w, 1)),
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
    for (int64_t row = 0; row < conv_attr(c, 0); row++)
        for (int64_t col = 0; col < conv_attr(c, 1); col++) {
            zk_conv p = phase_of(c, row, col);
            if (is_depthwise(&p)) return 0;
            packed = zk_max(packed, zk_align(packed_floats(&p) * 4));
            own = zk_max(own, direct_scratch(&p, c->threads));
        }
    return packed + own;
}

static void run_phase(const zk_call *c, const zk_conv *p) {
    int64_t columns = kernel_cells(c->a + 2, 1);
    float *packed = (float *)c->scratch;
    if (is_depthwise(p)) {
        run_depthwise(c, p, c->p[2], columns, NULL, CONV_LINEAR);
        return;
    }
    pack_weights(c, p, c->p[2], columns, 1, packed);
    run_direct(c, p, packed, NULL, CONV_LINEAR, c->scratch + zk_align(packed_floats(p) * 4));
}

/* conv_grad_input.  out dx(n, h, w, c)  in g(n, oh, ow, o) w(kh, kw, c / groups, o) */
static void conv_grad_input(const zk_call *c) {
    for (int64_t row = 0; row < conv_attr(c, 0); row++)
        for (int64_t col = 0; col < conv_attr(c, 1); col++) {
            zk_conv p = phase_of(c, row, col);
            run_phase(c, &p);
        }
}

const zk_kernel ZK_TABLE(conv_grad_input)[] = {
    {"conv_grad_input", conv_grad_input, conv_grad_input_scratch}, {0}};
