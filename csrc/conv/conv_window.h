/* The window of input that a band of outputs needs: the input itself where the band touches no
 * padding, else a copy with zeros around. In: a zk_conv and a band. Out: where each tap of each
 * pixel is. */
#ifndef ZK_CONV_WINDOW_H
#define ZK_CONV_WINDOW_H
#include "conv.h"

/* Cell (image, plane, row, column), counted from the first tap of the band's first output, is at
 * base + image * image_pitch + plane * plane_pitch + row * row_pitch + column * pitch. */
typedef struct {
    const float *base;
    int64_t image_pitch, plane_pitch, row_pitch, pitch;
} zk_window;

/* The pitches of the input, and of a copy of a full band's window, one group of channels. */
static inline zk_window input_pitches(const zk_conv *p) {
    int64_t pitch = p->groups * p->ci, row = p->h.in * pitch, plane = p->v.in * row;
    return (zk_window){p->in, p->z.in * plane, plane, row, pitch};
}
static inline zk_window copy_pitches(const zk_conv *p, const zk_bands *b) {
    int64_t row = reach(&p->h, b->cols) * p->ci, plane = reach(&p->v, b->rows) * row;
    return (zk_window){NULL, reach(&p->z, 1) * plane, plane, row, p->ci};
}

/* Floats of a copy; the last vector may spill. */
static inline int64_t window_floats(const zk_conv *p, const zk_bands *b) {
    return count_bands(b) ? b->images * copy_pitches(p, b).image_pitch + VL : 0;
}

static inline int lies_inside(const zk_axis *a, int64_t first, int64_t outs) {
    int64_t at = first_cell(a, first);
    return at >= 0 && at + reach(a, outs) <= a->in;
}

/* Whether all taps of the band's outputs lie on the input. */
static inline int touches_no_padding(const zk_conv *p, const zk_band *b) {
    return lies_inside(&p->z, b->plane, 1) && lies_inside(&p->v, b->row, b->rows) &&
           lies_inside(&p->h, b->col, b->cols);
}

/* Both write whole vectors, hence up to VL - 1 floats too many. */
ZK_INLINE void zero_floats(float *to, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        vf_store(to + i, (vf){0});
        IN_ORDER;
    }
}
ZK_INLINE void copy_floats(float *to, const float *from, int64_t n, const float *end) {
    int64_t i = 0;
    for (; i < n && from + i + VL <= end; i += VL) vf_store(to + i, vf_load(from + i));
    for (; i < n; i++) to[i] = from[i];
}

/* Cells [from, from + cols) of one row of one group, zero where they lie outside. */
static inline void copy_row(const zk_conv *p, float *to, const float *row, int64_t from,
                            int64_t cols) {
    int64_t pitch = p->groups * p->ci, ci = p->ci;
    int64_t a = zk_min(zk_max(-from, 0), cols), z = zk_max(zk_min(cols, p->h.in - from), a);
    const float *end = p->in + p->images * input_pitches(p).image_pitch;
    zero_floats(to, a * ci);
    if (pitch == ci) copy_floats(to + a * ci, row + (from + a) * ci, (z - a) * ci, end);
    else
        for (int64_t i = a; i < z; i++) copy_floats(to + i * ci, row + (from + i) * pitch, ci, end);
    zero_floats(to + z * ci, (cols - z) * ci);
}

/* The rows that a band needs of one plane, which may lie outside the input, to rows `pitch` floats
 * apart. */
static inline void copy_plane(const zk_conv *p, const zk_band *b, int inside, const float *from,
                              int64_t left, float *to, int64_t pitch) {
    int64_t top = first_cell(&p->v, b->row), rows = reach(&p->v, b->rows);
    int64_t cols = reach(&p->h, b->cols), line = input_pitches(p).row_pitch;
    for (int64_t r = 0; r < rows; r++, to += pitch)
        if (inside && is_cell(&p->v, top + r)) copy_row(p, to, from + r * line, left, cols);
        else zero_floats(to, cols * p->ci);
}

/* A window of `group`; the copy (window_floats) is made if it is needed. */
static inline zk_window band_window(const zk_conv *p, const zk_bands *bands, const zk_band *b,
                                    int64_t group, float *copy) {
    int64_t left = b->col * p->h.step + p->h.shift, planes = reach(&p->z, 1);
    zk_window in = input_pitches(p), w = copy_pitches(p, bands);
    in.base += b->image * in.image_pitch + first_cell(&p->z, b->plane) * in.plane_pitch +
               first_cell(&p->v, b->row) * in.row_pitch + group * p->ci;
    if (touches_no_padding(p, b)) {
        in.base += left * in.pitch;
        return in;
    }
    w.base = copy;
    for (int64_t i = 0; i < b->images * planes; i++) {
        int64_t n = i / planes, z = i % planes;
        const float *from = in.base + n * in.image_pitch + z * in.plane_pitch;
        float *to = copy + n * w.image_pitch + z * w.plane_pitch;
        copy_plane(p, b, is_cell(&p->z, first_cell(&p->z, b->plane) + z), from, left, to,
                   w.row_pitch);
    }
    return w;
}

/* Offsets in a window of the runs of floats that one pixel meets, and their length: the channels of
 * neighbouring taps join into one run. */
static inline int64_t tap_runs(const zk_conv *p, const zk_window *w, int64_t *taps,
                               int64_t *ntaps) {
    int64_t down = p->v.taps, across = p->h.taps, run = p->ci;
    if (p->h.dshift * w->pitch == run) run *= across, across = 1;
    if (across == 1 && p->v.dshift * w->row_pitch == run) run *= down, down = 1;
    *ntaps = p->z.taps * down * across;
    for (int64_t k = 0; k < p->z.taps; k++)
        for (int64_t i = 0; i < down; i++)
            for (int64_t j = 0; j < across; j++)
                *taps++ = k * p->z.dshift * w->plane_pitch + i * p->v.dshift * w->row_pitch +
                          j * p->h.dshift * w->pitch;
    return run;
}
#endif
