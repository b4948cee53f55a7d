/* Sums of outer products over the pixels of a band, a register tile of input channels x one or two
 * panels of 16 filters at a time, and the two forms in which such a tile can read the input: flat
 * (as it lies, or a padded copy) and packed in panels of OUTER_ROWS channels. Used by the weight
 * gradient. */
#ifndef ZK_CONV_OUTER_H
#define ZK_CONV_OUTER_H
#include "conv_fma.h"
#include "conv_window.h"

/* Input channels of a register tile, the floats by which they are copied, and most panels. */
#if VL == 16
#define OUTER_ROWS 12
#define OUTER_PANELS 2
#elif VL == 8 || defined(__aarch64__)
#define OUTER_ROWS 6
#else
#define OUTER_ROWS 3
#endif
#ifndef OUTER_PANELS
#define OUTER_PANELS 1
#endif
#define OUTER_VECTORS (OUTER_PANELS * PV)
#define OUTER_ROOM ((OUTER_ROWS + VL - 1) / VL * VL)

#define SOME_CELLS 8 /* packed at a time */
#define OUTER_SUMS (OUTER_ROWS * OUTER_VECTORS)

/* Neighbouring panels of filters. The distances are in floats. */
typedef struct {
    const float *x;             /* row 0 at the first pixel; a pixel's rows are neighbours */
    const float *g;             /* (pixels, 16) of the first panel */
    int64_t panel;              /* from one panel to the next in g */
    int64_t pixel, row, image;  /* from one pixel, row of pixels, image to the next in x */
    int64_t images, rows, cols; /* of pixels */
    int64_t pitch;              /* from one row of dw to the next */
    int filters;                /* of these panels */
} outer_job;

/* Neighbouring rows of pixels without a gap become one. */
static inline void join_pixels(outer_job *j) {
    if (j->row == j->cols * j->pixel) j->cols *= j->rows, j->row = j->image, j->rows = 1;
    if (j->rows == 1 && j->image == j->cols * j->pixel) j->cols *= j->images, j->images = 1;
}

/* s(rows, vectors) += x(row) g(filter) of one pixel */
ZK_INLINE void outer_step(const float *x, const float *g, int64_t panel, vf *s, const int rows,
                          const int vectors) {
    vf b[OUTER_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) b[v] = vf_load(g + v / PV * panel + v % PV * VL);
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        vf a = vf_set(x[i]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            if (vectors == 1) s[i] += a * b[0];
            else ADD_PRODUCT(s[i * vectors + v], a, b[v]);
        IN_ORDER;
    }
}

/* s(rows, vectors) = sum over all pixels. Few rows are summed twice, for even and odd pixels: one
 * set of sums alone would wait for itself. */
ZK_INLINE void outer_sum(const outer_job *j, vf *s, const int rows, const int vectors) {
    const int n = rows * vectors, once = rows * (vectors < PV ? vectors : PV);
    const int twice = 2 * once <= OUTER_ROWS * PV;
    const float *g = j->g;
    const int64_t panel = j->panel, pixel = j->pixel;
#pragma GCC unroll 24
    for (int i = 0; i < OUTER_SUMS; i++) s[i] = (vf){0};
    for (int64_t m = 0; m < j->images; m++)
        for (int64_t r = 0; r < j->rows; r++) {
            const float *x = j->x + m * j->image + r * j->row;
            int64_t c = j->cols;
            for (; twice && c > 1; c -= 2, x += 2 * pixel, g += 2 * PANEL) {
                outer_step(x, g, panel, s, rows, vectors);
                outer_step(x + pixel, g + PANEL, panel, s + n, rows, vectors);
            }
            for (; c > 0; c--, x += pixel, g += PANEL) outer_step(x, g, panel, s, rows, vectors);
        }
    if (twice)
#pragma GCC unroll 24
        for (int i = 0; i < n; i++) s[i] += s[i + n];
}

/* Adds the sums of `rows` input channels to dw, which comes into the cache meanwhile. */
ZK_INLINE void outer_tile(const outer_job *j, float *dw, const int rows, const int vectors) {
    vf s[OUTER_SUMS];
#if VL == 16
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        __builtin_prefetch(dw + i / vectors * j->pitch + i % vectors * VL, 1, 3);
#endif
    outer_sum(j, s, rows, vectors);
    if (j->filters == vectors * VL)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++) {
            float *to = dw + i / vectors * j->pitch + i % vectors * VL;
            vf_store(to, vf_load(to) + s[i]);
        }
    else
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            float t[OUTER_VECTORS * VL] = {0};
            for (int v = 0; v < vectors; v++) vf_store(t + v * VL, s[i * vectors + v]);
            for (int k = 0; k < j->filters; k++) dw[i * j->pitch + k] += t[k];
        }
}

#define OUTER_3(X, v) X(v, 1) X(v, 2) X(v, 3)
#define OUTER_6(X, v) OUTER_3(X, v) X(v, 4) X(v, 5) X(v, 6)
#define OUTER_12(X, v) OUTER_6(X, v) X(v, 7) X(v, 8) X(v, 9) X(v, 10) X(v, 11) X(v, 12)
#if OUTER_ROWS == 12
#define OUTER_EACH(X) OUTER_12(X, 1) OUTER_12(X, 2)
#elif PV == 2
#define OUTER_EACH(X) OUTER_6(X, 1) OUTER_6(X, 2)
#elif OUTER_ROWS == 6
#define OUTER_EACH(X) OUTER_6(X, 1) OUTER_6(X, 2) OUTER_6(X, 3) OUTER_6(X, 4)
#else
#define OUTER_EACH(X) OUTER_3(X, 1) OUTER_3(X, 2) OUTER_3(X, 3) OUTER_3(X, 4)
#endif
#define OUTER_DEFINE(vectors, rows)                                                    \
    static __attribute__((noinline)) void outer_##vectors##_##rows(const outer_job *j, \
                                                                   float *dw) {        \
        outer_tile(j, dw, rows, vectors);                                              \
    }
#define OUTER_ENTRY(vectors, rows) [vectors - 1][rows - 1] = outer_##vectors##_##rows,
OUTER_EACH(OUTER_DEFINE)
static void (*const outer_tiles[OUTER_VECTORS][OUTER_ROWS])(const outer_job *,
                                                            float *) = {OUTER_EACH(OUTER_ENTRY)};

/* `rows` input channels from j->x, at most OUTER_ROWS. */
static inline void outer_rows(const outer_job *j, float *dw, int64_t rows) {
    outer_tiles[(j->filters + VL - 1) / VL - 1][rows - 1](j, dw);
}

/* The first floats of n cells that lie `pitch` floats apart, to cells of `width`: `wanted` of each,
 * or for speed up to `room` where the source goes on so far. */
ZK_INLINE void copy_cells(float *to, const float *from, int64_t pitch, int64_t n, int64_t wanted,
                          const int width, const int room, const float *end) {
    if (n > 0 && from + (n - 1) * pitch + room <= end)
        for (; n > 0; n--, from += pitch, to += width)
#pragma GCC unroll 4
            for (int v = 0; v < room; v += VL) vf_store(to + v, vf_load(from + v));
    else
        for (; n > 0; n--, from += pitch, to += width)
            for (int64_t i = 0; i < wanted; i++) to[i] = from[i];
}

/* Floats of the input of a band in either form, with room for what a tile or copy_cells touches
 * beyond. */
static inline int64_t operand_floats(const zk_conv *p, const zk_bands *b, int flat) {
    int64_t cells = b->images * reach(&p->z, 1) * reach(&p->v, b->rows) * reach(&p->h, b->cols);
    int64_t channels = flat ? p->ci : zk_ceil(p->ci, OUTER_ROWS) * OUTER_ROWS;
    int64_t room = (flat ? 1 : zk_ceil(p->ci, OUTER_ROWS)) * PANEL;
    return count_bands(b) ? cells * channels + room : 0;
}

/* Floats from one packed panel of channels to the next: copy_cells may touch a few behind each. */
static inline int64_t panel_distance(const zk_window *w, int64_t images) {
    return images * w->image_pitch + PANEL;
}

/* One line of packed cells, `distance` floats from panel to panel: cells [a, z) come from x, where
 * cell 0 would be, the others are zero. A few cells at a time go to all panels, so that what is
 * read stays in the first-level cache. */
static inline void pack_line(const zk_conv *p, const float *x, int64_t a, int64_t z, int64_t cols,
                             float *to, int64_t distance) {
    int64_t pitch = p->groups * p->ci, zeros = cols - z;
    const float *end = p->in + p->images * input_pitches(p).image_pitch;
    float *at = to;
    for (int64_t c = 0; c < p->ci; c += OUTER_ROWS, at += distance)
        memset(at, 0, (size_t)(a * OUTER_ROWS) * 4);
    for (int64_t k = a; k < z; k += SOME_CELLS) {
        at = to + k * OUTER_ROWS;
        for (int64_t c = 0; c < p->ci; c += OUTER_ROWS, at += distance)
            copy_cells(at, x + k * pitch + c, pitch, zk_min(SOME_CELLS, z - k),
                       zk_min(OUTER_ROWS, p->ci - c), OUTER_ROWS, OUTER_ROOM, end);
    }
    at = to + z * OUTER_ROWS;
    for (int64_t c = 0; c < p->ci; c += OUTER_ROWS, at += distance)
        memset(at, 0, (size_t)(zeros * OUTER_ROWS) * 4);
}

/* Packed: (channels / OUTER_ROWS, images, planes, rows, cols, OUTER_ROWS), zero outside the
 * input. */
static inline zk_window packed_window(const zk_conv *p, const zk_band *b, int64_t group,
                                      float *to) {
    int64_t planes = reach(&p->z, 1), rows = reach(&p->v, b->rows), cols = reach(&p->h, b->cols);
    int64_t line = cols * OUTER_ROWS, left = first_cell(&p->h, b->col);
    int64_t a = zk_min(zk_max(-left, 0), cols), z = zk_max(zk_min(cols, p->h.in - left), a);
    zk_window in = input_pitches(p);
    zk_window w = {to, planes * rows * line, rows * line, line, OUTER_ROWS};
    in.base += b->image * in.image_pitch + left * in.pitch + group * p->ci;
    int64_t distance = panel_distance(&w, b->images);
    for (int64_t i = 0; i < b->images * planes * rows; i++, to += line) {
        int64_t plane = first_cell(&p->z, b->plane) + i / rows % planes;
        int64_t row = first_cell(&p->v, b->row) + i % rows;
        int inside = is_cell(&p->z, plane) && is_cell(&p->v, row);
        const float *x = in.base + i / rows / planes * in.image_pitch + plane * in.plane_pitch +
                         row * in.row_pitch;
        pack_line(p, x, inside ? a : cols, inside ? z : cols, cols, to, distance);
    }
    return w;
}
#endif
