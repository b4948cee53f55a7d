/* Images of bytes with a border of zeros, so that a window never ends outside. In: int8 images
 * (rows, columns, channels) and the geometry of a convolution. Out: the same bytes in planes, and
 * how far apart the taps of a place lie in them.
 *
 * With strides every row (column) of cells that windows share a phase with lies in a plane of its
 * own: then neighbouring places meet neighbouring cells, whatever the stride, and the places of a
 * whole image are one run. "Merged" taps are the cells of a window's row, side by side in memory:
 * they stay together, and with a stride neighbouring places lie so many cells apart. */
#ifndef ZK_INT8_LAYOUT_H
#define ZK_INT8_LAYOUT_H
#include "kernel.h"

typedef struct {
    const int8_t *from;
    int8_t *to;
    int64_t images, in[2], out[2], channels;
    int64_t stride[2], padding[2], dilation[2], kernel[2];
    int merged;
    int64_t planes[2], size[2]; /* of an image: planes along both axes; rows and columns of one */
    int64_t period;             /* places from one row of places to the next */
    int64_t taps, row;          /* how many; bytes from one place to the next */
} int8_layout;

/* The geometry of a call whose outputs are nout and whose first input is the images. */
static inline int8_layout int8_layout_of(const zk_call *c) {
    const zk_arg *x = c->a + c->nout, *y = c->a;
    const int axes = x->ndim - 2;
    int8_layout l = {.images = x->dims[0], .channels = x->dims[axes + 1]};
    for (int i = 0; i < 2; i++) {
        const int axis = i - 2 + axes; /* one axis is that of columns */
        l.in[i] = axis < 0 ? 1 : x->dims[1 + axis], l.out[i] = axis < 0 ? 1 : y->dims[1 + axis];
        l.stride[i] = (int64_t)c->attr[ZK_CONV_INT8_STRIDES + i];
        l.padding[i] = (int64_t)c->attr[ZK_CONV_INT8_PADDING + i];
        l.dilation[i] = (int64_t)c->attr[ZK_CONV_INT8_DILATION + i];
        l.kernel[i] = (int64_t)c->attr[ZK_CONV_INT8_KERNEL + i];
    }
    l.merged = c->attr[ZK_CONV_INT8_MERGED] != 0;
    for (int i = 0; i < 2; i++) {
        const int64_t reach = (l.kernel[i] - 1) * l.dilation[i];
        l.planes[i] = zk_min(l.stride[i], reach + 1);
        l.size[i] = l.out[i] + reach / l.stride[i];
    }
    l.period = l.size[1], l.row = l.channels, l.taps = l.kernel[0] * l.kernel[1];
    if (l.merged) {
        const int64_t columns = (l.out[1] - 1) * l.stride[1] + l.kernel[1];
        l.period = zk_ceil(columns, l.stride[1]), l.size[1] = l.period * l.stride[1];
        l.row = l.channels * l.stride[1], l.planes[1] = 1, l.taps = l.kernel[0];
    }
    return l;
}

static inline int64_t int8_plane_bytes(const int8_layout *l) {
    return l->size[0] * l->size[1] * l->channels;
}
static inline int64_t int8_image_bytes(const int8_layout *l) {
    return l->planes[0] * l->planes[1] * int8_plane_bytes(l);
}

/* Places of an image: a run that ends with its last one. */
static inline int64_t int8_places(const int8_layout *l) {
    return l->out[0] > 0 && l->out[1] > 0 ? (l->out[0] - 1) * l->period + l->out[1] : 0;
}

/* Whether the images can be read as they are: one cell, no stride, no border. */
static inline int int8_lies_ready(const int8_layout *l) {
    const int plain = l->kernel[0] * l->kernel[1] == 1 && l->stride[0] * l->stride[1] == 1;
    return plain && l->in[0] == l->out[0] && l->in[1] == l->out[1] && !l->padding[0] &&
           !l->padding[1];
}

/* Bytes from a place's first cell to the inputs of each tap. */
static inline void int8_list_offsets(const int8_layout *l, int64_t *offsets) {
    const int64_t across = l->merged ? 1 : l->kernel[1];
    for (int64_t v = 0; v < l->kernel[0]; v++)
        for (int64_t h = 0; h < across; h++) {
            const int64_t down = v * l->dilation[0], right = h * l->dilation[1];
            const int64_t plane_h = l->merged ? 0 : right % l->stride[1];
            const int64_t plane = down % l->stride[0] * l->planes[1] + plane_h;
            const int64_t cell =
                down / l->stride[0] * l->size[1] + (l->merged ? 0 : right / l->stride[1]);
            *offsets++ = plane * int8_plane_bytes(l) + cell * l->channels;
        }
}

/* One row of a plane. */
static void int8_lay_row(const int8_layout *l, int64_t image, int64_t plane, int64_t row) {
    const int64_t c = l->channels, step = l->merged ? 1 : l->stride[1];
    const int64_t i = row * l->stride[0] + plane / l->planes[1] - l->padding[0];
    const int64_t first = plane % l->planes[1] - l->padding[1]; /* cell of column 0 */
    int8_t *to =
        l->to + image * int8_image_bytes(l) + plane * int8_plane_bytes(l) + row * l->size[1] * c;
    const int64_t end = l->size[1];
    int64_t a = zk_min(first < 0 ? zk_ceil(-first, step) : 0, end);
    int64_t b = zk_max(a, zk_min(end, zk_ceil(l->in[1] - first, step)));
    if (i < 0 || i >= l->in[0] || first >= l->in[1]) a = b = end;
    const int8_t *from = l->from + ((image * l->in[0] + i) * l->in[1] + first + a * step) * c;
    memset(to, 0, (size_t)(a * c));
    if (step == 1) memcpy(to + a * c, from, (size_t)((b - a) * c));
    else
        for (int64_t j = a; j < b; j++, from += step * c) memcpy(to + j * c, from, (size_t)c);
    memset(to + b * c, 0, (size_t)((end - b) * c));
}

static void int8_lay_task(void *ctx, int64_t task, int thread) {
    const int8_layout *l = ctx;
    const int64_t planes = l->planes[0] * l->planes[1];
    (void)thread;
    for (int64_t row = 0; row < l->size[0]; row++)
        int8_lay_row(l, task / planes, task % planes, row);
}

/* Fills l->to. */
static inline void int8_lay_out(const zk_call *c, int8_layout *l) {
    zk_parallel(c, l->images * l->planes[0] * l->planes[1], int8_lay_task, l);
}
#endif
