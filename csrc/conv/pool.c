/* Maximum and average pooling of NDHWC arrays and their gradients, vectors of channels at a time.
 * Padded cells take part in nothing. Arrays with fewer spatial axes have planes and rows of length
 * 1. Gradients go image by image, so that overlapping windows add up in one order. What is read,
 * and a maximum, may be bits of bfloat16; gradients are written as float32, in which they add up.
 */
#include "stored.h"
#include "vmath.h"

#define TASK_FLOATS (1 << 14) /* input floats of a task, about */
#define BLOCK 64              /* channels of a task of a gradient with few images */
#define FEW_IMAGES 16

/* What a task is compiled for: else maxima, of one plane, of float32. */
enum { AVERAGE = 1, DEEP = 2, BITS = 4 };

/* One spatial axis. */
typedef struct {
    int64_t in, out, window, stride, low;
} pool_axis;

typedef struct {
    pool_axis d, v, h;
    int64_t images, channels;
    stored g, x, y, to; /* inputs, where an op has them; the output */
    int64_t rows;       /* of output in a forward task */
    int64_t blocks;     /* of channels in a gradient */
} pooling;

/* The part of a window that lies on the input: cells [d0, d1) x [v0, v1) x [h0, h1). */
typedef struct {
    int64_t d0, d1, v0, v1, h0, h1;
} pool_cells;

static void clip(const pool_axis *a, int64_t at, int64_t *from, int64_t *to) {
    int64_t first = at * a->stride - a->low;
    *from = zk_max(first, 0), *to = zk_min(first + a->window, a->in);
}

/* The cells of the windows of output row `row`, counted over all planes. */
static void clip_row(const pooling *p, int64_t row, pool_cells *k) {
    clip(&p->d, row / p->v.out, &k->d0, &k->d1);
    clip(&p->v, row % p->v.out, &k->v0, &k->v1);
}

/* Rows of the input and of the output of one image. */
static int64_t rows_in(const pooling *p) { return p->d.in * p->v.in; }
static int64_t rows_out(const pooling *p) { return p->d.out * p->v.out; }

/* One plane: the loop over planes falls away. */
static int is_flat(const pooling *p) { return p->d.in == 1; }

/* n numbers from number `at` on; touches a whole vector where that stays before `end`. */
ZK_INLINE vf load_some(const stored *s, int64_t at, int n, int64_t end, const int how) {
    const int plain = !(how & BITS);
    return n == VL || at + VL <= end ? stored_load(s, at, VL, plain) : stored_load(s, at, n, plain);
}
ZK_INLINE void store_some(const stored *s, int64_t at, vf v, int n, int64_t end, const int how) {
    const int plain = !(how & BITS);
    if (n == VL || at + VL <= end) stored_save(s, at, v, VL, plain);
    else stored_save(s, at, v, n, plain);
}
ZK_INLINE vi first_lanes(int n) {
    static const int32_t number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return *(const vi *)number < vi_set(n);
}

/* --- forward */

static float cells_in(const pool_cells *k) {
    return (float)((k->d1 - k->d0) * (k->v1 - k->v0) * (k->h1 - k->h0));
}

/* Where the cells of an image lie, held in registers: rows of a plane, numbers of a row, the end of
 * the whole input. */
typedef struct {
    stored x;
    int64_t rows, pitch, channels, end;
} pool_source;

/* n channels (at most VL) of one window; x: the number of channel of cell (0, 0, 0). */
ZK_INLINE vf pool_cells_of(const pool_source *p, int64_t x, const pool_cells *k, int n,
                           const int how) {
    int64_t rows = how & DEEP ? p->rows : 0;
    vf s = how & AVERAGE ? (vf){0} : vf_set(-INFINITY);
    for (int64_t d = how & DEEP ? k->d0 : 0; d < (how & DEEP ? k->d1 : 1); d++)
        for (int64_t i = d * rows + k->v0; i < d * rows + k->v1; i++)
            for (int64_t j = k->h0; j < k->h1; j++) {
                vf a = load_some(&p->x, x + i * p->pitch + j * p->channels, n, p->end, how);
                if (how & AVERAGE) s += a;
                else s = vf_maximum(a, s);
            }
    if (how & AVERAGE) s = s / vf_set(cells_in(k));
    return s;
}

/* The same; reads whole vectors unless the last of them would leave the input. */
ZK_INLINE vf pool_window(const pool_source *p, int64_t x, const pool_cells *k, int n,
                         const int how) {
    int64_t row = (how & DEEP ? (k->d1 - 1) * p->rows : 0) + k->v1 - 1;
    int64_t last = x + row * p->pitch + (k->h1 - 1) * p->channels;
    if (n == VL || last + VL <= p->end) return pool_cells_of(p, x, k, VL, how);
    return pool_cells_of(p, x, k, n, how);
}

/* A row of output. A short last vector spills into the next pixel, which is written after it;
 * `stop` is where the task's output ends. */
ZK_INLINE void pool_row(const pooling *p, int64_t image, int64_t row, int64_t stop, const int how) {
    int64_t channels = p->channels, pitch = p->h.in * channels, size = rows_in(p) * pitch;
    int64_t x = image * size, y = (image * rows_out(p) + row) * p->h.out * channels;
    pool_source source = {p->x, p->v.in, pitch, channels, p->images * size};
    pool_cells k;
    clip_row(p, row, &k);
    for (int64_t col = 0; col < p->h.out; col++, y += channels) {
        clip(&p->h, col, &k.h0, &k.h1);
        for (int64_t c = 0; c < channels; c += VL) {
            int n = (int)zk_min(VL, channels - c);
            store_some(&p->to, y + c, pool_window(&source, x + c, &k, n, how), n, stop, how);
        }
    }
}

ZK_INLINE void pool_rows(const pooling *p, int64_t task, const int how) {
    int64_t rows = rows_out(p), at = task * p->rows, to = zk_min(at + p->rows, p->images * rows);
    int64_t stop = to * p->h.out * p->channels;
    for (; at < to; at++) pool_row(p, at / rows, at % rows, stop, how);
}

static void max_task(void *ctx, int64_t task, int thread) {
    const pooling *p = ctx;
    (void)thread;
    if (p->x.form && is_flat(p)) pool_rows(p, task, BITS);
    else if (p->x.form) pool_rows(p, task, DEEP | BITS);
    else if (is_flat(p)) pool_rows(p, task, 0);
    else pool_rows(p, task, DEEP);
}
static void average_task(void *ctx, int64_t task, int thread) {
    (void)thread;
    if (is_flat(ctx)) pool_rows(ctx, task, AVERAGE);
    else pool_rows(ctx, task, AVERAGE | DEEP);
}

/* --- gradients */

/* One image of a gradient, channels [from, to). */
typedef struct {
    const pooling *p;
    int64_t places, cells; /* the first of this image in g and y, and in x */
    int64_t end;           /* of g and y */
    float *dx;             /* of this image */
    int64_t from, to;
    int apart; /* no two windows share a cell */
    int spill; /* a vector may be stored beyond its last channel, into cells
                  written later */
} spreading;

/* Adds to one cell, from float `at` on, where its lanes take the gradient g: those that equal y, or
 * (average) all. Returns the lanes that are still to be found. n: floats to read and write. */
ZK_INLINE vi spread_cell(const spreading *s, int64_t at, vf g, vf y, vi lanes, int n,
                         const int how) {
    float *dx = s->dx + at;
    vi here = lanes;
    if (!(how & AVERAGE)) here &= stored_load(&s->p->x, s->cells + at, n, !(how & BITS)) == y;
    vf add = (vf)((vi)g & here);
    if (!s->apart) add += n == VL ? vf_load(dx) : vf_load_first(dx, n, (vf){0});
    if (n == VL) vf_store(dx, add);
    else vf_store_first(dx, add, n);
    if (!(how & AVERAGE)) lanes &= ~here;
    return lanes;
}

/* Adds the gradient g to the cells of one window that it goes to: the first that equals y, or
 * (average) all of them. From channel c on; `lanes` are the channels that exist. */
ZK_INLINE void spread_cells(const spreading *s, const pool_cells *k, int64_t c, vf g, vf y,
                            vi lanes, int n, const int how) {
    int64_t channels = s->p->channels, pitch = s->p->h.in * channels;
    int64_t rows = how & DEEP ? s->p->v.in : 0;
    for (int64_t d = how & DEEP ? k->d0 : 0; d < (how & DEEP ? k->d1 : 1); d++)
        for (int64_t i = d * rows + k->v0; i < d * rows + k->v1; i++)
            for (int64_t j = k->h0; j < k->h1; j++)
                lanes = spread_cell(s, i * pitch + j * channels + c, g, y, lanes, n, how);
}

/* The same for n channels: in whole vectors where what they touch beyond is written later, or keeps
 * its value. */
ZK_INLINE void spread_window(const spreading *s, const pool_cells *k, int64_t c, vf g, vf y, int n,
                             const int how) {
    int64_t channels = s->p->channels, pitch = s->p->h.in * channels;
    vi lanes = first_lanes(n);
    if (how & AVERAGE) g = g / vf_set(cells_in(k));
    if (s->spill && (k->h1 - 1) * channels + c + VL <= pitch) n = VL;
    if (n == VL) spread_cells(s, k, c, g, y, lanes, VL, how);
    else spread_cells(s, k, c, g, y, lanes, n, how);
}

/* All windows of one row of output. */
ZK_INLINE void spread_row(const spreading *s, int64_t row, pool_cells *k, const int how) {
    const pooling *p = s->p;
    for (int64_t col = 0; col < p->h.out; col++) {
        int64_t at = s->places + (row * p->h.out + col) * p->channels;
        clip(&p->h, col, &k->h0, &k->h1);
        for (int64_t c = s->from; c < s->to; c += VL) {
            int n = (int)zk_min(VL, s->to - c);
            vf g = load_some(&p->g, at + c, n, s->end, how), y = g;
            if (!(how & AVERAGE)) y = load_some(&p->y, at + c, n, s->end, how);
            spread_window(s, k, c, g, y, n, how);
        }
    }
}

/* Zeros the task's channels of rows [from, to) of dx. */
static void zero_rows(const spreading *s, int64_t from, int64_t to) {
    int64_t channels = s->p->channels, cols = s->p->h.in, some = s->to - s->from;
    if (some == channels) {
        if (from < to)
            memset(s->dx + from * cols * channels, 0, (size_t)((to - from) * cols * some) * 4);
        return;
    }
    for (int64_t i = from * cols; i < to * cols; i++)
        memset(s->dx + i * channels + s->from, 0, (size_t)some * 4);
}

ZK_INLINE void spread_task(const pooling *p, int64_t task, const int how) {
    int64_t image = task / p->blocks, from = task % p->blocks * BLOCK, channels = p->channels;
    int64_t cells = rows_in(p) * p->h.in * channels, places = rows_out(p) * p->h.out * channels;
    spreading s = {.p = p,
                   .places = image * places,
                   .cells = image * cells,
                   .end = p->images * places,
                   .dx = (float *)p->to.p + image * cells,
                   .from = from,
                   .to = channels};
    if (p->blocks > 1) s.to = zk_min(from + BLOCK, channels);
    s.apart = p->d.stride >= p->d.window && p->v.stride >= p->v.window;
    s.apart = s.apart && p->h.stride >= p->h.window;
    s.spill = p->blocks == 1 && (!s.apart || channels < VL);
    int64_t ready = 0; /* rows of dx that hold something */
    for (int64_t row = 0; row < rows_out(p); row++) {
        pool_cells k;
        clip_row(p, row, &k);
        int64_t reached = (k.d1 - 1) * p->v.in + k.v1;
        zero_rows(&s, ready, reached);
        ready = zk_max(ready, reached);
        spread_row(&s, row, &k, how);
    }
    zero_rows(&s, ready, rows_in(p));
}

static void max_grad_task(void *ctx, int64_t task, int thread) {
    const pooling *p = ctx;
    const int bits = p->g.form | p->x.form | p->y.form;
    (void)thread;
    if (bits && is_flat(p)) spread_task(p, task, BITS);
    else if (bits) spread_task(p, task, DEEP | BITS);
    else if (is_flat(p)) spread_task(p, task, 0);
    else spread_task(p, task, DEEP);
}
static void average_grad_task(void *ctx, int64_t task, int thread) {
    (void)thread;
    if (is_flat(ctx)) spread_task(ctx, task, AVERAGE);
    else spread_task(ctx, task, AVERAGE | DEEP);
}

/* --- the kernels. attr: window, strides and low padding of 3 axes. Shapes are those of two
 * spatial axes; with one or three, dims h or d h w stand in their place. */

static int64_t cells_of(const zk_arg *a, int axis) {
    int at = a->ndim - 4 + axis;
    return at >= 1 ? a->dims[at] : 1;
}

static pool_axis axis_of(const zk_call *c, int i, const zk_arg *in, const zk_arg *out) {
    return (pool_axis){cells_of(in, i), cells_of(out, i), (int64_t)c->attr[ZK_POOL_WINDOW + i],
                       (int64_t)c->attr[ZK_POOL_STRIDES + i],
                       (int64_t)c->attr[ZK_POOL_PADDING + i]};
}

static pooling pooling_of(const zk_call *c, const zk_arg *in, const zk_arg *out) {
    pooling p = {.d = axis_of(c, 0, in, out),
                 .v = axis_of(c, 1, in, out),
                 .h = axis_of(c, 2, in, out),
                 .images = in->dims[0],
                 .channels = in->dims[in->ndim - 1],
                 .to = stored_of(c->a, c->p[0], 0),
                 .blocks = 1};
    int64_t row = p.h.out * p.channels * p.d.window * p.v.window * p.h.window;
    p.rows = zk_ceil(TASK_FLOATS, zk_max(row, 1));
    if (p.images < FEW_IMAGES) p.blocks = zk_max(zk_ceil(p.channels, BLOCK), 1);
    return p;
}

static void pool_forward(const zk_call *c, zk_task task) {
    pooling p = pooling_of(c, c->a + 1, c->a);
    p.x = stored_of(c->a + 1, c->p[1], 0);
    zk_parallel(c, zk_ceil(p.images * rows_out(&p), p.rows), task, &p);
}

/* max_pool.  out y(n, oh, ow, c)  in x(n, h, w, c), both float32 or bits */
static void max_pool(const zk_call *c) { pool_forward(c, max_task); }

/* avg_pool.  out y(n, oh, ow, c)  in x(n, h, w, c) */
static void avg_pool(const zk_call *c) { pool_forward(c, average_task); }

/* The largest byte of n channels of one window. */
static void pool_bytes(const pooling *p, const int8_t *x, const pool_cells *k, int8_t *restrict y) {
    const int64_t n = p->channels;
    memset(y, -128, (size_t)n);
    for (int64_t d = k->d0; d < k->d1; d++)
        for (int64_t v = k->v0; v < k->v1; v++)
            for (int64_t h = k->h0; h < k->h1; h++) {
                const int8_t *restrict a = x + ((d * p->v.in + v) * p->h.in + h) * n;
                for (int64_t i = 0; i < n; i++) y[i] = a[i] > y[i] ? a[i] : y[i];
            }
}

static void bytes_task(void *ctx, int64_t task, int thread) {
    const pooling *p = ctx;
    const int64_t rows = rows_out(p), size = rows_in(p) * p->h.in * p->channels;
    (void)thread;
    for (int64_t at = task * p->rows; at < zk_min((task + 1) * p->rows, p->images * rows); at++) {
        pool_cells k;
        int8_t *y = (int8_t *)p->to.p + at * p->h.out * p->channels;
        clip_row(p, at % rows, &k);
        for (int64_t col = 0; col < p->h.out; col++, y += p->channels) {
            clip(&p->h, col, &k.h0, &k.h1);
            pool_bytes(p, (const int8_t *)p->x.p + at / rows * size, &k, y);
        }
    }
}

/* max_pool_int8.  out y(n, oh, ow, c) int8  in x(n, h, w, c) int8 */
static void max_pool_int8(const zk_call *c) { pool_forward(c, bytes_task); }

/* max_pool_grad. out dx(n, h, w, c) in g(n, oh, ow, c) x(n, h, w, c) y(n, oh, ow, c); each input
 * float32 or bits */
static void max_pool_grad(const zk_call *c) {
    pooling p = pooling_of(c, c->a, c->a + 1);
    p.g = stored_of(c->a + 1, c->p[1], 0);
    p.x = stored_of(c->a + 2, c->p[2], 0), p.y = stored_of(c->a + 3, c->p[3], 0);
    zk_parallel(c, p.images * p.blocks, max_grad_task, &p);
}

/* avg_pool_grad.  out dx(n, h, w, c)  in g(n, oh, ow, c) */
static void avg_pool_grad(const zk_call *c) {
    pooling p = pooling_of(c, c->a, c->a + 1);
    p.g = stored_of(c->a + 1, c->p[1], 0);
    zk_parallel(c, p.images * p.blocks, average_grad_task, &p);
}

const zk_kernel ZK_TABLE(pool)[] = {
    {"max_pool", max_pool, NULL},           {"max_pool_grad", max_pool_grad, NULL},
    {"max_pool_int8", max_pool_int8, NULL}, {"avg_pool", avg_pool, NULL},
    {"avg_pool_grad", avg_pool_grad, NULL}, {0}};
