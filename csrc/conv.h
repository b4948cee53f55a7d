/* The geometry of a convolution: axes, taps, and bands of outputs with the
 * window of input that each needs. Forward and both gradients are described by
 * the same few numbers; nothing here computes a product. Arrays are NHWC; a 1-D
 * convolution is a 2-D one with one row. */
#ifndef ZK_CONV_H
#define ZK_CONV_H
#include "vec.h"

/* One spatial axis. Output i meets kernel cell index + t * dindex at input cell
 * i * step + shift + t * dshift, for every tap t; it is stored at cell first +
 * i * every. */
typedef struct {
    int64_t outs, first, every;
    int64_t taps, index, dindex;
    int64_t step, shift, dshift;
    int64_t in, out; /* cells of the input and output arrays */
} zk_axis;

typedef struct {
    zk_axis v, h;                   /* vertical, horizontal */
    int64_t images, groups, ci, co; /* ci, co: channels of one group, in and out */
    const float *in;
    float *out;
} zk_conv;

/* A rectangle of outputs of one or more images: either whole images, or whole
 * rows of one image, or a part of one row. */
typedef struct {
    int64_t image, images, row, rows, col, cols;
} zk_band;

typedef struct {
    int64_t images, rows, cols;    /* of a full band */
    int64_t nimages, nrows, ncols; /* bands along each axis */
} zk_bands;

/* Where a band finds its input: cell (image, row, column) of the window of the
 * band's first output is base + image * image_pitch + row * row_pitch + column
 * * pitch. */
typedef struct {
    const float *base;
    int64_t image_pitch, row_pitch, pitch;
} zk_window;

static inline int64_t count_taps(const zk_conv *p) { return p->v.taps * p->h.taps; }

static inline int is_depthwise(const zk_conv *p) {
    return p->ci == 1 && p->co == 1 && p->groups > 1;
}

/* attr: strides 0 1, low padding 2 3, dilation 4 5, groups 6, activation 7 */
ZK_INLINE int64_t conv_attr(const zk_call *c, int i) { return (int64_t)c->attr[i]; }

/* Cells of spatial axis 0 (rows) or 1 (columns) of an activation or of weights;
 * `tail` axes follow the spatial ones. */
ZK_INLINE int64_t spatial_cells(const zk_arg *a, int axis, int spatial, int tail) {
    int at = a->ndim - tail - 2 + axis;
    return at < a->ndim - tail - spatial ? 1 : a->dims[at];
}
ZK_INLINE int64_t cells_of(const zk_arg *a, int axis) {
    return spatial_cells(a, axis, a->ndim - 2, 1);
}
ZK_INLINE int64_t kernel_cells(const zk_arg *w, int axis) {
    return spatial_cells(w, axis, w->ndim - 2, 2);
}

static inline zk_axis forward_axis(const zk_call *c, int axis, int64_t in, int64_t out,
                                   int64_t kernel) {
    return (zk_axis){.outs = out,
                     .first = 0,
                     .every = 1,
                     .taps = kernel,
                     .index = 0,
                     .dindex = 1,
                     .step = conv_attr(c, axis),
                     .shift = -conv_attr(c, 2 + axis),
                     .dshift = conv_attr(c, 4 + axis),
                     .in = in,
                     .out = out};
}

static inline int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

/* Gradient with respect to the input, phase p: the input cells p, p + stride,
 * ... Each is a sum over the kernel cells that reach it, so a phase is a
 * convolution of stride 1 over the gradient with those kernel cells in
 * descending order. */
static inline zk_axis phase_axis(const zk_call *c, int axis, int64_t phase, int64_t gradient,
                                 int64_t input, int64_t kernel) {
    int64_t stride = conv_attr(c, axis), dilation = conv_attr(c, 4 + axis);
    int64_t at = phase + conv_attr(c, 2 + axis), every = stride / gcd(stride, dilation), k = 0;
    while (k < every && (at - k * dilation) % stride) k++;
    int64_t taps = k < every && k < kernel ? (kernel - 1 - k) / every + 1 : 0;
    int64_t last = k + (taps - 1) * every;
    return (zk_axis){.outs = input > phase ? (input - phase - 1) / stride + 1 : 0,
                     .first = phase,
                     .every = stride,
                     .taps = taps,
                     .index = last,
                     .dindex = -every,
                     .step = 1,
                     .shift = taps ? (at - last * dilation) / stride : 0,
                     .dshift = every * dilation / stride,
                     .in = gradient,
                     .out = input};
}

/* Input cells from the first to the last that `outs` outputs in a row meet. */
static inline int64_t reach(const zk_axis *a, int64_t outs) {
    return (outs - 1) * a->step + (a->taps - 1) * a->dshift + 1;
}

/* Taps of an axis that lie on the input for the output whose first tap is at
 * cell `at`. */
static inline void taps_inside(const zk_axis *a, int64_t at, int64_t *from, int64_t *to) {
    *from = at < 0 ? zk_min(zk_ceil(-at, a->dshift), a->taps) : 0;
    *to = at < a->in ? zk_min(zk_ceil(a->in - at, a->dshift), a->taps) : 0;
    if (*to < *from) *to = *from;
}

static inline zk_bands cut_bands(const zk_conv *p, int64_t pixels) {
    int64_t row = zk_max(p->h.outs, 1), map = zk_max(row * p->v.outs, 1);
    zk_bands b = {.images = 1, .rows = p->v.outs, .cols = p->h.outs};
    if (map <= pixels) b.images = zk_max(pixels / map, 1);
    else if (row <= pixels) b.rows = pixels / row;
    else b.rows = 1, b.cols = pixels;
    b.nimages = zk_ceil(p->images, b.images);
    b.nrows = p->v.outs ? zk_ceil(p->v.outs, b.rows) : 0;
    b.ncols = p->h.outs ? zk_ceil(p->h.outs, b.cols) : 0;
    if (b.nimages) b.images = zk_ceil(p->images, b.nimages);
    if (b.nrows) b.rows = zk_ceil(p->v.outs, b.nrows);
    return b;
}

static inline int64_t count_bands(const zk_bands *b) { return b->nimages * b->nrows * b->ncols; }

static inline zk_band band_at(const zk_conv *p, const zk_bands *b, int64_t i) {
    int64_t image = i / (b->nrows * b->ncols) * b->images;
    int64_t row = i / b->ncols % b->nrows * b->rows, col = i % b->ncols * b->cols;
    return (zk_band){image, zk_min(b->images, p->images - image),
                     row,   zk_min(b->rows, p->v.outs - row),
                     col,   zk_min(b->cols, p->h.outs - col)};
}

static inline int64_t band_pixels(const zk_band *b) { return b->images * b->rows * b->cols; }

/* Floats that a copy of the window of any band may take. */
static inline int64_t window_floats(const zk_conv *p, const zk_bands *b) {
    if (!count_bands(b)) return 0;
    return b->images * zk_max(reach(&p->v, b->rows), 0) * zk_max(reach(&p->h, b->cols), 0) * p->ci;
}

/* Copies cells [from, from + n) of one row, zero where they lie outside. */
static inline void copy_row(float *to, const float *row, int64_t from, int64_t n, int64_t in,
                            int64_t ci, int64_t pitch) {
    int64_t a = zk_min(zk_max(-from, 0), n), z = zk_max(zk_min(n, in - from), a);
    memset(to, 0, (size_t)(a * ci) * 4);
    if (pitch == ci) memcpy(to + a * ci, row + (from + a) * ci, (size_t)((z - a) * ci) * 4);
    else
        for (int64_t i = a; i < z; i++)
            for (int64_t k = 0; k < ci; k++) to[i * ci + k] = row[(from + i) * pitch + k];
    memset(to + z * ci, 0, (size_t)((n - z) * ci) * 4);
}

/* The window of a band, channels of one group: the input itself where the band
 * touches no padding (unless it must be copied), else a copy of it with zeros
 * around. */
static inline zk_window band_window(const zk_conv *p, const zk_band *b, int64_t group,
                                    int must_copy, float *copy) {
    int64_t pitch = p->groups * p->ci, rows = reach(&p->v, b->rows), cols = reach(&p->h, b->cols);
    int64_t top = b->row * p->v.step + p->v.shift, left = b->col * p->h.step + p->h.shift;
    int64_t row_pitch = p->h.in * pitch, image_pitch = p->v.in * row_pitch;
    const float *in = p->in + b->image * image_pitch + group * p->ci;
    int inside = top >= 0 && left >= 0 && top + rows <= p->v.in && left + cols <= p->h.in;
    if (inside && !must_copy)
        return (zk_window){in + top * row_pitch + left * pitch, image_pitch, row_pitch, pitch};
    zk_window w = {copy, rows * cols * p->ci, cols * p->ci, p->ci};
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < rows; r++, copy += w.row_pitch)
            if (top + r < 0 || top + r >= p->v.in) memset(copy, 0, (size_t)w.row_pitch * 4);
            else
                copy_row(copy, in + n * image_pitch + (top + r) * row_pitch, left, cols, p->h.in,
                         p->ci, pitch);
    return w;
}

/* Offsets in a window of the runs of floats that one pixel meets, and their
 * length: the channels of neighbouring taps join into one run. */
static inline int64_t tap_runs(const zk_conv *p, const zk_window *w, int64_t *taps,
                               int64_t *ntaps) {
    int64_t down = p->v.taps, across = p->h.taps, run = p->ci;
    if (p->h.dshift * w->pitch == run) run *= across, across = 1;
    if (across == 1 && p->v.dshift * w->row_pitch == run) run *= down, down = 1;
    *ntaps = down * across;
    for (int64_t i = 0; i < down; i++)
        for (int64_t j = 0; j < across; j++)
            *taps++ = i * p->v.dshift * w->row_pitch + j * p->h.dshift * w->pitch;
    return run;
}

/* dw = the sum of all pieces (pieces, floats), added in order. */
typedef struct {
    const float *sums;
    int64_t pieces, floats;
    float *dw;
} zk_pieces;
#define ADD_FLOATS 4096 /* of a task */

static inline void add_task(void *ctx, int64_t task, int thread) {
    const zk_pieces *a = ctx;
    int64_t from = task * ADD_FLOATS, to = zk_min(from + ADD_FLOATS, a->floats);
    (void)thread;
    memcpy(a->dw + from, a->sums + from, (size_t)(to - from) * 4);
    for (int64_t i = 1; i < a->pieces; i++)
        for (int64_t k = from; k < to; k++) a->dw[k] += a->sums[i * a->floats + k];
}

static inline void add_pieces(const zk_call *c, const float *sums, int64_t pieces, int64_t floats,
                              float *dw) {
    zk_pieces a = {sums, pieces, floats, dw};
    zk_parallel(c, zk_ceil(floats, ADD_FLOATS), add_task, &a);
}
#endif
