/* Gradient of a convolution with respect to its weights: for each tap, the sum over output pixels
 * of (input channels) x (gradient channels). Bands of pixels are shared out over a number of pieces
 * that depends on the shapes alone; each piece sums its bands in order, and the pieces are added in
 * order, so no result depends on the number of threads. */
#include "conv_depthwise_grad.h"
#include "conv_grouped_grad.h"
#include "conv_outer.h"
#include "conv_pieces.h"
#include "conv_winograd_grad.h"

#define FLAT_CHANNELS 32         /* up to here the channels of neighbouring cells form one run */
#define GRAD_PIXELS 256          /* most pixels of a band */
#define TASKS 16                 /* parallel tasks aimed at */
#define CHUNK_PANELS 8           /* most panels of filters of a task: they share a packed input */
#define PARTIAL_FLOATS (4 << 20) /* most memory of all partial sums */

typedef struct {
    zk_conv p; /* .in: x */
    const float *g;
    float *sums; /* dw(taps, ci, groups * co), or `pieces` of them */
    zk_bands bands;
    int64_t panels, chunks, pieces; /* panels of a group; parts of all panels; parts of the bands */
    int64_t floats;                 /* of dw */
    int flat;
    char *scratch; /* for each thread: g_bytes, tap_bytes, then the input */
    int64_t own_scratch, tap_bytes;
} kernel_grad;

static const int64_t g_bytes = GRAD_PIXELS * PANEL * OUTER_PANELS * 4;

/* Gradient pixels of a band, some panels of filters: g(panels, GRAD_PIXELS, 16). */
static const float *gradient_panels(const kernel_grad *k, const zk_band *b, int64_t filter,
                                    int cols, float *copy) {
    const zk_conv *p = &k->p;
    int64_t pitch = p->groups * p->co, plane = b->image * p->z.outs + b->plane;
    int64_t first = (plane * p->v.outs + b->row) * p->h.outs + b->col;
    const float *g = k->g + first * pitch + filter;
    const float *end = k->g + p->images * p->z.outs * p->v.outs * p->h.outs * pitch;
    if (pitch == PANEL) return g;
    for (int c = 0; c < cols; c += PANEL)
        copy_cells(copy + c * GRAD_PIXELS, g + c, pitch, band_pixels(b), zk_min(PANEL, cols - c),
                   PANEL, PANEL, end);
    return copy;
}

/* All tiles of some panels: `flat`, where a run of floats holds the channels of several taps. */
static void flat_rows(const kernel_grad *k, const zk_window *w, int64_t *taps, outer_job *j,
                      float *dw) {
    int64_t ntaps, run = tap_runs(&k->p, w, taps, &ntaps), tiles = zk_ceil(run, OUTER_ROWS);
    for (int64_t t = 0; t < ntaps; t++)
        for (int64_t i = 0; i < tiles; i++) {
            int64_t at = run * i / tiles, end = run * (i + 1) / tiles;
            j->x = w->base + taps[t] + at;
            outer_rows(j, dw + (t * run + at) * j->pitch, end - at);
        }
}

/* The same where the input is packed, see packed_window. */
static void packed_rows(const kernel_grad *k, const zk_window *w, int64_t panel_floats,
                        outer_job *j, float *dw) {
    const zk_conv *p = &k->p;
    for (int64_t t = 0; t < count_taps(p); t++) {
        int64_t row = t / p->h.taps;
        j->x = w->base + row / p->v.taps * p->z.dshift * w->plane_pitch +
               row % p->v.taps * p->v.dshift * w->row_pitch +
               t % p->h.taps * p->h.dshift * w->pitch;
        for (int64_t c = 0; c < p->ci; c += OUTER_ROWS, j->x += panel_floats)
            outer_rows(j, dw + (t * p->ci + c) * j->pitch, zk_min(OUTER_ROWS, p->ci - c));
    }
}

/* Panels [from, to) of one group for one band, added to dw. */
static void band_gradient(const kernel_grad *k, const zk_band *b, int64_t group, int64_t from,
                          int64_t to, char *scratch, float *dw) {
    const zk_conv *p = &k->p;
    int64_t *taps = (int64_t *)(scratch + g_bytes);
    float *copy = (float *)(scratch + g_bytes + k->tap_bytes);
    zk_window w =
        k->flat ? band_window(p, &k->bands, b, group, copy) : packed_window(p, b, group, copy);
    outer_job j = {.pixel = p->h.step * w.pitch,
                   .row = p->v.step * w.row_pitch,
                   .image = w.image_pitch,
                   .images = b->images,
                   .rows = b->rows,
                   .cols = b->cols,
                   .pitch = p->groups * p->co,
                   .panel = GRAD_PIXELS * PANEL};
    join_pixels(&j);
    for (int64_t o = from; o < to; o += OUTER_PANELS) {
        int64_t filter = group * p->co + o * PANEL;
        j.filters = (int)zk_min(zk_min(OUTER_PANELS, to - o) * PANEL, p->co - o * PANEL);
        j.g = gradient_panels(k, b, filter, j.filters, (float *)scratch);
        if (k->flat) flat_rows(k, &w, taps, &j, dw + filter);
        else packed_rows(k, &w, panel_distance(&w, b->images), &j, dw + filter);
    }
}

/* One part of the bands and one part of the panels. */
static void grad_task(void *ctx, int64_t task, int thread) {
    const kernel_grad *k = ctx;
    int64_t piece = task / k->chunks, chunk = task % k->chunks, bands = count_bands(&k->bands);
    int64_t all = k->p.groups * k->panels;
    int64_t from = all * chunk / k->chunks, end = all * (chunk + 1) / k->chunks;
    for (int64_t i = bands * piece / k->pieces; i < bands * (piece + 1) / k->pieces; i++) {
        zk_band b = band_at(&k->p, &k->bands, i);
        for (int64_t at = from, to; at < end; at = to) {
            int64_t group = at / k->panels, first = group * k->panels;
            to = zk_min(end, first + k->panels);
            band_gradient(k, &b, group, at - first, to - first,
                          k->scratch + thread * k->own_scratch, k->sums + piece * k->floats);
        }
    }
}

/* The convolution x -> g.  out dw([kd, kh], kw, c / groups, o)  in x(n, [d, h], w, c)
 * g(n, [od, oh], ow, o) */
static zk_conv gradient_of(const zk_call *c) {
    const zk_arg *w = c->a, *x = c->a + 1, *g = c->a + 2;
    int64_t groups = conv_attr(c, CONV_GROUPS);
    return (zk_conv){
        .z = forward_axis(c, 0, cells_of(x, 0), cells_of(g, 0), kernel_cells(w, 0)),
        .v = forward_axis(c, 1, cells_of(x, 1), cells_of(g, 1), kernel_cells(w, 1)),
        .h = forward_axis(c, 2, cells_of(x, 2), cells_of(g, 2), kernel_cells(w, 2)),
        .solid = x->ndim == 5,
        .images = x->dims[0],
        .groups = groups,
        .ci = x->dims[x->ndim - 1] / groups,
        .co = w->dims[w->ndim - 1] / groups,
        .in = c->p ? c->p[1] : NULL,
    };
}

/* How the work is cut: by the shapes alone. Into parts of the panels, which all pack the same
 * input, and pieces of the bands, which all need memory for a whole dw. */
static kernel_grad plan_gradient(const zk_call *c) {
    kernel_grad k = {.p = gradient_of(c), .floats = zk_count(c->a)};
    k.flat = k.p.ci <= FLAT_CHANNELS;
    const int apart = !k.flat && k.p.v.step * k.p.h.step > 1; /* then each reads more input */
    k.bands = cut_bands(&k.p, apart ? GRAD_PIXELS / 2 : GRAD_PIXELS);
    k.panels = zk_ceil(k.p.co, PANEL);
    int64_t all = zk_max(k.p.groups * k.panels, 1);
    int64_t most = zk_min(PARTIAL_FLOATS / zk_max(k.floats, 1), count_bands(&k.bands));
    most = zk_max(most, 1);
    k.chunks = zk_max(zk_min(zk_ceil(TASKS, most), zk_ceil(all, 2)), zk_ceil(all, CHUNK_PANELS));
    k.pieces = zk_min(zk_ceil(TASKS, k.chunks), most);
    k.tap_bytes = zk_align(count_taps(&k.p) * 8);
    k.own_scratch = g_bytes + k.tap_bytes + zk_align(operand_floats(&k.p, &k.bands, k.flat) * 4);
    return k;
}

static int64_t partial_bytes(const kernel_grad *k) {
    return k->pieces > 1 ? zk_align(k->pieces * k->floats * 4) : 0;
}

static int64_t conv_grad_kernel_scratch(const zk_call *c) {
    kernel_grad k = plan_gradient(c);
    if (is_depthwise(&k.p)) return depthwise_grad_scratch(&k.p, c->threads);
    if (is_spread(&k.p) && k.p.groups * k.p.co >= VL) return grouped_grad_scratch(&k.p, c->threads);
    if (conv_attr(c, CONV_WINOGRAD)) return winograd_grad_scratch(&k.p, c->threads);
    return partial_bytes(&k) + c->threads * k.own_scratch;
}

/* conv_grad_kernel.  out dw([kd, kh], kw, c / groups, o)  in x(n, [d, h], w, c)
 * g(n, [od, oh], ow, o) */
static void conv_grad_kernel(const zk_call *c) {
    kernel_grad k = plan_gradient(c);
    k.g = c->p[2];
    if (is_depthwise(&k.p)) {
        run_depthwise_grad(c, &k.p, k.g, c->p[0]);
        return;
    }
    if (is_spread(&k.p) && k.p.groups * k.p.co >= VL) {
        run_grouped_grad(c, &k.p, k.g, c->p[0]);
        return;
    }
    if (conv_attr(c, CONV_WINOGRAD)) {
        run_winograd_grad(c, &k.p, k.g, c->p[0]);
        return;
    }
    k.scratch = c->scratch + partial_bytes(&k);
    k.sums = k.pieces > 1 ? (float *)c->scratch : c->p[0];
    memset(k.sums, 0, (size_t)(k.pieces * k.floats) * 4);
    zk_parallel(c, k.pieces * k.chunks, grad_task, &k);
    if (k.pieces > 1) add_pieces(c, k.sums, k.pieces, k.floats, c->p[0]);
}

const zk_kernel ZK_TABLE(conv_grad_kernel)[] = {
    {"conv_grad_kernel", conv_grad_kernel, conv_grad_kernel_scratch}, {0}};
