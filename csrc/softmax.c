/* Softmax, log-softmax and the cross-entropies computed from logits, with their gradients. An array
 * is seen as (outer, length, inner) around the axis. With inner 1 a row is contiguous and vectors
 * run along it; otherwise vectors run across VL columns. Gradients of the cross-entropies compute
 * the softmax again from the logits. */
#include "vmath.h"

enum { SHARE = 16384, FEW = 16 }; /* elements of a task, at least; of a short row, at most */

/* The first n lanes, at most all; on load the others are `rest`. */
ZK_INLINE vf load_some(const float *x, int64_t n, float rest) {
    return n >= VL ? vf_load(x) : vf_load_first(x, n, vf_set(rest));
}
ZK_INLINE void store_some(float *y, vf v, int64_t n) {
    if (n >= VL) vf_store(y, v);
    else vf_store_first(y, v, n);
}

/* Runs the statements for every vector of n elements: i is its first, m its number of elements. */
#define VECTORS(n, ...)                  \
    do {                                 \
        int64_t i = 0;                   \
        for (; i + VL <= (n); i += VL) { \
            const int64_t m = VL;        \
            __VA_ARGS__                  \
        }                                \
        if (i < (n)) {                   \
            const int64_t m = (n) - i;   \
            __VA_ARGS__                  \
        }                                \
    } while (0)

/* ---- one contiguous row of n elements ---- */

/* The largest element; a NaN may be missed, the exponentials find it. */
static float largest(const float *x, int64_t n) {
    vf top[4];
    for (int k = 0; k < 4; k++) top[k] = vf_set(-INFINITY);
    for (; n >= 4 * VL; n -= 4 * VL, x += 4 * VL)
        for (int k = 0; k < 4; k++) top[k] = vf_at_least(vf_load(x + k * VL), top[k]);
    VECTORS(n, top[0] = vf_at_least(load_some(x + i, m, -INFINITY), top[0]););
    top[0] = vf_at_least(top[0], top[1]);
    return vf_top(vf_at_least(top[0], vf_at_least(top[2], top[3])))[0];
}

/* Sum of exp(x - max); y, unless NULL, receives the exponentials. */
ZK_INLINE float exponentials(const float *x, float max, int64_t n, float *y) {
    vf sum = vf_set(0), more = vf_set(0);
    for (; n >= 2 * VL; n -= 2 * VL, x += 2 * VL) {
        vf a = vf_exp_flush(vf_load(x) - max), b = vf_exp_flush(vf_load(x + VL) - max);
        sum += a;
        more += b;
        if (!y) continue;
        vf_store(y, a);
        vf_store(y + VL, b);
        y += 2 * VL;
    }
    VECTORS(n, {
        vf e = vf_exp_flush(load_some(x + i, m, -INFINITY) - max);
        sum += e;
        if (y) store_some(y + i, e, m);
    });
    return vf_total(sum + more)[0];
}

/* A row of at most two vectors never leaves the registers. */
static void softmax_short(const float *x, int64_t n, float *y) {
    vf a = load_some(x, n, -INFINITY), b = vf_set(-INFINITY);
    if (n > VL) b = load_some(x + VL, n - VL, -INFINITY);
    vf top = vf_top(vf_at_least(a, b));
    a = vf_exp_flush(a - top);
    b = vf_exp_flush(b - top);
    vf scale = 1.f / vf_total(a + b);
    store_some(y, a * scale, n);
    if (n > VL) store_some(y + VL, b * scale, n - VL);
}

static void softmax_row(const float *x, int64_t n, float *y) {
    if (n <= 2 * VL) {
        softmax_short(x, n, y);
        return;
    }
    float scale = 1 / exponentials(x, largest(x, n), n, y);
    VECTORS(n, store_some(y + i, load_some(y + i, m, 0) * scale, m););
}

/* max + log(sum(exp(x - max))) as two numbers, so that x - max - log keeps its accuracy. */
static float log_of_sum(const float *x, int64_t n, float *max) {
    *max = largest(x, n);
    return vf_log(vf_set(exponentials(x, *max, n, NULL)))[0];
}

static void log_softmax_row(const float *x, int64_t n, float *y) {
    float max, log = log_of_sum(x, n, &max);
    VECTORS(n, store_some(y + i, (load_some(x + i, m, 0) - max) - log, m););
}

/* Sums of a row, and of the product of two rows. */
static float sum_of(const float *x, int64_t n) {
    vf sum = vf_set(0);
    VECTORS(n, sum += load_some(x + i, m, 0););
    return vf_total(sum)[0];
}
static float dot(const float *a, const float *b, int64_t n) {
    vf sum = vf_set(0), more = vf_set(0);
    for (; n >= 2 * VL; n -= 2 * VL, a += 2 * VL, b += 2 * VL) {
        sum += vf_load(a) * vf_load(b);
        more += vf_load(a + VL) * vf_load(b + VL);
    }
    VECTORS(n, sum += load_some(a + i, m, 0) * load_some(b + i, m, 0););
    return vf_total(sum + more)[0];
}

static void softmax_grad_row(const float *g, const float *y, int64_t n, float *dx) {
    float sum = dot(g, y, n);
    VECTORS(n, {
        vf v = load_some(y + i, m, 0) * (load_some(g + i, m, 0) - sum);
        store_some(dx + i, v, m);
    });
}

static void log_softmax_grad_row(const float *g, const float *y, int64_t n, float *dx) {
    float sum = sum_of(g, n);
    VECTORS(n, {
        vf v = load_some(g + i, m, 0) - vf_exp_flush(load_some(y + i, m, 0)) * sum;
        store_some(dx + i, v, m);
    });
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
    vf m = vf_set(-INFINITY), sum = vf_set(0);
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

static void (*const functions[])(const float *, const float *, columns, float *) = {
    softmax_columns, log_softmax_columns, softmax_grad_columns, log_softmax_grad_columns};

static void all_columns(const job *h, int64_t at) {
    for (int64_t j = 0; j < h->inner; j += VL) {
        columns s = {h->length, h->inner, h->inner - j};
        functions[h->what](h->a + at + j, h->b + at + j, s, h->y + at + j);
    }
}

/* to(n, VL) = the rows of from(rows, n) as columns. */
static void turn(const float *from, int64_t rows, int64_t n, float *to) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) to[i * VL + r] = from[r * n + i];
}

/* Short rows, VL of them side by side. */
static void few_columns(const job *h, int64_t first, int64_t end) {
    const int64_t n = h->length;
    float a[FEW * VL] = {0}, b[FEW * VL] = {0}, y[FEW * VL];
    for (int64_t o = first; o < end; o += VL) {
        const columns s = {n, VL, zk_min(end - o, VL)};
        turn(h->a + o * n, s.w, n, a);
        if (h->what >= SOFTMAX_GRAD) turn(h->b + o * n, s.w, n, b);
        functions[h->what](a, b, s, y);
        for (int64_t r = 0; r < s.w; r++)
            for (int64_t i = 0; i < n; i++) h->y[(o + r) * n + i] = y[i * VL + r];
    }
}

static void along_task(void *ctx, int64_t task, int thread) {
    const job *h = ctx;
    int64_t end = zk_min((task + 1) * h->group, h->outer);
    (void)thread;
    if (h->inner == 1 && h->length <= FEW) {
        few_columns(h, task * h->group, end);
        return;
    }
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
    int64_t n = h->classes;
    const float *x = h->x + r * n, *t = h->target + r * n;
    float max, log = log_of_sum(x, n, &max);
    vf sum = vf_set(0);
    VECTORS(n, sum += load_some(t + i, m, 0) * ((load_some(x + i, m, 0) - max) - log););
    return -vf_total(sum)[0];
}

/* dx = g * (softmax(x) * sum(target) - target) */
static void dense_grad(const loss *h, int64_t r) {
    int64_t n = h->classes;
    const float *t = h->target + r * n;
    float *dx = h->y + r * n, g = h->g[r], whole = sum_of(t, n);
    softmax_row(h->x + r * n, n, dx);
    VECTORS(n, {
        vf v = load_some(dx + i, m, 0) * whole - load_some(t + i, m, 0);
        store_some(dx + i, v * g, m);
    });
}

static float sparse_loss(const loss *h, int64_t r) {
    const float *x = h->x + r * h->classes;
    float max, log = log_of_sum(x, h->classes, &max);
    return log - (x[h->labels[r]] - max);
}

/* dx = g * (softmax(x) - one_hot(label)) */
static void sparse_grad(const loss *h, int64_t r) {
    int64_t n = h->classes;
    float *dx = h->y + r * n, g = h->g[r];
    softmax_row(h->x + r * n, n, dx);
    VECTORS(n, store_some(dx + i, load_some(dx + i, m, 0) * g, m););
    dx[h->labels[r]] -= g;
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
