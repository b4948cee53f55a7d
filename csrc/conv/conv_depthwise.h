/* Depthwise convolution, one filter a channel: every output vector is a sum of products of vectors
 * of channels. In: a zk_conv, and how far apart the taps of a pixel lie in its input and weights.
 * Out: its output pixels, with bias and activation. Reads the input where it lies: a pixel near the
 * border takes the taps that meet the input. */
#ifndef ZK_CONV_DEPTHWISE_H
#define ZK_CONV_DEPTHWISE_H
#include "conv.h"
#include "conv_act.h"

#define DW_PIXELS 4        /* output pixels computed together */
#define DW_RUN 7           /* the same in the commonest windows: divides the usual sizes of maps */
#define DW_ROW_TAPS 7      /* most columns of these */
#define DW_TASK (1 << 18)  /* products of a task, about; at most */
#define DW_LEAST (1 << 14) /* at least, where threads share them */
#define DW_SHARED 48       /* least pixels for each thread; else channels are cut, not rows */

typedef struct zk_depthwise zk_depthwise;
typedef struct zk_pixels zk_pixels;
typedef void (*zk_runs)(const zk_depthwise *, const zk_pixels *);

/* A row of taps: the cell in column 0 that they meet, and where the first one's weights are. */
typedef struct {
    const float *x;
    int64_t w;
} zk_tap_row;

struct zk_depthwise {
    const zk_conv *p;
    const float *w, *bias;           /* weights of the first tap; bias (channels) or NULL */
    int activation, lanes;           /* how many lanes of a vector are stored */
    int64_t channels, inputs, pitch; /* of the input: channels; arrays of them; floats of a pixel */
    int64_t deep, down, over;        /* floats from one plane, row, array of the input */
    int64_t w_deep, w_down, w_over;  /* the same of the weights */
    int64_t w_across;                /* and from one tap of a row to the next */
    int64_t every;                   /* floats from one pixel of the output to the next */
    zk_runs runs;                    /* computes DW_RUN pixels, or NULL */
    zk_bands bands;
    int64_t parts; /* that the channels are cut into */
    char *scratch; /* for each thread: the rows of taps of a row of pixels */
};

/* Neighbouring pixels of a row. */
struct zk_pixels {
    const zk_tap_row *taps, *end;
    int64_t at, w_at;       /* floats from a row's beginning to the first pixel's cell and tap */
    int64_t cols;           /* taps of a row, which all the pixels meet */
    int first, last, count; /* of a run: cells [first, last) lie on the input; pixels to store */
    uint32_t present;       /* a bit for each of these cells */
    float *y;
    const float *residual; /* what is added at y, or NULL */
};

static __attribute__((noinline)) void put_lanes(const zk_depthwise *d, const zk_pixels *k,
                                                int64_t at, vf s) {
    if (k->residual) s += vf_load_first(k->residual + at, d->lanes, (vf){0});
    vf_store_first(k->y + at, conv_activate(s, d->activation), d->lanes);
}

/* Stores a finished sum. */
ZK_INLINE void put_vector(const zk_depthwise *d, const zk_pixels *k, int64_t at, vf s) {
    if (d->lanes < VL) {
        put_lanes(d, k, at, s);
        return;
    }
    if (k->residual) s += vf_load(k->residual + at);
    vf_store(k->y + at, conv_activate(s, d->activation));
}

/* Channels [c, c + vectors * VL) of `pixels` pixels. */
ZK_INLINE void depthwise_tile(const zk_depthwise *d, const zk_pixels *k, int64_t c,
                              const int pixels, const int vectors) {
    const int64_t step = d->p->h.step * d->pitch, across = d->p->h.dshift * d->pitch;
    vf s[DW_PIXELS * 2];
#pragma GCC unroll 8
    for (int i = 0; i < pixels * vectors; i++)
        s[i] = d->bias ? vf_load(d->bias + c + i % vectors * VL) : (vf){0};
    for (const zk_tap_row *row = k->taps; row < k->end; row++) {
        const float *a = row->x + k->at + c, *b = d->w + row->w + k->w_at + c;
        for (int64_t j = k->cols; j > 0; j--, a += across, b += d->w_across) {
#pragma GCC unroll 2
            for (int q = 0; q < vectors; q++) {
                vf t = vf_load(b + q * VL);
#pragma GCC unroll 4
                for (int r = 0; r < pixels; r++)
                    s[r * vectors + q] += vf_load(a + r * step + q * VL) * t;
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < pixels * vectors; i++)
        put_vector(d, k, c + i / vectors * d->every + i % vectors * VL, s[i]);
}

/* One channel of one pixel, where no vector of channels is left. */
static void depthwise_one(const zk_depthwise *d, const zk_pixels *k, int64_t c, int pixel) {
    const int64_t across = d->p->h.dshift * d->pitch, at = pixel * d->every + c;
    float s[VL] = {d->bias ? d->bias[c] : 0};
    for (const zk_tap_row *row = k->taps; row < k->end; row++) {
        const float *x = row->x + k->at + pixel * d->p->h.step * d->pitch + c;
        const float *w = d->w + row->w + k->w_at + c;
        for (int64_t j = 0; j < k->cols; j++) s[0] += x[j * across] * w[j * d->w_across];
    }
    if (k->residual) s[0] += k->residual[at];
    vf_store(s, conv_activate(vf_load(s), d->activation));
    k->y[at] = s[0];
}

/* All channels; the last vector may overlap the one before it, unless it would read as residual
 * what that one wrote. */
ZK_INLINE void depthwise_pixels(const zk_depthwise *d, const zk_pixels *k, const int pixels) {
    int64_t c = 0;
    for (; c + 2 * VL <= d->channels; c += 2 * VL) depthwise_tile(d, k, c, pixels, 2);
    for (; c + VL <= d->channels; c += VL) depthwise_tile(d, k, c, pixels, 1);
    if (c < d->channels && d->channels >= VL && !k->residual)
        depthwise_tile(d, k, d->channels - VL, pixels, 1);
    else
        for (; c < d->channels; c++)
            for (int r = 0; r < pixels; r++) depthwise_one(d, k, c, r);
}

/* Stores the sums of a run (DW_RUN, VL) where that takes more than a store. */
static __attribute__((noinline)) void put_run(const zk_depthwise *d, const zk_pixels *k, int64_t c,
                                              const float *sums) {
    for (int i = 0; i < k->count; i++) put_vector(d, k, c + i * d->every, vf_load(sums + i * VL));
}

/* One vector of channels of DW_RUN neighbouring pixels, for windows of `taps` neighbouring columns:
 * an input is loaded once for all the pixels that meet it. */
ZK_INLINE void depthwise_run(const zk_depthwise *d, const zk_pixels *k, int64_t c, const int taps,
                             const int step, const int whole) {
    const int64_t next = d->pitch, w_next = d->w_across;
    const uint32_t present = k->present;
    vf s[DW_RUN];
#pragma GCC unroll 8
    for (int i = 0; i < DW_RUN; i++) s[i] = d->bias ? vf_load(d->bias + c) : (vf){0};
    for (const zk_tap_row *row = k->taps; row < k->end; row++) {
        const float *x = row->x + k->at + c, *w = d->w + row->w + c;
        uint32_t here = present; /* tested bit by bit below, not before the loop */
        __asm__("" : "+r"(here));
        vf t[DW_ROW_TAPS];
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++, w += w_next) t[j] = vf_load(w);
#pragma GCC unroll 32
        for (int n = 0; n < (DW_RUN - 1) * step + taps; n++, x += next) {
            if (!whole && !(here >> n & 1)) continue;
            const vf a = vf_load(x);
#pragma GCC unroll 8
            for (int j = 0; j < taps; j++)
                if (n >= j && (n - j) % step == 0 && (n - j) / step < DW_RUN)
                    s[(n - j) / step] += a * t[j];
        }
    }
    const int activation = d->activation,
              curved = activation == ZK_TANH || activation == ZK_SIGMOID;
    if (d->lanes < VL || k->residual || curved) {
        float sums[DW_RUN * VL];
#pragma GCC unroll 8
        for (int i = 0; i < DW_RUN; i++) vf_store(sums + i * VL, s[i]);
        put_run(d, k, c, sums);
        return;
    }
    if (activation)
#pragma GCC unroll 8
        for (int i = 0; i < DW_RUN; i++) s[i] = vf_at_least(s[i], (vf){0});
    if (activation == ZK_RELU6)
#pragma GCC unroll 8
        for (int i = 0; i < DW_RUN; i++) s[i] = vf_at_most(s[i], vf_set(6));
    float *y = k->y + c;
#pragma GCC unroll 8
    for (int i = 0; i < DW_RUN; i++, y += d->every)
        if (whole || i < k->count) vf_store(y, s[i]);
}

/* One channel of a run. */
static void depthwise_run_one(const zk_depthwise *d, const zk_pixels *run, int64_t c) {
    const int step = (int)d->p->h.step, taps = (int)d->p->h.taps;
    for (int i = 0; i < run->count; i++) {
        zk_pixels k = *run;
        int h0 = (int)zk_max(run->first - i * step, 0),
            h1 = (int)zk_min(run->last - i * step, taps);
        k.cols = h1 - h0;
        k.at += (i * step + h0) * d->pitch, k.w_at = h0 * d->w_across;
        k.y += i * d->every;
        if (k.residual) k.residual += i * d->every;
        depthwise_one(d, &k, c, 0);
    }
}

/* All channels of a run. */
ZK_INLINE void depthwise_runs(const zk_depthwise *d, const zk_pixels *k, const int taps,
                              const int step) {
    const int cells = (DW_RUN - 1) * step + taps;
    int64_t c = 0;
    if (k->count == DW_RUN && k->present == (1u << cells) - 1)
        for (; c + VL <= d->channels; c += VL) depthwise_run(d, k, c, taps, step, 1);
    for (; c + VL <= d->channels; c += VL) depthwise_run(d, k, c, taps, step, 0);
    if (c < d->channels && d->channels >= VL && !k->residual)
        depthwise_run(d, k, d->channels - VL, taps, step, 0);
    else
        for (; c < d->channels; c++) depthwise_run_one(d, k, c);
}

#define EACH_RUN(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(7, 1) X(3, 2) X(5, 2) X(7, 2)
#define DEFINE_RUN(taps, step)                                                    \
    static void runs_##taps##_##step(const zk_depthwise *d, const zk_pixels *k) { \
        depthwise_runs(d, k, taps, step);                                         \
    }
#define RUN_ENTRY(taps, step) [taps - 1][step - 1] = runs_##taps##_##step,
EACH_RUN(DEFINE_RUN)

/* What computes DW_RUN pixels at once for this geometry, or NULL. */
static inline zk_runs choose_runs(const zk_axis *h) {
    static const zk_runs table[DW_ROW_TAPS][2] = {EACH_RUN(RUN_ENTRY)};
    if ((h->dshift != 1 && h->taps > 1) || h->step > 2 || !h->taps || h->taps > DW_ROW_TAPS)
        return NULL;
    return table[h->taps - 1][h->step - 1];
}

/* The pixels of a row from column `col` on, and how many. `k` describes the whole row. */
static int64_t depthwise_at(const zk_depthwise *d, zk_pixels k, int64_t col, int64_t end) {
    const zk_axis *h = &d->p->h;
    int64_t left = first_cell(h, col), right = left + (DW_PIXELS - 1) * h->step, h0, h1;
    k.y += col * d->every;
    if (k.residual) k.residual += col * d->every;
    if (d->runs) {
        k.at = left * d->pitch;
        k.first = (int)zk_max(-left, 0), k.last = (int)zk_min(h->in - left, INT32_MAX);
        k.count = (int)zk_min(end - col, DW_RUN);
        int cells = (DW_RUN - 1) * (int)h->step + (int)h->taps;
        k.last = (int)zk_min(k.last, cells), k.first = (int)zk_min(k.first, zk_max(k.last, 0));
        k.present = k.last > 0 ? (1u << k.last) - (1u << k.first) : 0;
        d->runs(d, &k);
        return k.count;
    }
    taps_inside(h, left, &h0, &h1);
    k.cols = h1 - h0;
    k.at = (left + h0 * h->dshift) * d->pitch, k.w_at = h0 * d->w_across;
    if (left >= 0 && right + (h->taps - 1) * h->dshift < h->in && col + DW_PIXELS <= end) {
        depthwise_pixels(d, &k, DW_PIXELS);
        return DW_PIXELS;
    }
    depthwise_pixels(d, &k, 1);
    return 1;
}

/* Rows of taps of one row of pixels that meet the input. */
static int64_t list_taps(const zk_depthwise *d, const float *image, int64_t plane, int64_t row,
                         zk_tap_row *list) {
    const zk_axis *z = &d->p->z, *v = &d->p->v;
    int64_t front = first_cell(z, plane), top = first_cell(v, row), z0, z1, v0, v1, n = 0;
    taps_inside(z, front, &z0, &z1);
    taps_inside(v, top, &v0, &v1);
    for (int64_t i = z0; i < z1; i++)
        for (int64_t j = v0; j < v1; j++)
            for (int64_t c = 0; c < d->inputs; c++, n++) {
                list[n].x = image + (front + i * z->dshift) * d->deep +
                            (top + j * v->dshift) * d->down + c * d->over;
                list[n].w = i * d->w_deep + j * d->w_down + c * d->w_over;
            }
    return n;
}

/* Pixels [col, col + cols) of a row, whose taps are listed. */
static void depthwise_row(const zk_depthwise *d, const zk_band *b, int64_t image, int64_t row,
                          const zk_tap_row *taps, const zk_tap_row *end) {
    const zk_conv *p = d->p;
    int64_t line = (image * p->z.out + p->z.first + b->plane * p->z.every) * p->v.out + p->v.first +
                   row * p->v.every;
    int64_t place = (line * p->h.out + p->h.first) * p->groups * p->co;
    zk_pixels k = {.taps = taps, .end = end, .y = p->out + place};
    k.residual = p->residual ? p->residual + place : NULL;
    for (int64_t col = b->col; col < b->col + b->cols;)
        col += depthwise_at(d, k, col, b->col + b->cols);
}

static inline int64_t tap_list_bytes(const zk_conv *p) {
    return zk_align(p->z.taps * p->v.taps * p->ci * (int64_t)sizeof(zk_tap_row));
}

/* Channels [from, to) of all. */
static inline void take_channels(zk_depthwise *d, zk_conv *p, int64_t from, int64_t to) {
    *p = *d->p;
    p->in += from, p->out += from;
    if (p->residual) p->residual += from;
    d->p = p, d->channels = to - from, d->w += from;
    if (d->bias) d->bias += from;
}

/* Parts of the channels one after another, the bands of each in order. */
static void depthwise_task(void *ctx, int64_t task, int thread) {
    zk_depthwise d = *(const zk_depthwise *)ctx;
    zk_conv p;
    const int64_t bands = count_bands(&d.bands), part = task / bands, panels = d.channels / PANEL;
    zk_band b = band_at(d.p, &d.bands, task % bands);
    zk_tap_row *list = (zk_tap_row *)(d.scratch + thread * tap_list_bytes(d.p));
    if (d.parts > 1)
        take_channels(&d, &p, panels * part / d.parts * PANEL,
                      part + 1 < d.parts ? panels * (part + 1) / d.parts * PANEL : d.channels);
    for (int64_t i = b.image; i < b.image + b.images; i++)
        for (int64_t row = b.row; row < b.row + b.rows; row++) {
            const float *x = d.p->in + i * d.p->z.in * d.deep;
            int64_t n = list_taps(&d, x, b.plane, row, list);
            depthwise_row(&d, &b, i, row, list, list + n);
        }
}

/* Cuts rows; in small maps channels, as a convolution before it shares out its filters there, so
 * that threads read what they wrote. */
static inline void cut_depthwise(zk_depthwise *d, int threads) {
    const zk_conv *p = d->p;
    const int64_t all = p->images * p->z.outs * p->v.outs * p->h.outs;
    const int64_t each = zk_max(d->channels * count_taps(p), 1);
    const int64_t wanted = zk_max(zk_min(all * each / DW_LEAST, 8 * threads), 1);
    const int small = threads > 1 && all < DW_SHARED * threads;
    d->parts =
        small ? zk_max(zk_min(zk_min(wanted, 2 * threads), d->channels / (4 * PANEL)), 1) : 1;
    int64_t pixels = zk_max(DW_TASK * d->parts / each, DW_RUN);
    if (threads > 1 && !small) pixels = zk_min(pixels, zk_max(zk_ceil(all, wanted), p->h.outs));
    d->bands = cut_bands(p, pixels);
}

static inline int64_t depthwise_scratch(const zk_conv *p, int threads) {
    return threads * tap_list_bytes(p);
}

/* Where inputs and weights of a depthwise convolution lie; rows, columns: of the kernel. */
static inline zk_depthwise in_place(const zk_conv *p, int64_t rows, int64_t columns) {
    const int64_t n = p->groups;
    zk_depthwise d = {.p = p, .channels = n, .inputs = 1, .lanes = VL, .pitch = n};
    d.down = p->h.in * n, d.deep = p->v.in * d.down, d.every = p->h.every * n;
    d.w_across = p->h.dindex * n, d.w_down = p->v.dindex * columns * n;
    d.w_deep = p->z.dindex * rows * columns * n;
    return d;
}

static inline void run_depthwise(const zk_call *c, const zk_conv *p, const float *w, int64_t rows,
                                 int64_t columns, const float *bias, int activation) {
    zk_depthwise d = in_place(p, rows, columns);
    d.w = w + ((p->z.index * rows + p->v.index) * columns + p->h.index) * d.channels;
    d.bias = bias, d.activation = activation, d.scratch = c->scratch;
    d.runs = d.channels < VL ? NULL : choose_runs(&p->h);
    cut_depthwise(&d, c->threads);
    zk_parallel(c, d.parts * count_bands(&d.bands), depthwise_task, &d);
}
#endif
