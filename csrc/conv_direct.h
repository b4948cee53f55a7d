/* Direct convolution: bands of output pixels times panels of filters, in tiles of conv_tile.h. In:
 * a zk_conv and weights packed as in conv_pack.h. Out: the output pixels of the zk_conv, with bias
 * and activation. Serves forward and input gradient; it must not know which of them it computes. */
#ifndef ZK_CONV_DIRECT_H
#define ZK_CONV_DIRECT_H
#include "conv.h"
#include "conv_tile.h"

#define BAND_PIXELS 192        /* most pixels of a band */
#define STACK_IMAGES 24        /* of a band of stacked images: full tiles of 6 and of 8 */
#define STACK_PIXELS 1024      /* most pixels of such a band, about */
#define STACK_SHARE 0.93 /* stack if the work is below this share of that with padding */
#define STACK_FLOATS (1 << 14) /* largest image to stack */

typedef struct {
    const zk_conv *p;
    const float *packed, *bias; /* bias (groups * co) or NULL */
    int activation;
    int stacked; /* a tile holds one place of several images, instead of neighbouring places */
    zk_bands bands;
    int64_t panels,
        chunks;    /* panels of a group; parts that the panels of all groups are cut into */
    char *scratch; /* own_scratch bytes for each thread: taps, then the window */
    int64_t own_scratch;
} zk_direct;

/* Offset in the output of a place of an image. */
static inline int64_t place_offset(const zk_conv *p, int64_t image, int64_t row, int64_t col) {
    int64_t line = image * p->v.out + p->v.first + row * p->v.every;
    return (line * p->h.out + p->h.first + col * p->h.every) * p->groups * p->co;
}

/* Offsets of a band's pixels in its window and in the output; the rest of the last tile repeats the
 * last pixel. */
static inline void pixel_offsets(const zk_conv *p, const zk_band *b, const zk_window *w,
                                 int64_t *in, int64_t *out) {
    int64_t k = 0, every = p->h.every * p->groups * p->co;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < b->rows; r++) {
            int64_t x = n * w->image_pitch + r * p->v.step * w->row_pitch;
            int64_t y = place_offset(p, b->image + n, b->row + r, b->col);
            for (int64_t c = 0; c < b->cols; c++, k++) {
                in[k] = x + c * p->h.step * w->pitch;
                out[k] = y + c * every;
            }
        }
    for (int i = 0; i < MOST_ROWS; i++) in[k + i] = in[k - 1], out[k + i] = out[k - 1];
}

/* Points the tiles at panel o of a group. */
static inline void set_panel(const zk_direct *d, int64_t group, int64_t o, zk_panel *t,
                             float *bias) {
    const zk_conv *p = d->p;
    int64_t filter = group * p->co + o * PANEL;
    t->cols = (int)zk_min(PANEL, p->co - o * PANEL);
    t->w = d->packed + (group * d->panels + o) * count_taps(p) * p->ci * PANEL;
    t->out = p->out + filter;
    t->bias = bias;
    t->activation = d->activation;
    for (int i = 0; i < PANEL; i++) bias[i] = d->bias && i < t->cols ? d->bias[filter + i] : 0;
}

/* Panels [from, to) of one group for one band. */
static void band_panels(const zk_direct *d, const zk_band *b, int64_t group, int64_t from,
                        int64_t to, char *scratch) {
    const zk_conv *p = d->p;
    int64_t in[BAND_PIXELS + MOST_ROWS], out[BAND_PIXELS + MOST_ROWS], taps = count_taps(p);
    float bias[PANEL];
    zk_window w = {.base = p->in};
    if (taps) w = band_window(p, b, group, 0, (float *)(scratch + zk_align(taps * 8)));
    zk_panel t = {.base = w.base, .taps = (int64_t *)scratch};
    t.run = tap_runs(p, &w, (int64_t *)scratch, &t.ntaps);
    t.w_step = t.run * PANEL;
    t.dense = p->groups == 1 && p->co <= PANEL && p->h.every == 1 && p->v.every == 1;
    pixel_offsets(p, b, &w, in, out);
    for (int64_t o = from; o < to; o++) {
        set_panel(d, group, o, &t, bias);
        run_tiles(&t, in, out, band_pixels(b));
    }
}

/* The same for stacked images: every place takes only the taps that meet the input, so nothing is
 * padded and nothing is multiplied by padding. One group. */
static void stacked_panels(const zk_direct *d, const zk_band *b, int64_t from, int64_t to,
                           char *scratch) {
    const zk_conv *p = d->p;
    const zk_axis *v = &p->v, *h = &p->h;
    int64_t in[STACK_IMAGES + MOST_ROWS], out[STACK_IMAGES + MOST_ROWS], *taps = (int64_t *)scratch;
    int64_t row_pitch = h->in * p->ci, image = v->in * row_pitch, step = p->ci * PANEL;
    float bias[PANEL];
    for (int64_t n = 0; n < b->images + MOST_ROWS; n++) {
        in[n] = (b->image + zk_min(n, b->images - 1)) * image;
        out[n] = place_offset(p, b->image + zk_min(n, b->images - 1), 0, 0);
    }
    for (int64_t i = 0; i < v->taps; i++) taps[i] = i * v->dshift * row_pitch;
    zk_panel t = {.taps = taps, .w_step = h->taps * step};
    for (int64_t o = from; o < to; o++) {
        set_panel(d, 0, o, &t, bias);
        zk_panel place = t;
        for (int64_t i = 0, v0, v1, h0, h1; i < b->rows * h->outs; i++) {
            int64_t row = b->row + i / h->outs, col = i % h->outs;
            int64_t top = row * v->step + v->shift, left = col * h->step + h->shift;
            taps_inside(v, top, &v0, &v1);
            taps_inside(h, left, &h0, &h1);
            place.base = p->in + (top + v0 * v->dshift) * row_pitch + (left + h0) * p->ci;
            place.w = t.w + (v0 * h->taps + h0) * step;
            place.ntaps = v1 - v0, place.run = (h1 - h0) * p->ci;
            place.out = t.out + place_offset(p, 0, row, col) - place_offset(p, 0, 0, 0);
            run_tiles(&place, in, out, b->images);
        }
    }
}

static void direct_task(void *ctx, int64_t task, int thread) {
    const zk_direct *d = ctx;
    zk_band b = band_at(d->p, &d->bands, task / d->chunks);
    char *scratch = d->scratch + thread * d->own_scratch;
    int64_t all = d->p->groups * d->panels, chunk = task % d->chunks;
    int64_t at = all * chunk / d->chunks, end = all * (chunk + 1) / d->chunks;
    if (d->stacked) {
        stacked_panels(d, &b, at, end, scratch);
        return;
    }
    for (int64_t to; at < end; at = to) {
        int64_t group = at / d->panels, first = group * d->panels;
        to = zk_min(end, first + d->panels);
        band_panels(d, &b, group, at - first, to - first, scratch);
    }
}

/* How many of an axis' taps meet the input, over all outputs. */
static inline double share_inside(const zk_axis *a) {
    int64_t inside = 0, from, to;
    for (int64_t i = 0; i < a->outs; i++) {
        taps_inside(a, i * a->step + a->shift, &from, &to);
        inside += to - from;
    }
    return (double)inside / (double)zk_max(a->outs * a->taps, 1);
}

/* Small padded maps of many images. Stacking saves the taps that meet padding, and wastes the part
 * of the last tile that has no image. */
static inline int worth_stacking(const zk_conv *p) {
    int64_t rows = p->co > VL ? TILE_ROWS(PV) : TILE_ROWS(1);
    if (p->groups > 1 || p->h.dshift != 1 || p->images < rows || count_taps(p) < 2 ||
        p->v.in * p->h.in * p->ci > STACK_FLOATS)
        return 0;
    double slots = (double)(zk_ceil(p->images, rows) * rows) / (double)p->images;
    return share_inside(&p->v) * share_inside(&p->h) * slots < STACK_SHARE;
}

static inline zk_bands stack_bands(const zk_conv *p) {
    zk_bands b = {.images = STACK_IMAGES, .cols = p->h.outs, .ncols = 1};
    b.nimages = zk_ceil(p->images, b.images);
    b.rows = zk_max(zk_min(STACK_PIXELS / (b.images * zk_max(p->h.outs, 1)), p->v.outs), 1);
    b.nrows = zk_ceil(p->v.outs, b.rows);
    if (b.nrows) b.rows = zk_ceil(p->v.outs, b.nrows);
    return b;
}

/* Pixels of a band: enough to reuse each panel of weights, few enough that the window of input
 * stays in the second-level cache. */
static inline zk_direct plan_direct(const zk_conv *p, int threads) {
    zk_direct d = {.p = p, .panels = zk_ceil(p->co, PANEL), .chunks = 1};
    int64_t pixels = zk_min(zk_max(32768 / zk_max(p->ci, 1), 48), BAND_PIXELS);
    d.own_scratch = zk_align(count_taps(p) * 8);
    d.stacked = worth_stacking(p);
    d.bands = d.stacked ? stack_bands(p) : cut_bands(p, pixels);
    if (!d.stacked) d.own_scratch += zk_align(window_floats(p, &d.bands) * 4);
    int64_t bands = zk_max(count_bands(&d.bands), 1), all = p->groups * d.panels;
    if (threads > 1) d.chunks = zk_max(zk_min(all, zk_ceil(4 * threads, bands)), 1);
    return d;
}

static inline int64_t direct_scratch(const zk_conv *p, int threads) {
    return threads * plan_direct(p, threads).own_scratch;
}

static inline void run_direct(const zk_call *c, const zk_conv *p, const float *packed,
                              const float *bias, int activation, char *scratch) {
    zk_direct d = plan_direct(p, c->threads);
    d.packed = packed, d.bias = bias, d.activation = activation, d.scratch = scratch;
    zk_parallel(c, count_bands(&d.bands) * d.chunks, direct_task, &d);
}
#endif
