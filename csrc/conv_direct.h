/* Direct convolution: a register tile of output pixels x 16 filters, summed over all taps and
 * channels in one go. In: a zk_conv and weights packed [group][panel][tap][channel][16]. Out: the
 * output pixels of the zk_conv, with bias and activation. Serves forward and input gradient; it
 * must not know which of them it computes. */
#ifndef ZK_CONV_DIRECT_H
#define ZK_CONV_DIRECT_H
#include "conv.h"
#include "conv_act.h"

/* Rows of a tile by its vectors: sums for all registers but three, pointers for all but eight. */
#if defined(__aarch64__)
#define TILE_ROWS(vectors) ((vectors) > 2 ? 6 : 8)
#else
#define TILE_ROWS(vectors) ((vectors) > 1 ? 12 / (vectors) : 8)
#endif
#define MOST_ROWS 8
#define MOST_SUMS 24
#define BAND_PIXELS 192 /* most pixels of a band */

typedef struct {
    const zk_conv *p;
    const float *packed, *bias; /* bias (groups * co) or NULL */
    int activation;
    zk_bands bands;
    int64_t panels, chunks; /* panels of a group; pieces the panels of all groups are cut into */
    char *scratch;          /* own_scratch bytes for each thread */
    int64_t own_scratch;
} zk_direct;

/* One panel of one band. `in` and `out` below hold the offset of each pixel. */
typedef struct {
    const float *base;    /* input window */
    const int64_t *taps;  /* offsets of the runs of input that a pixel meets */
    int64_t ntaps, run;   /* how many, and floats in each */
    const float *w, *bias; /* (ntaps * run, 16), (16) */
    float *out;
    int cols, activation; /* filters of this panel */
    int dense; /* the pixels' filters follow each other in memory, in order */
} zk_panel;

ZK_INLINE void store_cols(float *to, const vf *sums, int vectors, int cols) {
    float t[PANEL], *s = t;
    for (int v = 0; v < vectors; v++) vf_store(t + v * VL, sums[v]);
#define STORE_PART(n) \
    if (cols & n) memcpy(to, s, n * 4), to += n, s += n;
    STORE_PART(8) STORE_PART(4) STORE_PART(2) STORE_PART(1)
#undef STORE_PART
}

/* One row of a tile. In a dense output a whole vector may be stored: what it spills into the pixels
 * behind is overwritten, as long as those are the band's (`room` floats). */
ZK_INLINE void store_row(const zk_panel *t, float *to, const vf *s, int64_t room,
                         const int vectors) {
    if (t->cols < vectors * VL && !(t->dense && room >= vectors * VL))
        store_cols(to, s, vectors, t->cols);
    else
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) vf_store(to + v * VL, s[v]);
}

/* `rows` pixels x `vectors` vectors of filters; the band ends after `left` pixels. */
ZK_INLINE void tile(const zk_panel *t, const int64_t *in, const int64_t *out, int64_t left,
                    const int rows, const int vectors) {
    vf s[MOST_SUMS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) s[i] = vf_load(t->bias + i % vectors * VL);
    const float *w = t->w;
    for (int64_t k = 0; k < t->ntaps; k++) {
        const float *base = t->base + t->taps[k], *x[MOST_ROWS];
#pragma GCC unroll 24
        for (int r = 0; r < rows; r++) x[r] = base + in[r];
#pragma GCC unroll 2
        for (int64_t c = 0; c < t->run; c++, w += PANEL) {
            vf b[PV];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) b[v] = vf_load(w + v * VL);
#pragma GCC unroll 24
            for (int r = 0; r < rows; r++) {
                vf a = vf_set(x[r][c]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) s[r * vectors + v] += a * b[v];
                IN_ORDER;
            }
        }
    }
    if (t->activation)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++) s[i] = conv_activate(s[i], t->activation);
#pragma GCC unroll 24
    for (int r = 0; r < rows; r++)
        if (r < left)
            store_row(t, t->out + out[r], s + r * vectors, (left - r) * t->cols, vectors);
}

/* All pixels of a band: the widest tile that its panel's filters need. */
#define PANEL_LOOP(name, vectors)                                                       \
    static __attribute__((noinline)) void name(const zk_panel *t, const int64_t *in,    \
                                               const int64_t *out, int64_t pixels) {    \
        for (int64_t i = 0; i < pixels; i += TILE_ROWS(vectors))                        \
            tile(t, in + i, out + i, pixels - i, TILE_ROWS(vectors), vectors);          \
    }
PANEL_LOOP(panel_of_1, 1)
#if PV > 1
PANEL_LOOP(panel_of_2, 2)
#endif
#if PV > 2
PANEL_LOOP(panel_of_3, 3)
PANEL_LOOP(panel_of_4, 4)
#endif
#undef PANEL_LOOP

static void run_panel(const zk_panel *t, const int64_t *in, const int64_t *out, int64_t pixels) {
    switch ((t->cols + VL - 1) / VL) {
    case 1: panel_of_1(t, in, out, pixels); break;
#if PV > 1
    case 2: panel_of_2(t, in, out, pixels); break;
#endif
#if PV > 2
    case 3: panel_of_3(t, in, out, pixels); break;
    default: panel_of_4(t, in, out, pixels);
#endif
    }
}

/* Offsets of a band's pixels in its window and in the output; the rest of the last tile repeats
 * the last pixel. */
static inline void pixel_offsets(const zk_conv *p, const zk_band *b, const zk_window *w,
                                 int64_t *in, int64_t *out) {
    int64_t pitch = p->groups * p->co, k = 0;
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t r = 0; r < b->rows; r++) {
            int64_t x = n * w->image_pitch + r * p->v.step * w->row_pitch;
            int64_t line = (b->image + n) * p->v.out + p->v.first + (b->row + r) * p->v.every;
            int64_t y = (line * p->h.out + p->h.first + b->col * p->h.every) * pitch;
            for (int64_t c = 0; c < b->cols; c++, k++) {
                in[k] = x + c * p->h.step * w->pitch;
                out[k] = y + c * p->h.every * pitch;
            }
        }
    for (int i = 0; i < MOST_ROWS; i++) in[k + i] = in[k - 1], out[k + i] = out[k - 1];
}

static inline void panel_bias(const zk_direct *d, int64_t from, int cols, float *bias) {
    for (int i = 0; i < PANEL; i++) bias[i] = d->bias && i < cols ? d->bias[from + i] : 0;
}

/* Panels [from, to) of one group for one band. */
static void band_panels(const zk_direct *d, const zk_band *b, int64_t group, int64_t from,
                        int64_t to, char *scratch) {
    const zk_conv *p = d->p;
    int64_t in[BAND_PIXELS + MOST_ROWS], out[BAND_PIXELS + MOST_ROWS], taps = count_taps(p);
    float bias[PANEL];
    zk_window w = {.base = p->in};
    if (taps) w = band_window(p, b, group, 0, (float *)(scratch + zk_align(taps * 8)));
    zk_panel t = {.base = w.base, .taps = (int64_t *)scratch, .bias = bias,
                  .activation = d->activation,
                  .dense = p->groups == 1 && p->co <= PANEL && p->h.every == 1 && p->v.every == 1};
    t.run = tap_runs(p, &w, (int64_t *)scratch, &t.ntaps);
    pixel_offsets(p, b, &w, in, out);
    for (int64_t o = from; o < to; o++) {
        int64_t filter = group * p->co + o * PANEL;
        t.cols = (int)zk_min(PANEL, p->co - o * PANEL);
        t.w = d->packed + (group * d->panels + o) * taps * p->ci * PANEL;
        t.out = p->out + filter;
        panel_bias(d, filter, t.cols, bias);
        run_panel(&t, in, out, band_pixels(b));
    }
}

static void direct_task(void *ctx, int64_t task, int thread) {
    const zk_direct *d = ctx;
    zk_band b = band_at(d->p, &d->bands, task / d->chunks);
    int64_t all = d->p->groups * d->panels, chunk = task % d->chunks;
    int64_t at = all * chunk / d->chunks, end = all * (chunk + 1) / d->chunks;
    while (at < end) {
        int64_t group = at / d->panels, first = group * d->panels;
        int64_t to = zk_min(end, first + d->panels);
        band_panels(d, &b, group, at - first, to - first, d->scratch + thread * d->own_scratch);
        at = to;
    }
}

/* Pixels of a band: enough to reuse each panel of weights, few enough that the window of input
 * stays in the second-level cache. */
static inline zk_direct plan_direct(const zk_conv *p, int threads) {
    zk_direct d = {.p = p, .panels = zk_ceil(p->co, PANEL), .chunks = 1};
    int64_t pixels = zk_min(zk_max(32768 / zk_max(p->ci, 1), 48), BAND_PIXELS);
    d.bands = cut_bands(p, pixels);
    int64_t bands = zk_max(count_bands(&d.bands), 1), all = p->groups * d.panels;
    if (threads > 1) d.chunks = zk_max(zk_min(all, zk_ceil(4 * threads, bands)), 1);
    d.own_scratch = zk_align(count_taps(p) * 8) + zk_align(window_floats(p, &d.bands) * 4);
    return d;
}

static inline int64_t direct_scratch(const zk_conv *p, int threads) {
    return threads * plan_direct(p, threads).own_scratch;
}

static inline int64_t packed_floats(const zk_conv *p) {
    return p->groups * zk_ceil(p->co, PANEL) * count_taps(p) * p->ci * PANEL;
}

static inline void run_direct(const zk_call *c, const zk_conv *p, const float *packed,
                              const float *bias, int activation, char *scratch) {
    zk_direct d = plan_direct(p, c->threads);
    d.packed = packed, d.bias = bias, d.activation = activation, d.scratch = scratch;
    zk_parallel(c, count_bands(&d.bands) * d.chunks, direct_task, &d);
}

/* --- packing */

typedef struct {
    const zk_conv *p;
    const float *w;          /* (kernel rows, kernel columns, ...) */
    float *packed;
    int64_t columns;         /* kernel columns */
    int64_t tap, in, out, group; /* distance in w of taps, input channels, filters, groups */
} zk_packing;

/* One tap of one panel, (ci, 16), zero beyond the last filter. */
static inline void pack_tap(const zk_packing *k, const float *w, int64_t cols, float *to) {
    for (int64_t c = 0; c < k->p->ci; c++, w += k->in, to += PANEL) {
        if (k->out == 1) memcpy(to, w, (size_t)cols * 4);
        else
            for (int64_t o = 0; o < cols; o++) to[o] = w[o * k->out];
        for (int64_t o = cols; o < PANEL; o++) to[o] = 0;
    }
}

static void pack_panel(void *ctx, int64_t task, int thread) {
    const zk_packing *k = ctx;
    const zk_conv *p = k->p;
    int64_t panels = zk_ceil(p->co, PANEL), panel = task % panels;
    int64_t cols = zk_min(PANEL, p->co - panel * PANEL);
    const float *w = k->w + task / panels * k->group + panel * PANEL * k->out;
    float *to = k->packed + task * count_taps(p) * p->ci * PANEL;
    (void)thread;
    for (int64_t i = 0; i < p->v.taps; i++)
        for (int64_t j = 0; j < p->h.taps; j++, to += p->ci * PANEL) {
            int64_t row = p->v.index + i * p->v.dindex, col = p->h.index + j * p->h.dindex;
            pack_tap(k, w + (row * k->columns + col) * k->tap, cols, to);
        }
}

/* Packs raw weights (kh, kw, ci, groups * co), or those of the convolution whose gradient this
 * is (turned), (kh, kw, co, groups * ci). */
static inline void pack_weights(const zk_call *c, const zk_conv *p, const float *w,
                                int64_t columns, int turned, float *packed) {
    int64_t filters = p->groups * (turned ? p->ci : p->co);
    zk_packing k = {p, w, packed, columns, (turned ? p->co : p->ci) * filters,
                    turned ? 1 : filters, turned ? filters : 1, turned ? p->ci : p->co};
    zk_parallel(c, p->groups * zk_ceil(p->co, PANEL), pack_panel, &k);
}
#endif
