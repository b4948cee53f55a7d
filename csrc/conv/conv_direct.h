/* Direct convolution: bands of output pixels times panels of filters, in tiles of conv_tile.h. In:
 * a zk_conv and weights packed as in conv_pack.h. Out: the output pixels of the zk_conv, with bias
 * and activation. Serves forward and input gradient; it must not know which of them it computes. */
#ifndef ZK_CONV_DIRECT_H
#define ZK_CONV_DIRECT_H
#include "conv_tile.h"
#include "conv_window.h"

#if VL == 16
#define BAND_PIXELS 256       /* most pixels of a band */
#define BAND_FLOATS (1 << 17) /* about, of its input: it stays in the second-level cache */
#define BAND_LEAST 98         /* least pixels, where that is more */
#define BAND_SHARED 48        /* least pixels that a thread still takes alone */
#else
#define BAND_PIXELS 192
#define BAND_FLOATS (1 << 15)
#define BAND_LEAST 48
#endif
#define STACK_IMAGES 24        /* of a band of stacked images: full tiles of 6 and of 8 */
#define STACK_PIXELS 1024      /* most pixels of such a band, about */
#define STACK_FLOATS (1 << 14) /* largest image to stack */
#define STACK_RUN 16           /* shortest run of floats to stack */
#define STACK_SHARE 0.95       /* stack if at most this share of the taps meets the input */

/* How a band's pixels find their input: the offset of each pixel, and of its runs of floats. */
typedef struct {
    int64_t pixel[BAND_PIXELS], *taps, ntaps, run;
} zk_reading;

typedef struct {
    const zk_conv *p;
    const float *packed, *bias; /* bias (groups * co) or NULL */
    int activation;
    int stacked; /* a tile holds one place of several images, instead of neighbouring places */
    zk_bands bands;
    int64_t panels, units; /* panels of a group; parts of these that a tile takes at once */
    int64_t chunks;        /* parts that the panels of all groups are cut into */
    int64_t grain;         /* panels of all groups, or units, between which they are cut */
    zk_reading in_place, copied;
    int64_t out[BAND_PIXELS]; /* offset of each pixel from the band's first */
    char *scratch;            /* taps of both readings, then a window for each thread */
    int64_t tap_bytes, window_bytes;
} zk_direct;

/* Offset in the output of a place of an image. */
static inline int64_t place_offset(const zk_conv *p, int64_t image, int64_t plane, int64_t row,
                                   int64_t col) {
    int64_t depth = image * p->z.out + p->z.first + plane * p->z.every;
    int64_t line = depth * p->v.out + p->v.first + row * p->v.every;
    return (line * p->h.out + p->h.first + col * p->h.every) * p->groups * p->co;
}

/* How many panels from o on, of those before `to`, a tile takes. */
static inline int64_t panels_at_once(int64_t o, int64_t to) {
    return zk_ceil(to - o, zk_ceil(to - o, TILE_PANELS));
}

/* Points the tiles at `some` panels of a group from o on, of those before `to`. */
static inline void set_panel(const zk_direct *d, int64_t group, int64_t o, int64_t some, int64_t to,
                             zk_panel *t, float *bias) {
    const zk_conv *p = d->p;
    int64_t filter = group * p->co + o * PANEL;
    t->cols = (int)zk_min(some * PANEL, p->co - o * PANEL);
    t->w_panel = count_taps(p) * p->ci * PANEL;
    t->w = d->packed + (group * d->panels + o) * t->w_panel;
    t->next = o + some < to ? t->w + some * t->w_panel : NULL;
    t->out = p->out + filter;
    t->residual = p->residual ? p->residual + filter : NULL;
    t->bias = bias;
    t->activation = d->activation;
    t->dense = p->groups == 1 && t->cols == p->co && p->h.every * p->v.every * p->z.every == 1;
    for (int i = 0; i < TILE_PANELS * PANEL; i++) /* a constant count: 1.1 times in small layers */
        bias[i] = d->bias && i < t->cols ? d->bias[filter + i] : 0;
}

static inline void move_to(zk_panel *t, int64_t offset) {
    t->out += offset;
    if (t->residual) t->residual += offset;
}

/* Panels [from, to) of one group for one band. */
static void band_panels(const zk_direct *d, const zk_band *b, int64_t group, int64_t from,
                        int64_t to, float *copy) {
    const zk_conv *p = d->p;
    float bias[TILE_PANELS * PANEL];
    zk_window w = band_window(p, &d->bands, b, group, copy);
    const zk_reading *r = w.base == copy ? &d->copied : &d->in_place;
    zk_panel t = {.base = w.base, .taps = r->taps, .ntaps = r->ntaps, .run = r->run};
    t.w_step = t.run * PANEL;
    for (int64_t o = from, some; o < to; o += some) {
        some = panels_at_once(o, to);
        set_panel(d, group, o, some, to, &t, bias);
        move_to(&t, place_offset(p, b->image, b->plane, b->row, b->col));
        run_tiles(&t, r->pixel, d->out, band_pixels(b));
    }
}

/* The panels of one place of stacked images: only the taps that meet the input, so that nothing is
 * padded and nothing is multiplied by padding. */
static inline void stacked_place(const zk_direct *d, const zk_band *b, const zk_panel *t,
                                 int64_t row, int64_t col) {
    const zk_conv *p = d->p;
    const zk_axis *v = &p->v, *h = &p->h;
    int64_t top = row * v->step + v->shift, left = col * h->step + h->shift;
    int64_t v0, v1, h0, h1, line = h->in * p->ci;
    taps_inside(v, top, &v0, &v1);
    taps_inside(h, left, &h0, &h1);
    zk_panel place = *t;
    place.base = p->in + (b->image * v->in + top + v0 * v->dshift) * line + (left + h0) * p->ci;
    place.w += (v0 * h->taps + h0) * p->ci * PANEL;
    place.dense = 0;
    place.ntaps = v1 - v0, place.run = (h1 - h0) * p->ci;
    move_to(&place, place_offset(p, b->image, 0, row, col));
    run_tiles(&place, d->in_place.pixel, d->out, b->images);
}

/* Panels [from, to) of a band of stacked images. */
static void stacked_panels(const zk_direct *d, const zk_band *b, int64_t from, int64_t to) {
    const zk_conv *p = d->p;
    float bias[TILE_PANELS * PANEL];
    zk_panel t = {.taps = d->in_place.taps, .w_step = p->h.taps * p->ci * PANEL};
    for (int64_t o = from, some; o < to; o += some) {
        some = panels_at_once(o, to);
        set_panel(d, 0, o, some, to, &t, bias);
        for (int64_t row = b->row; row < b->row + b->rows; row++)
            for (int64_t col = 0; col < p->h.outs; col++) stacked_place(d, b, &t, row, col);
    }
}

/* The first panel of a unit, counted over all groups. */
static inline int64_t unit_panel(const zk_direct *d, int64_t unit) {
    return unit / d->units * d->panels + d->panels * (unit % d->units) / d->units;
}

/* The first panel of a chunk. */
static inline int64_t chunk_panel(const zk_direct *d, int64_t chunk) {
    const int64_t at = d->grain * chunk / d->chunks;
    return d->grain == d->p->groups * d->units ? unit_panel(d, at) : at;
}

static void direct_task(void *ctx, int64_t task, int thread) {
    const zk_direct *d = ctx;
    zk_band b = band_at(d->p, &d->bands, task / d->chunks);
    float *copy = (float *)(d->scratch + 2 * d->tap_bytes + thread * d->window_bytes);
    int64_t at = chunk_panel(d, task % d->chunks), end = chunk_panel(d, task % d->chunks + 1);
    if (d->stacked) {
        stacked_panels(d, &b, at, end);
        return;
    }
    for (int64_t to; at < end; at = to) {
        int64_t group = at / d->panels, first = group * d->panels;
        to = zk_min(end, first + d->panels);
        band_panels(d, &b, group, at - first, to - first, copy);
    }
}

/* --- planning */

/* The share of an axis' taps that meet the input. */
static inline double share_inside(const zk_axis *a) {
    int64_t inside = 0, from, to;
    for (int64_t i = 0; i < a->outs; i++) {
        taps_inside(a, i * a->step + a->shift, &from, &to);
        inside += to - from;
    }
    return (double)inside / (double)zk_max(a->outs * a->taps, 1);
}

/* Small padded maps of many images. */
static inline int worth_stacking(const zk_conv *p) {
    return p->groups == 1 && !p->solid && p->h.dshift == 1 && p->images >= MOST_ROWS / 2 &&
           count_taps(p) > 1 && p->h.taps * p->ci >= STACK_RUN &&
           p->v.in * p->h.in * p->ci <= STACK_FLOATS &&
           share_inside(&p->v) * share_inside(&p->h) < STACK_SHARE;
}

static inline zk_bands stack_bands(const zk_conv *p) {
    zk_bands b = {.images = STACK_IMAGES, .nplanes = 1, .cols = p->h.outs, .ncols = 1};
    b.nimages = zk_ceil(p->images, b.images);
    b.rows = zk_max(zk_min(STACK_PIXELS / (b.images * zk_max(p->h.outs, 1)), p->v.outs), 1);
    b.nrows = zk_ceil(p->v.outs, b.rows);
    if (b.nrows) b.rows = zk_ceil(p->v.outs, b.nrows);
    return b;
}

/* Pixels of a band: enough to reuse each panel of weights, few enough that the window of input
 * stays in the second-level cache; and, with wide tiles, that all threads get as many whole ones.
 * Where there is more of weights than of images, threads rather share the weights out. */
static inline int64_t pixels_of_band(const zk_direct *d, int threads) {
    const zk_conv *p = d->p;
    int64_t pixels = zk_min(zk_max(BAND_FLOATS / zk_max(p->ci, 1), BAND_LEAST), BAND_PIXELS);
#if VL == 16
    const int64_t all = p->images * p->z.outs * p->v.outs * p->h.outs;
    const int64_t wanted =
        zk_max(zk_ceil(4 * threads, zk_max(p->groups * d->units, 1)), zk_ceil(all, pixels));
    const int64_t even = zk_min(zk_ceil(wanted, threads), all / (BAND_SHARED * threads)) * threads;
    const int heavy = p->co * p->ci * count_taps(p) > all * (p->ci + p->co);
    if (threads < 2) return pixels;
    if (even && !(heavy && wanted < threads)) return zk_min(pixels, zk_ceil(all, even));
    pixels = zk_min(pixels, zk_max(zk_ceil(all, wanted), BAND_SHARED));
#else
    (void)threads;
#endif
    return pixels;
}

/* Panels are cut between tiles where each thread has whole bands, else into as many for all. */
static inline void cut_panels(zk_direct *d, int threads) {
    const int64_t bands = zk_max(count_bands(&d->bands), 1), all = d->p->groups * d->panels;
    const int64_t most = zk_max(all / TILE_PANELS, zk_min(threads, all));
    d->grain = bands % threads ? all : d->p->groups * d->units;
    if (threads > 1) d->chunks = zk_max(zk_min(most, zk_ceil(4 * threads, bands)), 1);
    if (d->chunks > threads && bands % threads) d->chunks -= d->chunks % threads;
    d->chunks = zk_min(d->chunks, zk_max(d->grain, 1));
}

static inline zk_direct plan_direct(const zk_conv *p, int threads) {
    zk_direct d = {.p = p, .panels = zk_ceil(p->co, PANEL), .chunks = 1};
    d.units = zk_max(zk_ceil(d.panels, TILE_PANELS), 1);
    d.stacked = worth_stacking(p);
    d.bands = d.stacked ? stack_bands(p) : cut_bands(p, pixels_of_band(&d, threads));
    if (d.bands.ncols) d.bands.cols = zk_ceil(p->h.outs, d.bands.ncols);
    d.tap_bytes = zk_align(count_taps(p) * 8);
    d.window_bytes = d.stacked ? 0 : zk_align(window_floats(p, &d.bands) * 4);
    cut_panels(&d, threads);
    return d;
}

static inline int64_t direct_scratch(const zk_conv *p, int threads) {
    zk_direct d = plan_direct(p, threads);
    return 2 * d.tap_bytes + threads * d.window_bytes;
}

/* Where the images, rows and columns of a band lie: floats from one to the next. */
typedef struct {
    int64_t image, row, col;
} zk_steps;

static inline void list_places(const zk_direct *d, zk_steps s, int64_t *place) {
    const zk_bands *b = &d->bands;
    const int64_t rows = d->stacked ? 1 : b->rows, cols = d->stacked ? 1 : b->cols;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0, at = n * s.image + r * s.row; c < cols; c++, at += s.col)
                *place++ = at;
}

static inline zk_steps window_steps(const zk_conv *p, const zk_window *w) {
    return (zk_steps){w->image_pitch, p->v.step * w->row_pitch, p->h.step * w->pitch};
}

/* The readings of a full band; a smaller one uses their beginning. */
static inline void set_offsets(zk_direct *d) {
    const zk_conv *p = d->p;
    zk_window in = input_pitches(p), copy = copy_pitches(p, &d->bands);
    const int64_t first = place_offset(p, 0, 0, 0, 0);
    list_places(d, window_steps(p, &in), d->in_place.pixel);
    list_places(d, window_steps(p, &copy), d->copied.pixel);
    list_places(d,
                (zk_steps){place_offset(p, 1, 0, 0, 0) - first, place_offset(p, 0, 0, 1, 0) - first,
                           place_offset(p, 0, 0, 0, 1) - first},
                d->out);
    d->in_place.taps = (int64_t *)d->scratch;
    d->copied.taps = (int64_t *)(d->scratch + d->tap_bytes);
    d->in_place.run = tap_runs(p, &in, d->in_place.taps, &d->in_place.ntaps);
    d->copied.run = tap_runs(p, &copy, d->copied.taps, &d->copied.ntaps);
    if (d->stacked)
        for (int64_t i = 0; i < p->v.taps; i++)
            d->in_place.taps[i] = i * p->v.dshift * in.row_pitch;
}

static inline void run_direct(const zk_call *c, const zk_conv *p, const float *packed,
                              const float *bias, int activation, char *scratch) {
    zk_direct d = plan_direct(p, c->threads);
    d.packed = packed, d.bias = bias, d.activation = activation, d.scratch = scratch;
    set_offsets(&d);
    zk_parallel(c, count_bands(&d.bands) * d.chunks, direct_task, &d);
}
#endif
