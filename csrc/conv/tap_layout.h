/* Images with a border of zeros, so that a window never ends outside. In: images (rows, columns,
 * channels) of int8 or bfloat16, or of float32 that become bfloat16, and the geometry of a
 * convolution. Out: the same numbers in planes, and how far apart the taps of a place lie in them.
 *
 * With strides every row (column) of cells that windows share a phase with lies in a plane of its
 * own: then neighbouring places meet neighbouring cells, whatever the stride, and the places of a
 * whole image are one run. "Merged" taps are the cells of a window's row, side by side in memory:
 * they stay together, and with a stride neighbouring places lie so many cells apart.
 *
 * Tiles read whole vectors of 64 bytes, against weights of zero behind a tap's end. int8 does not
 * care what lies there; bfloat16 cells are filled up with zeros, or, when merged, followed by some
 * at the end of the image, so that nothing of another image, not even a NaN, is met. */
#ifndef ZK_TAP_LAYOUT_H
#define ZK_TAP_LAYOUT_H
#include "tap_product.h"

#define TAP_SLACK 64 /* bytes that may be read past a tap's end */

typedef struct {
    const char *from;
    char *to;
    int64_t images, in[2], out[2], channels;
    int64_t stride[2], padding[2], dilation[2], kernel[2];
    int merged, narrow, wide;   /* numbers of `to` are bfloat16; those of `from` float32 */
    int64_t planes[2], size[2]; /* of an image: planes along both axes; rows and columns of one */
    int64_t period;             /* places from one row of places to the next */
    int64_t taps, row, cell;    /* how many; bytes from one place to the next, and of a cell */
    int64_t behind;             /* bytes of zeros after an image */
} tap_layout;

/* The geometry of a call for images x and results, or their gradients, y. */
static inline tap_layout tap_layout_of(const zk_call *c, const zk_arg *x, const zk_arg *y) {
    const int axes = x->ndim - 2;
    tap_layout l = {.images = x->dims[0], .channels = x->dims[axes + 1]};
    for (int i = 0; i < 2; i++) {
        const int axis = i - 2 + axes; /* one axis is that of columns */
        l.in[i] = axis < 0 ? 1 : x->dims[1 + axis], l.out[i] = axis < 0 ? 1 : y->dims[1 + axis];
        l.stride[i] = (int64_t)c->attr[ZK_CONV_TAPS_STRIDES + i];
        l.padding[i] = (int64_t)c->attr[ZK_CONV_TAPS_PADDING + i];
        l.dilation[i] = (int64_t)c->attr[ZK_CONV_TAPS_DILATION + i];
        l.kernel[i] = (int64_t)c->attr[ZK_CONV_TAPS_KERNEL + i];
    }
    l.merged = c->attr[ZK_CONV_TAPS_MERGED] != 0;
    l.wide = x->dtype == ZK_F32, l.narrow = x->dtype != ZK_I8 && x->dtype != ZK_U8;
    for (int i = 0; i < 2; i++) {
        const int64_t reach = (l.kernel[i] - 1) * l.dilation[i];
        l.planes[i] = zk_min(l.stride[i], reach + 1);
        l.size[i] = l.out[i] + reach / l.stride[i];
    }
    l.cell = l.narrow ? l.merged ? l.channels * 2 : zk_align(l.channels * 2) : l.channels;
    l.behind = l.narrow && l.merged ? TAP_SLACK : 0;
    l.period = l.size[1], l.row = l.cell, l.taps = l.kernel[0] * l.kernel[1];
    if (l.merged) {
        const int64_t columns = (l.out[1] - 1) * l.stride[1] + l.kernel[1];
        l.period = zk_ceil(columns, l.stride[1]), l.size[1] = l.period * l.stride[1];
        l.row = l.cell * l.stride[1], l.planes[1] = 1, l.taps = l.kernel[0];
    }
    return l;
}

static inline int64_t tap_plane_bytes(const tap_layout *l) {
    return l->size[0] * l->size[1] * l->cell;
}
static inline int64_t tap_image_bytes(const tap_layout *l) {
    return l->planes[0] * l->planes[1] * tap_plane_bytes(l) + l->behind;
}

/* Places of an image: a run that ends with its last one. */
static inline int64_t tap_places(const tap_layout *l) {
    return l->out[0] > 0 && l->out[1] > 0 ? (l->out[0] - 1) * l->period + l->out[1] : 0;
}

/* Whether the images can be read as they are: one cell, no stride, no border. */
static inline int tap_lies_ready(const tap_layout *l) {
    const int plain = l->kernel[0] * l->kernel[1] == 1 && l->stride[0] * l->stride[1] == 1;
    return plain && l->in[0] == l->out[0] && l->in[1] == l->out[1] && !l->padding[0] &&
           !l->padding[1];
}

/* Bytes from a place's first cell to the inputs of each tap. */
static inline void tap_list_offsets(const tap_layout *l, int64_t *offsets) {
    const int64_t across = l->merged ? 1 : l->kernel[1];
    for (int64_t v = 0; v < l->kernel[0]; v++)
        for (int64_t h = 0; h < across; h++) {
            const int64_t down = v * l->dilation[0], right = h * l->dilation[1];
            const int64_t plane_h = l->merged ? 0 : right % l->stride[1];
            const int64_t plane = down % l->stride[0] * l->planes[1] + plane_h;
            const int64_t cell =
                down / l->stride[0] * l->size[1] + (l->merged ? 0 : right / l->stride[1]);
            *offsets++ = plane * tap_plane_bytes(l) + cell * l->cell;
        }
}

/* to(n) = from(n) rounded to bfloat16. */
static void tap_narrow(const float *from, int64_t n, char *to) {
    tiles model, *t = tiles_real() ? NULL : &model;
    for (; n >= 32; n -= 32, from += 32, to += 64) {
        uint16_t some[32];
        tile_narrow_32(t, from, from + 16, some);
        memcpy(to, some, 64);
    }
    if (n <= 0) return;
    float wide[32] = {0};
    uint16_t some[32];
    memcpy(wide, from, (size_t)n * 4);
    tile_narrow_32(t, wide, wide + 16, some);
    memcpy(to, some, (size_t)n * 2);
}

/* Cells that lie side by side in the planes, `step` cells apart in the image. */
static void tap_lay_cells(const tap_layout *l, const char *from, int64_t step, int64_t count,
                          char *to) {
    const int64_t bytes = l->channels * (l->narrow ? 2 : 1), whole = l->wide ? bytes * 2 : bytes;
    const int together = step == 1 && l->cell == bytes;
    for (int64_t n = together ? zk_min(count, 1) : count; n > 0; n--) {
        const int64_t cells = together ? count : 1;
        if (l->wide) tap_narrow((const float *)from, cells * l->channels, to);
        else memcpy(to, from, (size_t)(cells * bytes));
        if (l->cell > bytes) memset(to + bytes, 0, (size_t)(l->cell - bytes));
        from += step * whole, to += l->cell;
    }
}

/* One row of a plane. */
static void tap_lay_row(const tap_layout *l, int64_t image, int64_t plane, int64_t row) {
    const int64_t c = l->cell, step = l->merged ? 1 : l->stride[1], end = l->size[1];
    const int64_t i = row * l->stride[0] + plane / l->planes[1] - l->padding[0];
    const int64_t first = plane % l->planes[1] - l->padding[1]; /* cell of column 0 */
    char *to = l->to + image * tap_image_bytes(l) + plane * tap_plane_bytes(l) + row * end * c;
    int64_t a = zk_min(first < 0 ? zk_ceil(-first, step) : 0, end);
    int64_t b = zk_max(a, zk_min(end, zk_ceil(l->in[1] - first, step)));
    if (i < 0 || i >= l->in[0] || first >= l->in[1]) a = b = end;
    const int64_t number = l->wide ? 4 : l->narrow ? 2 : 1;
    const int64_t at = ((image * l->in[0] + i) * l->in[1] + first + a * step) * l->channels;
    memset(to, 0, (size_t)(a * c));
    tap_lay_cells(l, l->from + at * number, step, b - a, to + a * c);
    memset(to + b * c, 0, (size_t)((end - b) * c));
}

static inline void tap_lay_task(void *ctx, int64_t task, int thread) {
    const tap_layout *l = ctx;
    const int64_t planes = l->planes[0] * l->planes[1], image = task / planes;
    (void)thread;
    for (int64_t row = 0; row < l->size[0]; row++) tap_lay_row(l, image, task % planes, row);
    if (task % planes == 0) {
        const int64_t bytes = tap_image_bytes(l);
        memset(l->to + (image + 1) * bytes - l->behind, 0, (size_t)l->behind);
    }
}

/* Fills l->to. */
static inline void tap_lay_out(const zk_call *c, tap_layout *l) {
    zk_parallel(c, l->images * l->planes[0] * l->planes[1], tap_lay_task, l);
}

/* Inputs of a tap. */
static inline int64_t tap_inputs(const tap_layout *l) {
    return l->channels * (l->merged ? l->kernel[1] : 1);
}

/* The product over all images: where they lie and its columns are left open. */
static inline tap_job tap_job_of(const tap_layout *l, const int64_t *offsets) {
    const int64_t bytes = tap_inputs(l) * (l->narrow ? 2 : 1);
    tap_job j = {.images = l->images, .image = tap_image_bytes(l), .places = tap_places(l)};
    j.period = l->period, j.columns = l->out[1], j.k = l->taps * tap_inputs(l);
    j.shape = (tap_shape){offsets, l->taps, zk_ceil(bytes, TILE_BYTES), l->row};
    return j;
}

/* Bytes of some images with their borders, and of what may be read behind them. */
static inline int64_t tap_laid_bytes(const tap_layout *l, int64_t images) {
    return zk_align(images * tap_image_bytes(l) + TAP_BEHIND * l->row + TAP_SLACK);
}
#endif
