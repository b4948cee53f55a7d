/* Softmax, log-softmax and the cross-entropies computed from logits, with their gradients. An array
 * is seen as (outer, length, inner) around the axis. With inner 1 a row is contiguous and vectors
 * run along it; otherwise vectors run across VL columns. Gradients of the cross-entropies compute
 * the softmax again from the logits. */
#include "vmath.h"

enum { SHARE = 16384 }; /* elements of a task at least */

/* The first n lanes, at most all; on load the others are `rest`. */
ZK_INLINE vf load_some(const float *x, int64_t n, float rest) {
    return n >= VL ? vf_load(x) : vf_load_first(x, n, vf_set(rest));
}
ZK_INLINE void store_some(float *y, vf v, int64_t n) {
    if (n >= VL) vf_store(y, v);
    else vf_store_first(y, v, n);
}

/* ---- one contiguous row of n elements ---- */

/* The largest element; a NaN may be missed, the exponentials find it. */
static float largest(const float *x, int64_t n) {
    vf m[4];
    int64_t i = 0;
    for (int k = 0; k < 4; k++) m[k] = vf_set(-__builtin_inff());
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int k = 0; k < 4; k++) m[k] = vf_at_least(vf_load(x + i + k * VL), m[k]);
    for (; i < n; i += VL) m[0] = vf_at_least(load_some(x + i, n - i, -__builtin_inff()), m[0]);
    return vf_top(vf_at_least(vf_at_least(m[0], m[1]), vf_at_least(m[2], m[3])))[0];
}

/* Sum of exp(x - max); y, unless NULL, receives the exponentials. */
ZK_INLINE float exponentials(const float *x, float max, int64_t n, float *y) {
    vf sum[2] = {vf_set(0), vf_set(0)};
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL)
        for (int k = 0; k < 2; k++) {
            vf e = vf_exp_flush(vf_load(x + i + k * VL) - max);
            if (y) vf_store(y + i + k * VL, e);
            sum[k] += e;
        }
    for (; i < n; i += VL) {
        vf e = vf_exp_flush(load_some(x + i, n - i, -__builtin_inff()) - max);
        if (y) store_some(y + i, e, n - i);
        sum[0] += e;
    }
    return vf_total(sum[0] + sum[1])[0];
}

static void softmax_row(const float *x, int64_t n, float *y) {
    float scale = 1 / exponentials(x, largest(x, n), n, y);
    for (int64_t i = 0; i < n; i += VL)
        store_some(y + i, load_some(y + i, n - i, 0) * scale, n - i);
}

/* max + log(sum(exp(x - max))) as two numbers, so that x - max - log keeps its accuracy. */
static float log_of_sum(const float *x, int64_t n, float *max) {
    *max = largest(x, n);
    return vf_log(vf_set(exponentials(x, *max, n, NULL)))[0];
}

static void log_softmax_row(const float *x, int64_t n, float *y) {
    float max, log = log_of_sum(x, n, &max);
    for (int64_t i = 0; i < n; i += VL)
        store_some(y + i, (load_some(x + i, n - i, 0) - max) - log, n - i);
}

/* Sum of a row, or of the product of two rows. */
static float dot(const float *a, const float *b, int64_t n) {
    vf sum[2] = {vf_set(0), vf_set(0)};
    for (int64_t i = 0, k = 0; i < n; i += VL, k ^= 1) {
        vf v = load_some(a + i, n - i, 0);
        if (b) v *= load_some(b + i, n - i, 0);
        sum[k] += v;
    }
    return vf_total(sum[0] + sum[1])[0];
}

static void softmax_grad_row(const float *g, const float *y, int64_t n, float *dx) {
    float sum = dot(g, y, n);
    for (int64_t i = 0; i < n; i += VL) {
        vf v = load_some(y + i, n - i, 0) * (load_some(g + i, n - i, 0) - sum);
        store_some(dx + i, v, n - i);
    }
}

static void log_softmax_grad_row(const float *g, const float *y, int64_t n, float *dx) {
    float sum = dot(g, NULL, n);
    for (int64_t i = 0; i < n; i += VL) {
        vf v = load_some(g + i, n - i, 0) - vf_exp_flush(load_some(y + i, n - i, 0)) * sum;
        store_some(dx + i, v, n - i);
    }
}

/* ---- up to VL columns of an array (length, inner): x, y at the first row, w columns ---- */

typedef struct {
    int64_t length, inner, w;
} columns;

ZK_INLINE vf get(const float *x, columns s, int64_t r) {
    return load_some(x + r * s.inner, s.w, 0);
}
ZK_INLINE void put(float *y, columns s, int64_t r, vf v) { store_some(y + r * s.inner, v, s.w); }

/* The column's maximum, and the sum of exp(x - max); y, unless NULL, receives these. */
ZK_INLINE vf column_exponentials(const float *x, columns s, vf *max, float *y) {
    vf m = vf_set(-__builtin_inff()), sum = vf_set(0);
    for (int64_t r = 0; r < s.length; r++) m = vf_at_least(get(x, s, r), m);
    for (int64_t r = 0; r < s.length; r++) {
        vf e = vf_exp_flush(get(x, s, r) - m);
        if (y) put(y, s, r, e);
        sum += e;
    }
    *max = m;
    return sum;
}

static void softmax_columns(const float *x, const float *unused, columns s, float *y) {
    vf max, scale = 1.f / column_exponentials(x, s, &max, y);
    (void)unused;
    for (int64_t r = 0; r < s.length; r++) put(y, s, r, get(y, s, r) * scale);
}

static void log_softmax_columns(const float *x, const float *unused, columns s, float *y) {
    vf max, log = vf_log(column_exponentials(x, s, &max, NULL));
    (void)unused;
    for (int64_t r = 0; r < s.length; r++) put(y, s, r, (get(x, s, r) - max) - log);
}

static void softmax_grad_columns(const float *g, const float *y, columns s, float *dx) {
    vf sum = vf_set(0);
    for (int64_t r = 0; r < s.length; r++) sum += get(g, s, r) * get(y, s, r);
    for (int64_t r = 0; r < s.length; r++) put(dx, s, r, get(y, s, r) * (get(g, s, r) - sum));
}

static void log_softmax_grad_columns(const float *g, const float *y, columns s, float *dx) {
    vf sum = vf_set(0);
    for (int64_t r = 0; r < s.length; r++) sum += get(g, s, r);
    for (int64_t r = 0; r < s.length; r++)
        put(dx, s, r, get(g, s, r) - vf_exp_flush(get(y, s, r)) * sum);
}

/* ---- kernels along an axis ---- */

enum { SOFTMAX, LOG_SOFTMAX, SOFTMAX_GRAD, LOG_SOFTMAX_GRAD };

typedef struct {
    int what;
    const float *a, *b; /* inputs */
    float *y;
    int64_t outer, length, inner, group;
} job;

static void one_row(const job *h, int64_t at) {
    const float *a = h->a + at, *b = h->b + at;
    switch (h->what) {
    case SOFTMAX:
        softmax_row(a, h->length, h->y + at);
        break;
    case LOG_SOFTMAX:
        log_softmax_row(a, h->length, h->y + at);
        break;
    case SOFTMAX_GRAD:
        softmax_grad_row(a, b, h->length, h->y + at);
        break;
    default:
        log_softmax_grad_row(a, b, h->length, h->y + at);
    }
}

static void all_columns(const job *h, int64_t at) {
    static void (*const functions[])(const float *, const float *, columns, float *) = {
        softmax_columns, log_softmax_columns, softmax_grad_columns, log_softmax_grad_columns};
    for (int64_t j = 0; j < h->inner; j += VL) {
        columns s = {h->length, h->inner, h->inner - j};
        functions[h->what](h->a + at + j, h->b + at + j, s, h->y + at + j);
    }
}

static void along_task(void *ctx, int64_t task, int thread) {
    const job *h = ctx;
    int64_t end = zk_min((task + 1) * h->group, h->outer);
    (void)thread;
    for (int64_t o = task * h->group; o < end; o++) {
        int64_t at = o * h->length * h->inner;
        if (h->inner == 1) one_row(h, at);
        else all_columns(h, at);
    }
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

typedef struct {
    const zk_call *c;
    const float *g, *target, *x; /* g NULL: the loss is wanted, not its gradient */
    const int32_t *labels;       /* or target, the other is NULL */
    float *y;
    int64_t rows, classes, group;
} loss;

static float dense_loss(const loss *h, int64_t r) {
    const float *x = h->x + r * h->classes, *t = h->target + r * h->classes;
    float max, log = log_of_sum(x, h->classes, &max);
    vf sum = vf_set(0);
    for (int64_t i = 0; i < h->classes; i += VL) {
        vf p = (load_some(x + i, h->classes - i, 0) - max) - log;
        sum += load_some(t + i, h->classes - i, 0) * p;
    }
    return -vf_total(sum)[0];
}

/* dx = g * (softmax(x) * sum(target) - target) */
static void dense_grad(const loss *h, int64_t r) {
    int64_t n = h->classes;
    const float *x = h->x + r * n, *t = h->target + r * n;
    float *dx = h->y + r * n, g = h->g[r];
    float scale = dot(t, NULL, n) / exponentials(x, largest(x, n), n, dx);
    for (int64_t i = 0; i < n; i += VL) {
        vf p = load_some(dx + i, n - i, 0) * scale;
        store_some(dx + i, (p - load_some(t + i, n - i, 0)) * g, n - i);
    }
}

static float sparse_loss(const loss *h, int64_t r) {
    const float *x = h->x + r * h->classes;
    float max, log = log_of_sum(x, h->classes, &max);
    return log - (x[h->labels[r]] - max);
}

/* dx = g * (softmax(x) - one_hot(label)) */
static void sparse_grad(const loss *h, int64_t r) {
    float *dx = h->y + r * h->classes, g = h->g[r];
    const float *x = h->x + r * h->classes;
    softmax_row(x, h->classes, dx);
    dx[h->labels[r]] -= 1;
    for (int64_t i = 0; i < h->classes; i += VL) {
        int64_t n = h->classes - i;
        store_some(dx + i, load_some(dx + i, n, 0) * g, n);
    }
}

static int is_class(const loss *h, int64_t r) {
    if (h->labels[r] >= 0 && h->labels[r] < h->classes) return 1;
    zk_fail(h->c, "a label is negative, or not below the number of classes (the last axis of the "
                  "logits). Check the labels, or give the last layer more units.");
    return 0;
}

static void loss_task(void *ctx, int64_t task, int thread) {
    const loss *h = ctx;
    int64_t end = zk_min((task + 1) * h->group, h->rows);
    (void)thread;
    for (int64_t r = task * h->group; r < end; r++) {
        if (h->labels && !is_class(h, r)) return;
        if (h->g) h->labels ? sparse_grad(h, r) : dense_grad(h, r);
        else h->y[r] = h->labels ? sparse_loss(h, r) : dense_loss(h, r);
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
    run_loss((loss){.c = c, .y = c->p[0], .labels = c->p[1], .x = c->p[2]}, c->a + 2);
}
/* sparse_softmax_cross_entropy_grad: out dx(rows, classes)  in g(rows) labels(rows) x */
static void sparse_softmax_cross_entropy_grad(const zk_call *c) {
    loss h = {.c = c, .y = c->p[0], .g = c->p[1], .labels = c->p[2], .x = c->p[3]};
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
