/* The geometry of a convolution: axes, taps, and bands of outputs. Forward and both gradients are
 * described by the same few numbers; nothing here computes or copies anything. Arrays are NDHWC; a
 * 2-D convolution is a 3-D one with one plane, a 1-D one has one row as well. */
#ifndef ZK_CONV_H
#define ZK_CONV_H
#include "vec.h"

/* Keeps the compiler from loading a tile's rows all at once, for which there are no registers, and
 * from turning a short loop into a library call. */
#define IN_ORDER __asm__ volatile("" ::: "memory")

/* One spatial axis. Output i meets kernel cell index + t * dindex at input cell i * step + shift +
 * t * dshift, for every tap t; it is stored at cell first + i * every. */
typedef struct {
    int64_t outs, first, every;
    int64_t taps, index, dindex;
    int64_t step, shift, dshift;
    int64_t in, out; /* cells of the input and output arrays */
} zk_axis;

typedef struct {
    zk_axis z, v, h;                /* depth, vertical, horizontal */
    int64_t images, groups, ci, co; /* ci, co: channels of one group, in and out */
    const float *in;
    float *out;
    const float *residual; /* like out, or NULL: added before the activation; may be out itself */
    int solid;             /* three spatial axes */
} zk_conv;

/* A rectangle of outputs of one plane, or of the only planes of several images: either whole
 * planes, or whole rows of one, or a part of one row. */
typedef struct {
    int64_t image, images, plane, row, rows, col, cols;
} zk_band;

typedef struct {
    int64_t images, rows, cols;             /* of a full band */
    int64_t nimages, nplanes, nrows, ncols; /* bands along each axis */
} zk_bands;

static inline int64_t count_taps(const zk_conv *p) { return p->z.taps * p->v.taps * p->h.taps; }

static inline int is_depthwise(const zk_conv *p) {
    return p->ci == 1 && p->co == 1 && p->groups > 1;
}

/* Places of attributes: see zk.h. */
enum {
    CONV_STRIDES = ZK_CONV_STRIDES,
    CONV_PADDING = ZK_CONV_PADDING,
    CONV_DILATION = ZK_CONV_DILATION,
    CONV_GROUPS = ZK_CONV_GROUPS,
    CONV_ACTIVATION = ZK_CONV_ACTIVATION,
    CONV_WINOGRAD = ZK_CONV_WINOGRAD,
    CONV_KERNEL = ZK_CONV_KERNEL
};
ZK_INLINE int64_t conv_attr(const zk_call *c, int i) { return (int64_t)c->attr[i]; }

/* Cells of spatial axis 0 (depth), 1 (rows) or 2 (columns) of an array with `tail` axes after the
 * spatial ones. */
ZK_INLINE int64_t spatial_cells(const zk_arg *a, int axis, int first, int tail) {
    int at = a->ndim - tail - 3 + axis;
    return at < first ? 1 : a->dims[at];
}
/* Of an activation (n, [d, h], w, c). */
ZK_INLINE int64_t cells_of(const zk_arg *a, int axis) { return spatial_cells(a, axis, 1, 1); }
/* Of weights ([kd, kh], kw, c, o). */
ZK_INLINE int64_t kernel_cells(const zk_arg *w, int axis) { return spatial_cells(w, axis, 0, 2); }

static inline zk_axis forward_axis(const zk_call *c, int axis, int64_t in, int64_t out,
                                   int64_t kernel) {
    zk_axis a = {.outs = out, .every = 1, .taps = kernel, .dindex = 1, .in = in, .out = out};
    a.step = conv_attr(c, CONV_STRIDES + axis);
    a.shift = -conv_attr(c, CONV_PADDING + axis);
    a.dshift = conv_attr(c, CONV_DILATION + axis);
    return a;
}

static inline int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

/* Gradient with respect to the input, phase p: the input cells p, p + stride, ... Each is a sum
 * over the kernel cells that reach it, so a phase is a convolution of stride 1 over the gradient
 * with those kernel cells in descending order. */
static inline zk_axis phase_axis(const zk_call *c, int axis, int64_t phase, int64_t gradient,
                                 int64_t input, int64_t kernel) {
    int64_t stride = conv_attr(c, CONV_STRIDES + axis), k = 0;
    int64_t dilation = conv_attr(c, CONV_DILATION + axis), every = stride / gcd(stride, dilation);
    int64_t at = phase + conv_attr(c, CONV_PADDING + axis);
    while (k < every && (at - k * dilation) % stride) k++;
    zk_axis a = {.first = phase, .every = stride, .step = 1, .in = gradient, .out = input};
    a.outs = input > phase ? (input - phase - 1) / stride + 1 : 0;
    a.taps = k < every && k < kernel ? (kernel - 1 - k) / every + 1 : 0;
    a.index = k + (a.taps - 1) * every;
    a.dindex = -every;
    a.shift = a.taps ? (at - a.index * dilation) / stride : 0;
    a.dshift = every * dilation / stride;
    return a;
}

/* Input cells from the first to the last that `outs` outputs in a row meet. */
static inline int64_t reach(const zk_axis *a, int64_t outs) {
    return a->taps ? (outs - 1) * a->step + (a->taps - 1) * a->dshift + 1 : 0;
}

/* The input cell of an output's first tap, and whether a cell exists. */
static inline int64_t first_cell(const zk_axis *a, int64_t out) { return out * a->step + a->shift; }
static inline int is_cell(const zk_axis *a, int64_t at) { return at >= 0 && at < a->in; }

/* Taps of an axis that lie on the input, for the output whose first tap is at cell `at`. */
static inline void taps_inside(const zk_axis *a, int64_t at, int64_t *from, int64_t *to) {
    *from = at < 0 ? zk_min(zk_ceil(-at, a->dshift), a->taps) : 0;
    *to = at < a->in ? zk_min(zk_ceil(a->in - at, a->dshift), a->taps) : 0;
    if (*to < *from) *to = *from;
}

/* Bands of about equal size and at most `pixels` outputs. */
static inline zk_bands cut_bands(const zk_conv *p, int64_t pixels) {
    int64_t row = zk_max(p->h.outs, 1), map = zk_max(row * p->v.outs, 1);
    zk_bands b = {.images = 1, .nplanes = p->z.outs, .rows = p->v.outs, .cols = p->h.outs};
    if (map <= pixels) b.images = p->z.outs == 1 ? pixels / map : 1;
    else if (row <= pixels) b.rows = pixels / row;
    else b.rows = 1, b.cols = pixels;
    b.nimages = zk_ceil(p->images, b.images);
    b.nrows = p->v.outs ? zk_ceil(p->v.outs, b.rows) : 0;
    b.ncols = p->h.outs ? zk_ceil(p->h.outs, b.cols) : 0;
    if (b.nimages) b.images = zk_ceil(p->images, b.nimages);
    if (b.nrows) b.rows = zk_ceil(p->v.outs, b.nrows);
    return b;
}

static inline int64_t count_bands(const zk_bands *b) {
    return b->nimages * b->nplanes * b->nrows * b->ncols;
}

static inline zk_band band_at(const zk_conv *p, const zk_bands *b, int64_t i) {
    int64_t plane = i / (b->nrows * b->ncols);
    zk_band a = {.image = plane / b->nplanes * b->images,
                 .plane = plane % b->nplanes,
                 .row = i / b->ncols % b->nrows * b->rows,
                 .col = i % b->ncols * b->cols};
    a.images = zk_min(b->images, p->images - a.image);
    a.rows = zk_min(b->rows, p->v.outs - a.row);
    a.cols = zk_min(b->cols, p->h.outs - a.col);
    return a;
}

static inline int64_t band_pixels(const zk_band *b) { return b->images * b->rows * b->cols; }
#endif
