/* Softmax, log-softmax and the cross-entropies computed from logits, with their gradients. An array
 * is seen as (outer, length, inner) around the axis. With inner 1 a row is contiguous and vectors
 * run along it; otherwise vectors run across VL columns. Gradients of the cross-entropies compute
 * the softmax again from the logits. */
#include "vmath.h"

enum { SHARE = 16384 }; /* elements of a task, at least */

/* ---- passes over a block of contiguous rows ----
 * A block goes through one pass after another, and short rows through each pass side by side: rows
 * of 10 that wait for their own sums and logarithms take 1.6 times as long. What a row gives
 * depends on its length alone, not on the rows around it. */

enum {
    SIDE = 4,   /* short rows side by side, or accumulators of a long row */
    LONG = 512, /* a row of more elements is long */
    BLOCK = 64, /* rows of a block, at most */
    HELD = 2048 /* elements of a block, unless one row has more: it stays in the L1 cache */
};

typedef struct {
    const float *a, *b; /* (rows, n) */
    float *y;           /* (rows, n) */
    const float *soon;  /* (rows, n) that a later pass wants, or NULL */
    int64_t rows, n;
    float u[BLOCK], v[BLOCK]; /* a row's own numbers */
} block;

enum { LAST = -1 }; /* the place of a row's last vector */

/* The vector at element i of a row. The last one ends with the row and lies over the one before,
 * since masked stores are slow; `rest` fills up a row shorter than a vector. */
ZK_INLINE vf at(const float *x, int64_t i, int64_t n, float rest) {
    if (i != LAST) return vf_load(x + i);
    return n < VL ? vf_load_first(x, n, vf_set(rest)) : vf_load(x + n - VL);
}
ZK_INLINE void put_last(float *y, vf v, int64_t n) {
    if (n < VL) vf_store_first(y, v, n);
    else vf_store(y + n - VL, v);
}

/* The lanes of a row's last vector that no other vector holds; zero elsewhere. */
ZK_INLINE vf fresh(vf v, int64_t n) {
    vi lane;
    for (int i = 0; i < VL; i++) lane[i] = i;
    vi mask = n < VL ? lane < (int32_t)n : lane >= (int32_t)(VL - 1 - (n - 1) % VL);
    return (vf)((vi)v & mask);
}

/* Runs the statement for the last vector of every row p. */
#define LAST_VECTORS(...)              \
    for (int p = 0; p < side; p++) {   \
        const int64_t r = p, i = LAST; \
        (void)r, (void)i;              \
        __VA_ARGS__;                   \
    }

/* Runs it for all other vectors: row r, element i, accumulator p. */
#define VECTORS(...)                                     \
    do {                                                 \
        int64_t j = 0;                                   \
        if (wide)                                        \
            for (; j + SIDE * VL < n; j += SIDE * VL)    \
                for (int p = 0; p < SIDE; p++) {         \
                    const int64_t r = 0, i = j + p * VL; \
                    __VA_ARGS__;                         \
                }                                        \
        for (; j + VL < n; j += VL)                      \
            for (int p = 0; p < side; p++) {             \
                const int64_t r = p, i = j;              \
                __VA_ARGS__;                             \
            }                                            \
    } while (0)

/* name(k) for a whole block, from name_side for rows side by side, the first of them `row`, or for
 * one row whose vectors are side by side (wide). */
#define PASS(name)                                                               \
    static void name(block *k) {                                                 \
        int64_t row = 0;                                                         \
        if (k->n > LONG)                                                         \
            for (; row < k->rows; row++) name##_side(k, row, 1, 1);              \
        for (; row + SIDE <= k->rows; row += SIDE) name##_side(k, row, SIDE, 0); \
        for (; row < k->rows; row++) name##_side(k, row, 1, 0);                  \
    }
#define SIDE_BY_SIDE(name) ZK_INLINE void name##_side(block *k, int64_t row, int side, int wide)

/* In expressions: the elements of a and b, and the row's numbers. */
#define OPEN                                              \
    const int64_t n = k->n;                               \
    const float *a = k->a + row * n, *b = k->b + row * n; \
    vf u[SIDE], v[SIDE];                                  \
    (void)a, (void)b, (void)u, (void)v;                   \
    for (int p = 0; p < side; p++) u[p] = vf_set(k->u[row + p]), v[p] = vf_set(k->v[row + p])
#define A at(a + r * n, i, n, 0)
#define B at(b + r * n, i, n, 0)
#define U u[r]
#define V v[r]

/* to[row] = the sum of an expression over the row's vectors. */
#define SUM(name, to, ...)                                                 \
    SIDE_BY_SIDE(name) {                                                   \
        OPEN;                                                              \
        vf part[SIDE] = {{0}};                                             \
        LAST_VECTORS(part[p] = fresh(__VA_ARGS__, n))                      \
        VECTORS(part[p] += __VA_ARGS__);                                   \
        if (wide) part[0] = (part[0] + part[1]) + (part[2] + part[3]);     \
        for (int p = 0; p < side; p++) to[row + p] = vf_total(part[p])[0]; \
    }                                                                      \
    PASS(name)

/* y = an expression, vector by vector; y may be a or b. */
#define WRITE(name, ...)                               \
    SIDE_BY_SIDE(name) {                               \
        OPEN;                                          \
        float *y = k->y + row * n;                     \
        vf last[SIDE];                                 \
        LAST_VECTORS(last[p] = __VA_ARGS__)            \
        VECTORS(vf_store(y + r * n + i, __VA_ARGS__)); \
        LAST_VECTORS(put_last(y + p * n, last[p], n))  \
    }                                                  \
    PASS(name)

/* u = the largest element of a; a NaN may be missed, the exponentials find it. */
SIDE_BY_SIDE(tops) {
    const int64_t n = k->n;
    const float *a = k->a + row * n;
    vf top[SIDE];
    for (int p = 0; p < SIDE; p++) top[p] = vf_set(-INFINITY);
    LAST_VECTORS(top[p] = at(a + r * n, i, n, -INFINITY))
    VECTORS(top[p] = vf_at_least(vf_load(a + r * n + i), top[p]));
    if (wide) top[0] = vf_at_least(vf_at_least(top[0], top[1]), vf_at_least(top[2], top[3]));
    for (int p = 0; p < side; p++) k->u[row + p] = vf_top(top[p])[0];
}
PASS(tops)

/* v = sum(exp(a - u)); the exponentials go to y where `keep`. While they are computed memory
 * fetches the next row and `soon`: 1.3 times faster on rows of 20000. */
ZK_INLINE void exponentials(block *k, int64_t row, int side, int wide, int keep) {
    const int64_t n = k->n, apart = wide ? VL : n, step = wide ? SIDE * VL : VL;
    const int count = wide ? SIDE : side;
    const float *a = k->a + row * n, *soon = k->soon ? k->soon + row * n : a;
    float *y = k->y + row * n;
    vf top[SIDE], e[SIDE], last[SIDE], part[SIDE] = {{0}};
    for (int p = 0; p < side; p++) top[p] = vf_set(k->u[row + p]);
    LAST_VECTORS(last[p] = at(a + r * n, i, n, -INFINITY) - top[p])
    vf_exp_flush_all(last, side);
    for (int p = 0; p < side; p++) part[p] = fresh(last[p], n);
    int64_t i = 0;
    for (; i + step < n; i += step) {
        for (int p = 0; wide && p < step; p += 16) {
            __builtin_prefetch(a + i + p + k->rows * n);
            __builtin_prefetch(soon + i + p);
        }
        for (int p = 0; p < count; p++) e[p] = vf_load(a + i + p * apart) - top[wide ? 0 : p];
        vf_exp_flush_all(e, count);
        for (int p = 0; p < count; p++) part[p] += e[p];
        for (int p = 0; keep && p < count; p++) vf_store(y + i + p * apart, e[p]);
    }
    for (; i + VL < n; i += VL) {
        e[0] = vf_exp_flush(vf_load(a + i) - top[0]);
        part[0] += e[0];
        if (keep) vf_store(y + i, e[0]);
    }
    if (wide) part[0] = (part[0] + part[1]) + (part[2] + part[3]);
    for (int p = 0; keep && p < side; p++) put_last(y + p * n, last[p], n);
    for (int p = 0; p < side; p++) k->v[row + p] = vf_total(part[p])[0];
}
SIDE_BY_SIDE(write_exponentials) { exponentials(k, row, side, wide, 1); }
SIDE_BY_SIDE(sum_exponentials) { exponentials(k, row, side, wide, 0); }
PASS(write_exponentials)
PASS(sum_exponentials)

SUM(add_up, k->u, A)
SUM(dot, k->u, A *B)
SUM(cross, k->u, B *((A - U) - V))
WRITE(scale, A *V)
WRITE(write_log_softmax, (A - U) - V)
WRITE(write_softmax_grad, B *(A - U))
WRITE(write_log_softmax_grad, vf_fused(-vf_exp_flush(B), U, A))
WRITE(write_dense_grad, vf_fused(A, U, -B) * V)

/* v = 1 / v or log(v) */
static void invert(block *k) {
    for (int64_t r = 0; r < k->rows; r += VL) vf_store(k->v + r, 1.f / vf_load(k->v + r));
}
static void logarithms(block *k) {
    for (int64_t r = 0; r < k->rows; r += VL) vf_store(k->v + r, vf_log(vf_load(k->v + r)));
}

/* ---- kernels' work on a block ---- */

/* y = exp(a - max), v = 1 / sum(y) */
static void exponentials_of(block *k) {
    tops(k);
    write_exponentials(k);
    invert(k);
}

static void softmax_block(block *k) {
    exponentials_of(k);
    k->a = k->y;
    scale(k);
}

/* u = max, v = log(sum(exp(a - max))) as two numbers, so that a - u - v keeps its accuracy. */
static void log_of_sum(block *k) {
    tops(k);
    sum_exponentials(k);
    logarithms(k);
}

static void log_softmax_block(block *k) {
    k->soon = k->y;
    log_of_sum(k);
    write_log_softmax(k);
}

static void softmax_grad_block(block *k) {
    dot(k);
    write_softmax_grad(k);
}

static void log_softmax_grad_block(block *k) {
    add_up(k);
    write_log_softmax_grad(k);
}

/* The losses: k holds rows of the logits as a and of the target as b, the first of them `row`. */
typedef struct {
    const zk_call *c;
    const float *g, *target, *x; /* g NULL: the loss is wanted, not its gradient */
    const int32_t *labels;       /* NULL: target counts */
    float *y;
    int64_t rows, classes, group;
} loss;

static void dense_loss(const loss *h, int64_t row, block *k) {
    float *y = h->y + row;
    k->soon = k->b;
    log_of_sum(k);
    cross(k);
    for (int64_t r = 0; r < k->rows; r++) y[r] = -k->u[r];
}

static void sparse_loss(const loss *h, int64_t row, block *k) {
    const int32_t *label = h->labels + row;
    log_of_sum(k);
    for (int64_t r = 0; r < k->rows; r++)
        h->y[row + r] = k->v[r] - (k->a[r * k->n + label[r]] - k->u[r]);
}

/* dx = g * (softmax(x) * sum(target) - target) */
static void dense_grad(const loss *h, int64_t row, block *k) {
    k->soon = k->b + k->rows * k->n;
    exponentials_of(k);
    k->a = k->b;
    add_up(k);
    for (int64_t r = 0; r < k->rows; r++) k->u[r] *= k->v[r], k->v[r] = h->g[row + r];
    k->a = k->y;
    write_dense_grad(k);
}

/* dx = g * (softmax(x) - one_hot(label)) */
static void sparse_grad(const loss *h, int64_t row, block *k) {
    const float *g = h->g + row;
    exponentials_of(k);
    for (int64_t r = 0; r < k->rows; r++) k->v[r] *= g[r];
    k->a = k->y;
    scale(k);
    for (int64_t r = 0; r < k->rows; r++) k->y[r * k->n + h->labels[row + r]] -= g[r];
}

/* Rows of n elements that make a block. */
static int64_t block_rows(int64_t n) { return zk_max(1, zk_min(BLOCK, HELD / n)); }

/* ---- columns side by side of an array (length, inner): a, b, y at the first row ---- */

typedef struct {
    int64_t length, inner, w; /* w columns: less than VL, VL or SIDE * VL */
} columns;

ZK_INLINE vf get(const float *x, columns s, int64_t r, int c) {
    x += r * s.inner + c * VL;
    return s.w < VL ? vf_load_first(x, s.w, vf_set(0)) : vf_load(x);
}
ZK_INLINE void put(float *y, columns s, int64_t r, int c, vf v) {
    y += r * s.inner + c * VL;
    if (s.w < VL) vf_store_first(y, v, s.w);
    else vf_store(y, v);
}

/* Runs the statement for every row r and each of its vectors c. */
#define CELLS(...)                         \
    for (int64_t r = 0; r < s.length; r++) \
        for (int c = 0; c < side; c++) { __VA_ARGS__; }

/* name(a, b, s, y) from name_side, which also knows the number of vectors. */
#define COLUMNS_OF(name) \
    ZK_INLINE void name##_side(const float *a, const float *b, columns s, float *y, int side)
#define COLUMNS(name)                                                       \
    static void name(const float *a, const float *b, columns s, float *y) { \
        if (s.w > VL) name##_side(a, b, s, y, SIDE);                        \
        else name##_side(a, b, s, y, 1);                                    \
    }

/* The columns' maxima, and the sums of exp(x - max); y, unless NULL, receives these. */
ZK_INLINE void column_exponentials(const float *x, columns s, float *y, vf *max, vf *sum,
                                   int side) {
    vf e[SIDE];
    for (int c = 0; c < side; c++) max[c] = vf_set(-INFINITY), sum[c] = vf_set(0);
    CELLS(max[c] = vf_at_least(get(x, s, r, c), max[c]))
    for (int64_t r = 0; r < s.length; r++) {
        for (int c = 0; c < side; c++) e[c] = get(x, s, r, c) - max[c];
        vf_exp_flush_all(e, side);
        for (int c = 0; c < side; c++) {
            if (y) put(y, s, r, c, e[c]);
            sum[c] += e[c];
        }
    }
}

COLUMNS_OF(softmax_columns) {
    vf max[SIDE], sum[SIDE];
    (void)b;
    column_exponentials(a, s, y, max, sum, side);
    for (int c = 0; c < side; c++) sum[c] = 1.f / sum[c];
    CELLS(put(y, s, r, c, get(y, s, r, c) * sum[c]))
}

COLUMNS_OF(log_softmax_columns) {
    vf max[SIDE], sum[SIDE];
    (void)b;
    column_exponentials(a, s, NULL, max, sum, side);
    for (int c = 0; c < side; c++) sum[c] = vf_log(sum[c]);
    CELLS(put(y, s, r, c, (get(a, s, r, c) - max[c]) - sum[c]))
}

COLUMNS_OF(softmax_grad_columns) {
    vf sum[SIDE] = {{0}};
    CELLS(sum[c] += get(a, s, r, c) * get(b, s, r, c))
    CELLS(put(y, s, r, c, get(b, s, r, c) * (get(a, s, r, c) - sum[c])))
}

COLUMNS_OF(log_softmax_grad_columns) {
    vf sum[SIDE] = {{0}};
    CELLS(sum[c] += get(a, s, r, c))
    CELLS(put(y, s, r, c, get(a, s, r, c) - vf_exp_flush(get(b, s, r, c)) * sum[c]))
}

COLUMNS(softmax_columns)
COLUMNS(log_softmax_columns)
COLUMNS(softmax_grad_columns)
COLUMNS(log_softmax_grad_columns)

/* ---- kernels along an axis ---- */

enum { SOFTMAX, LOG_SOFTMAX, SOFTMAX_GRAD, LOG_SOFTMAX_GRAD };

static const struct {
    void (*rows)(block *k);
    void (*columns)(const float *a, const float *b, columns s, float *y);
} along[] = {
    [SOFTMAX] = {softmax_block, softmax_columns},
    [LOG_SOFTMAX] = {log_softmax_block, log_softmax_columns},
    [SOFTMAX_GRAD] = {softmax_grad_block, softmax_grad_columns},
    [LOG_SOFTMAX_GRAD] = {log_softmax_grad_block, log_softmax_grad_columns},
};

typedef struct {
    int what;
    const float *a, *b; /* inputs */
    float *y;
    int64_t outer, length, inner, group;
} job;

static void all_rows(const job *h, int64_t row, int64_t end) {
    const int64_t n = h->length, step = block_rows(n);
    block k = {.n = n};
    for (; row < end; row += step) {
        k.a = h->a + row * n, k.b = h->b + row * n, k.y = h->y + row * n;
        k.rows = zk_min(step, end - row);
        along[h->what].rows(&k);
    }
}

static void all_columns(const job *h, int64_t at) {
    for (int64_t j = at, end = at + h->inner, w; j < end; j += w) {
        w = end - j < SIDE * VL ? zk_min(end - j, VL) : SIDE * VL;
        columns s = {h->length, h->inner, w};
        along[h->what].columns(h->a + j, h->b + j, s, h->y + j);
    }
}

static void along_task(void *ctx, int64_t task, int thread) {
    const job *h = ctx;
    int64_t o = task * h->group, end = zk_min(o + h->group, h->outer);
    (void)thread;
    if (h->inner == 1) all_rows(h, o, end);
    else
        for (; o < end; o++) all_columns(h, o * h->length * h->inner);
}

/* Attributes: outer, length, inner. A kernel with one input reads it twice. */
static void along_axis(const zk_call *c, int what) {
    job h = {what,
             c->p[1],
             c->p[c->nin],
             c->p[0],
             (int64_t)c->attr[0],
             (int64_t)c->attr[1],
             (int64_t)c->attr[2],
             1};
    if (!zk_count(c->a)) return;
    h.group = zk_max(1, SHARE / (h.length * h.inner));
    zk_parallel(c, zk_ceil(h.outer, h.group), along_task, &h);
}

/* softmax, log_softmax: out y  in x, all (outer, length, inner). */
static void softmax(const zk_call *c) { along_axis(c, SOFTMAX); }
static void log_softmax(const zk_call *c) { along_axis(c, LOG_SOFTMAX); }
/* softmax_grad, log_softmax_grad: out dx  in g, y, all (outer, length, inner). */
static void softmax_grad(const zk_call *c) { along_axis(c, SOFTMAX_GRAD); }
static void log_softmax_grad(const zk_call *c) { along_axis(c, LOG_SOFTMAX_GRAD); }

/* ---- cross-entropies: rows of logits x(rows, classes) ---- */

static int is_class(const loss *h, int64_t r) {
    if (h->labels[r] >= 0 && h->labels[r] < h->classes) return 1;
    zk_fail(h->c, "a label is negative, or not below the number of classes (the last axis of the "
                  "logits). Check the labels, or give the last layer more units.");
    return 0;
}

static void loss_task(void *ctx, int64_t task, int thread) {
    const loss *h = ctx;
    const int64_t n = h->classes, step = n ? block_rows(n) : BLOCK;
    int64_t row = task * h->group, end = zk_min(row + h->group, h->rows);
    block k = {.n = n};
    (void)thread;
    for (int64_t r = row; h->labels && r < end; r++)
        if (!is_class(h, r)) return;
    for (; row < end; row += step) {
        k.rows = zk_min(step, end - row);
        k.a = h->x + row * n, k.b = h->target + row * n, k.y = h->y + row * n;
        if (h->g) (h->labels ? sparse_grad : dense_grad)(h, row, &k);
        else (h->labels ? sparse_loss : dense_loss)(h, row, &k);
    }
}

static void run_loss(loss h, const zk_arg *logits) {
    h.classes = logits->dims[logits->ndim - 1];
    h.rows = zk_span(logits, 0, logits->ndim - 1);
    h.group = zk_max(1, SHARE / zk_max(h.classes, 1));
    zk_parallel(h.c, zk_ceil(h.rows, h.group), loss_task, &h);
}

/* softmax_cross_entropy: out y(rows)  in target(rows, classes) x(rows, classes) */
static void softmax_cross_entropy(const zk_call *c) {
    run_loss((loss){.c = c, .y = c->p[0], .target = c->p[1], .x = c->p[2]}, c->a + 2);
}
/* softmax_cross_entropy_grad: out dx(rows, classes)  in g(rows) target, x(rows, classes) */
static void softmax_cross_entropy_grad(const zk_call *c) {
    loss h = {.c = c, .y = c->p[0], .g = c->p[1], .target = c->p[2], .x = c->p[3]};
    run_loss(h, c->a + 3);
}
/* sparse_softmax_cross_entropy: out y(rows)  in labels(rows) int32, x(rows, classes) */
static void sparse_softmax_cross_entropy(const zk_call *c) {
    run_loss((loss){.c = c, .y = c->p[0], .labels = c->p[1], .target = c->p[2], .x = c->p[2]},
             c->a + 2);
}
/* sparse_softmax_cross_entropy_grad: out dx(rows, classes)  in g(rows) labels(rows) x */
static void sparse_softmax_cross_entropy_grad(const zk_call *c) {
    loss h = {
        .c = c, .y = c->p[0], .g = c->p[1], .labels = c->p[2], .target = c->p[3], .x = c->p[3]};
    run_loss(h, c->a + 3);
}

const zk_kernel ZK_TABLE(softmax)[] = {
    {"softmax", softmax, NULL},
    {"softmax_grad", softmax_grad, NULL},
    {"log_softmax", log_softmax, NULL},
    {"log_softmax_grad", log_softmax_grad, NULL},
    {"softmax_cross_entropy", softmax_cross_entropy, NULL},
    {"softmax_cross_entropy_grad", softmax_cross_entropy_grad, NULL},
    {"sparse_softmax_cross_entropy", sparse_softmax_cross_entropy, NULL},
    {"sparse_softmax_cross_entropy_grad", sparse_softmax_cross_entropy_grad, NULL},
    {0},
};
