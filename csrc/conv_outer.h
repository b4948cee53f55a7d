/* Sums of outer products over the pixels of a band, a register tile of input channels x 16 filters
 * at a time, and the two forms in which such a tile can read the input: flat (as it lies, or a
 * padded copy) and packed in panels of OUTER_ROWS channels. Used by the weight gradient. */
#ifndef ZK_CONV_OUTER_H
#define ZK_CONV_OUTER_H
#include "conv_window.h"

#define OUTER_ROWS (VL == 16 ? 12 : VL == 4 ? 3 : 6) /* input channels of a register tile */

/* One panel of filters. The distances are in floats. */
typedef struct {
    const float *x;             /* row 0 at the first pixel; a pixel's rows are neighbours */
    const float *g;             /* (pixels, 16) */
    int64_t pixel, row, image;  /* from one pixel, row of pixels, image to the next in x */
    int64_t images, rows, cols; /* of pixels */
    int64_t pitch;              /* from one row of dw to the next */
    int from, to, filters;      /* rows and columns of the tile that are wanted */
} outer_job;

/* Neighbouring rows of pixels without a gap become one. */
static inline void join_pixels(outer_job *j) {
    if (j->row == j->cols * j->pixel) j->cols *= j->rows, j->row = j->image, j->rows = 1;
    if (j->rows == 1 && j->image == j->cols * j->pixel) j->cols *= j->images, j->images = 1;
}

/* s(OUTER_ROWS, vectors) = sum over pixels of x(pixel, row) g(pixel, filter) */
ZK_INLINE void outer_sum(const outer_job *j, vf *s, const int vectors) {
    const float *g = j->g;
#pragma GCC unroll 24
    for (int i = 0; i < OUTER_ROWS * vectors; i++) s[i] = (vf){0};
    for (int64_t n = 0; n < j->images; n++)
        for (int64_t r = 0; r < j->rows; r++) {
            const float *x = j->x + n * j->image + r * j->row;
            for (int64_t c = 0; c < j->cols; c++, x += j->pixel, g += PANEL) {
                vf b[PV];
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) b[v] = vf_load(g + v * VL);
#pragma GCC unroll 12
                for (int i = 0; i < OUTER_ROWS; i++) {
                    vf a = vf_set(x[i]);
#pragma GCC unroll 4
                    for (int v = 0; v < vectors; v++) s[i * vectors + v] += a * b[v];
                    IN_ORDER;
                }
            }
        }
}

/* Adds the wanted part of a tile's sums to dw. */
ZK_INLINE void outer_tile(const outer_job *j, float *dw, const int vectors) {
    vf s[OUTER_ROWS * PV];
    outer_sum(j, s, vectors);
#pragma GCC unroll 12
    for (int i = 0; i < OUTER_ROWS; i++) {
        float *to = dw + i * j->pitch, t[PANEL] = {0};
        if (i < j->from || i >= j->to) continue;
        if (j->filters == vectors * VL)
            for (int v = 0; v < vectors; v++)
                vf_store(to + v * VL, vf_load(to + v * VL) + s[i * vectors + v]);
        else {
            for (int v = 0; v < vectors; v++) vf_store(t + v * VL, s[i * vectors + v]);
            for (int k = 0; k < j->filters; k++) to[k] += t[k];
        }
    }
}

#define OUTER_PANEL(vectors)                                                                     \
    static __attribute__((noinline)) void outer_panel_##vectors(const outer_job *j, float *dw) { \
        outer_tile(j, dw, vectors);                                                              \
    }
OUTER_PANEL(1)
#if PV > 1
OUTER_PANEL(2)
#endif
#if PV > 2
OUTER_PANEL(3)
OUTER_PANEL(4)
#endif
#undef OUTER_PANEL

static inline void outer_panel(const outer_job *j, float *dw) {
    switch ((j->filters + VL - 1) / VL) {
    case 1:
        outer_panel_1(j, dw);
        break;
#if PV > 1
    case 2:
        outer_panel_2(j, dw);
        break;
#endif
#if PV > 2
    case 3:
        outer_panel_3(j, dw);
        break;
    default:
        outer_panel_4(j, dw);
#endif
    }
}

/* Copies `wanted` floats, or for speed up to `room` where the source goes on so far. */
ZK_INLINE void copy_some(float *to, const float *from, int64_t wanted, const int room,
                         const float *end) {
    if (from + room > end) memcpy(to, from, (size_t)wanted * 4);
    else
#pragma GCC unroll 4
        for (int v = 0; v < room; v += VL) vf_store(to + v, vf_load(from + v));
}

/* Floats of the input of a band in either form, with room for what a tile or copy_some touches
 * beyond. */
static inline int64_t operand_floats(const zk_conv *p, const zk_bands *b, int flat) {
    int64_t cells = b->images * reach(&p->v, b->rows) * reach(&p->h, b->cols);
    int64_t channels = flat ? p->ci : zk_ceil(p->ci, OUTER_ROWS) * OUTER_ROWS;
    int64_t room = (flat ? 1 : zk_ceil(p->ci, OUTER_ROWS)) * PANEL;
    return count_bands(b) ? cells * channels + room : 0;
}

/* Flat: a tile reads OUTER_ROWS floats of a run, so shorter runs are copied to where that many can
 * be read. */
static inline zk_window flat_window(const zk_conv *p, const zk_bands *bands, const zk_band *b,
                                    int64_t group, float *copy) {
    int64_t run = p->h.dshift == 1 ? p->ci * p->h.taps : p->ci;
    return band_window(p, bands, b, group, p->groups > 1 || run < OUTER_ROWS, copy);
}

/* Floats from one packed panel of channels to the next: copy_some may touch a few behind each. */
static inline int64_t panel_distance(const zk_window *w, int64_t images) {
    return images * w->image_pitch + PANEL;
}

/* Packed: (channels / OUTER_ROWS, images, rows, cols, OUTER_ROWS), zero outside the input. */
static inline zk_window packed_window(const zk_conv *p, const zk_band *b, int64_t group,
                                      float *to) {
    int64_t rows = reach(&p->v, b->rows), cols = reach(&p->h, b->cols);
    int64_t top = b->row * p->v.step + p->v.shift, left = b->col * p->h.step + p->h.shift;
    int64_t pitch = p->groups * p->ci, lines = b->images * rows, line = cols * OUTER_ROWS;
    int64_t a = zk_min(zk_max(-left, 0), cols), z = zk_max(zk_min(cols, p->h.in - left), a);
    const float *end = p->in + p->images * p->v.in * p->h.in * pitch;
    zk_window w = {to, rows * line, line, OUTER_ROWS};
    for (int64_t i = 0; i < lines; i++) {
        int64_t row = top + i % rows, inside = row >= 0 && row < p->v.in;
        int64_t image = b->image + i / rows;
        const float *x = p->in + ((image * p->v.in + row) * p->h.in + left) * pitch + group * p->ci;
        for (int64_t c = 0; c < p->ci; c += OUTER_ROWS) {
            float *at = to + c / OUTER_ROWS * panel_distance(&w, b->images) + i * line;
            int64_t wanted = zk_min(OUTER_ROWS, p->ci - c), first = inside ? a : cols;
            memset(at, 0, (size_t)(first * OUTER_ROWS) * 4);
            for (int64_t k = first; k < (inside ? z : 0); k++)
                copy_some(at + k * OUTER_ROWS, x + k * pitch + c, wanted, VL, end);
            if (inside) memset(at + z * OUTER_ROWS, 0, (size_t)((cols - z) * OUTER_ROWS) * 4);
        }
    }
    return w;
}
#endif
