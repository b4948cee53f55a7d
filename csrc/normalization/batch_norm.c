/* Batch normalization in training form, alone or with the residual sum and ReLU that follow it, and
 * the gradients. Arrays are rows x channels; variances are taken around the block's own mean. */
#include "norm.h"
#include "stored.h"

/* A job, and its arrays of x's shape. Vectors of a column's numbers have `width` of them. */
typedef struct {
    cut k;
    const float *gamma, *beta, *mean;
    stored x, residual, y; /* forward: what is normalized and added, and the result */
    stored g, out, masked; /* backward, where y is x's gradient: out is forward's result, masked is
                              to be g where out is above 0 */
    int relu, plain;       /* plain: all of them are wide */
    float most;            /* of relu's results; backward the largest that passes g on */
    float *shift, *scale, *add, *by;
    float *sums;   /* 3 * width for each thread */
    double *parts; /* 2 * channels for each task */
} batch;

ZK_INLINE vf some(const float *p, const int64_t m) {
    return m == VL ? vf_load(p) : vf_load_first(p, m, (vf){0});
}
ZK_INLINE void put_some(float *p, vf v, const int64_t m) {
    if (m == VL) vf_store(p, v);
    else vf_store_first(p, v, m);
}

/* Runs a statement for columns [i, i + m) of n, m = VL but for the last. */
#define COLUMNS(n, statement)            \
    do {                                 \
        int64_t i = 0;                   \
        for (; i + VL <= (n); i += VL) { \
            const int64_t m = VL;        \
            statement;                   \
        }                                \
        if (i < (n)) {                   \
            const int64_t m = (n) - i;   \
            statement;                   \
        }                                \
    } while (0)
/* Calls f(.., plain) with the flag as a constant. */
#define PLAIN(b, f, ...)                   \
    do {                                   \
        if ((b)->plain) f(__VA_ARGS__, 1); \
        else f(__VA_ARGS__, 0);            \
    } while (0)

/* sum += rows of n numbers, from number `at` on. */
ZK_INLINE void add_rows(float *sum, const stored *x, int64_t at, int64_t rows, int64_t n,
                        const int plain) {
#define X(row) stored_load(x, at + (row) * n + i, m, plain)
    for (; rows >= 4; rows -= 4, at += 4 * n)
        COLUMNS(n, put_some(sum + i, some(sum + i, m) + ((X(0) + X(1)) + (X(2) + X(3))), m));
    for (; rows > 0; rows--, at += n) COLUMNS(n, put_some(sum + i, some(sum + i, m) + X(0), m));
#undef X
}

/* Columns [i, i + m): sum += one or two rows - shift, square += the squares of that. */
ZK_INLINE void add_moment(float *sum, float *square, const stored *x, int64_t at,
                          const float *shift, int64_t n, int64_t i, const int64_t m, const int two,
                          const int plain) {
    const vf s = some(shift + i, m), a = stored_load(x, at + i, m, plain) - s;
    const vf all = some(sum + i, m), squares = some(square + i, m);
    if (two) {
        const vf b = stored_load(x, at + n + i, m, plain) - s;
        put_some(sum + i, all + (a + b), m);
        put_some(square + i, squares + vf_fused(b, b, a * a), m);
    } else {
        put_some(sum + i, all + a, m);
        put_some(square + i, vf_fused(a, a, squares), m);
    }
}

ZK_INLINE void add_moments(float *sum, float *square, const stored *x, int64_t at,
                           const float *shift, int64_t rows, int64_t n, const int plain) {
    for (; rows >= 2; rows -= 2, at += 2 * n)
        COLUMNS(n, add_moment(sum, square, x, at, shift, n, i, m, 1, plain));
    for (; rows > 0; rows--, at += n)
        COLUMNS(n, add_moment(sum, square, x, at, shift, n, i, m, 0, plain));
}

/* The first fold gets the sum of all folds. */
static void fold_sum(float *restrict sum, const cut *k) {
    for (int64_t f = 1; f < k->fold; f++)
        for (int64_t i = 0; i < k->channels; i++) sum[i] += sum[f * k->channels + i];
}

static void spread(float *v, const cut *k) {
    for (int64_t i = k->channels; i < k->width; i++) v[i] = v[i - k->channels];
}

/* The rounded mean of some rows, in every fold of `mean`. */
static void block_mean(const batch *j, int64_t at, int64_t rows, float *mean) {
    const cut *k = &j->k;
    int64_t wide = rows / k->fold;
    memset(mean, 0, (size_t)k->width * 4);
    PLAIN(j, add_rows, mean, &j->x, at, wide, k->width);
    PLAIN(j, add_rows, mean, &j->x, at + wide * k->width, rows % k->fold, k->channels);
    fold_sum(mean, k);
    for (int64_t i = 0; i < k->channels; i++) mean[i] /= (float)rows;
    spread(mean, k);
}

/* Adds a block's sums around `shift` to the task's. work: 2 * width floats. */
static void block_moments(const batch *j, int64_t at, int64_t rows, const float *shift, float *work,
                          double *sum, double *square) {
    const cut *k = &j->k;
    int64_t wide = rows / k->fold, tail = at + wide * k->width;
    float *squares = work + k->width;
    memset(work, 0, (size_t)k->width * 8);
    PLAIN(j, add_moments, work, squares, &j->x, at, shift, wide, k->width);
    PLAIN(j, add_moments, work, squares, &j->x, tail, shift, rows % k->fold, k->channels);
    fold_sum(work, k);
    fold_sum(squares, k);
    for (int64_t i = 0; i < k->channels; i++) {
        sum[i] += work[i];
        square[i] += squares[i];
    }
}

/* Adds a group of n rows to one of `seen` rows (Chan, Golub and LeVeque 1979). */
ZK_INLINE void merge(double *mean, double *square, int64_t seen, double mean_b, double square_b,
                     int64_t n) {
    double delta = mean_b - *mean, share = (double)n / (double)(seen + n);
    *mean += delta * share;
    *square += square_b + delta * delta * share * (double)seen;
}

/* Mean and sum of squared deviations of the task's rows. All sums are around the mean of its first
 * few rows, near enough to the task's own that squares lose no digits to it. */
static void statistics_task(void *ctx, int64_t task, int thread) {
    const batch *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, end = zk_min(first + k->per, k->rows);
    float *work = j->sums + 3 * k->width * thread, *shift = work + 2 * k->width;
    double *mean = j->parts + 2 * k->channels * task, *square = mean + k->channels;
    memset(mean, 0, (size_t)k->channels * 16);
    block_mean(j, first * k->channels, zk_min(LEAST * k->fold, end - first), shift);
    for (int64_t r = first; r < end; r += k->block)
        block_moments(j, r * k->channels, zk_min(k->block, end - r), shift, work, mean, square);
    for (int64_t i = 0; i < k->channels; i++) {
        double away = mean[i] / (double)(end - first);
        square[i] -= away * mean[i];
        mean[i] = shift[i] + away;
    }
}

/* Scratch: parts, then shift, scale, add, by, then sums. */
static batch new_batch(const zk_call *c, const zk_arg *x) {
    batch j = {.k = cut_rows(x), .parts = (double *)c->scratch};
    j.shift = (float *)(j.parts + 2 * j.k.channels * j.k.tasks);
    j.scale = j.shift + j.k.width;
    j.add = j.scale + j.k.width;
    j.by = j.add + j.k.width;
    j.sums = j.by + j.k.width;
    return j;
}

/* Statistics of all rows from those of the tasks, in their order. */
static void join_statistics(const batch *j, float *mean, float *variance) {
    const cut *k = &j->k;
    for (int64_t i = 0; i < k->channels; i++) {
        double m = 0, s = 0;
        for (int64_t t = 0; t < k->tasks; t++) {
            const double *part = j->parts + 2 * k->channels * t;
            int64_t seen = t * k->per;
            merge(&m, &s, seen, part[i], part[k->channels + i], zk_min(k->per, k->rows - seen));
        }
        mean[i] = (float)m;
        variance[i] = (float)(s / (double)zk_max(k->rows, 1));
    }
}

/* y = (x - shift) * scale + add [+ residual] [then max(., 0), at most j->most] over rows of n
 * numbers. */
ZK_INLINE void normalize_some(const batch *j, int64_t at, int64_t i, const int64_t m,
                              const int residual, const int relu, const int plain) {
    const vf x = stored_load(&j->x, at + i, m, plain);
    vf v = vf_fused(x - some(j->shift + i, m), some(j->scale + i, m), some(j->add + i, m));
    if (residual) v += stored_load(&j->residual, at + i, m, plain);
    if (relu) v = vf_at_most(vf_at_least(v, (vf){0}), vf_set(j->most));
    stored_save(&j->y, at + i, v, m, plain);
}

ZK_INLINE void normalize(const batch *j, int64_t at, int64_t rows, int64_t n, const int residual,
                         const int relu, const int plain) {
    for (; rows > 0; rows--, at += n)
        COLUMNS(n, normalize_some(j, at, i, m, residual, relu, plain));
}

static void normalize_task(void *ctx, int64_t task, int thread) {
    const batch *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, n = zk_min(k->per, k->rows - first), wide = n / k->fold;
    int64_t at = first * k->channels, tail = at + wide * k->width, left = n % k->fold;
    (void)thread;
#define BOTH(residual, relu)                                    \
    PLAIN(j, normalize, j, at, wide, k->width, residual, relu); \
    PLAIN(j, normalize, j, tail, left, k->channels, residual, relu)
    if (!j->relu) {
        BOTH(0, 0);
    } else if (j->residual.p) {
        BOTH(1, 1);
    } else {
        BOTH(0, 1);
    }
#undef BOTH
}

/* y and the statistics of x. out y(rows, c), mean(c), variance(c)
 * in x(rows, c), gamma(c), beta(c), [residual(rows, c)] */
static void forward(const zk_call *c, int relu) {
    batch b = new_batch(c, c->a), *j = &b;
    const int rounds = c->attr[ZK_BATCH_NORM_ROUNDS] != 0;
    float *mean = c->p[1], *variance = c->p[2];
    j->gamma = c->p[4], j->beta = c->p[5], j->relu = relu;
    j->most = (float)c->attr[ZK_BATCH_NORM_MOST];
    j->y = stored_of(c->a, c->p[0], rounds), j->x = stored_of(c->a + 3, c->p[3], rounds);
    if (c->nin > 3) j->residual = stored_of(c->a + 6, c->p[6], rounds);
    j->plain = !(j->x.form | j->y.form | j->residual.form);
    zk_parallel(c, j->k.tasks, statistics_task, j);
    join_statistics(j, mean, variance);
    for (int64_t i = 0; i < j->k.channels; i++) {
        j->shift[i] = mean[i];
        j->scale[i] = (float)(j->gamma[i] / sqrt(variance[i] + c->attr[ZK_BATCH_NORM_EPSILON]));
        j->add[i] = j->beta[i];
    }
    spread(j->shift, &j->k);
    spread(j->scale, &j->k);
    spread(j->add, &j->k);
    zk_parallel(c, j->k.tasks, normalize_task, j);
}

/* batch_norm: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel over the rows.
 * Arrays of rows are float32 or bits; attr rounds: float32 ones are read and written as the nearest
 * bfloat16.  out y(rows, c), mean(c), variance(c)  in x(rows, c), gamma(c), beta(c)
 * attr epsilon, rounds */
static void batch_norm(const zk_call *c) { forward(c, 0); }

/* batch_norm_relu: max(batch_norm(x) [+ residual], 0), at most `most`.
 * out y(rows, c), mean(c), variance(c)  in x(rows, c), gamma(c), beta(c), [residual(rows, c)]
 * attr epsilon, rounds, most (infinity: relu) */
static void batch_norm_relu(const zk_call *c) { forward(c, 1); }

/* Columns [i, i + m) of a row: sum += g, dot += g * (x - mean); with `mask`, g counts where out is
 * above 0 and at most j->most, and with `keep` that g is written down. */
ZK_INLINE vf masked(const batch *j, int64_t e, const int64_t m, const int mask, const int plain) {
    const vf g = stored_load(&j->g, e, m, plain);
    if (!mask) return g;
    const vf out = stored_load(&j->out, e, m, plain);
    return (vf)((vi)g & (out > 0) & (out <= vf_set(j->most)));
}
ZK_INLINE void add_product(const batch *j, float *sum, int64_t at, int64_t i, const int64_t m,
                           const int mask, const int keep, const int plain) {
    float *dot = sum + j->k.width;
    const vf v = masked(j, at + i, m, mask, plain);
    if (keep) stored_save(&j->masked, at + i, v, m, plain);
    put_some(sum + i, some(sum + i, m) + v, m);
    const vf away = stored_load(&j->x, at + i, m, plain) - some(j->shift + i, m);
    put_some(dot + i, vf_fused(v, away, some(dot + i, m)), m);
}

ZK_INLINE void add_products(const batch *j, float *sum, int64_t at, int64_t rows, int64_t n,
                            const int mask, const int keep, const int plain) {
    for (; rows > 0; rows--, at += n) COLUMNS(n, add_product(j, sum, at, i, m, mask, keep, plain));
}

static void block_products(const batch *j, float *sum, int64_t at, int64_t rows) {
    const cut *k = &j->k;
    int64_t wide = rows / k->fold, left = rows % k->fold, tail = at + wide * k->width;
#define BOTH(mask, keep)                                            \
    PLAIN(j, add_products, j, sum, at, wide, k->width, mask, keep); \
    PLAIN(j, add_products, j, sum, tail, left, k->channels, mask, keep)
    if (!j->relu) {
        BOTH(0, 0);
    } else if (j->masked.p) {
        BOTH(1, 1);
    } else {
        BOTH(1, 0);
    }
#undef BOTH
}

/* The task's sums of g and of g * (x - mean), block by block. */
static void products_task(void *ctx, int64_t task, int thread) {
    const batch *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, end = zk_min(first + k->per, k->rows);
    float *sum = j->sums + 3 * k->width * thread, *dot = sum + k->width;
    double *part = j->parts + 2 * k->channels * task;
    memset(part, 0, (size_t)k->channels * 16);
    for (int64_t r = first; r < end; r += k->block) {
        memset(sum, 0, (size_t)k->width * 8);
        block_products(j, sum, r * k->channels, zk_min(k->block, end - r));
        fold_sum(sum, k);
        fold_sum(dot, k);
        for (int64_t i = 0; i < k->channels; i++) {
            part[i] += sum[i];
            part[k->channels + i] += dot[i];
        }
    }
}

/* dx = scale * (g - add - (x - shift) * by) over rows of n numbers; `mask` as above. */
ZK_INLINE void backward_some(const batch *j, int64_t at, int64_t i, const int64_t m, const int mask,
                             const int plain) {
    const vf v = masked(j, at + i, m, mask, plain), x = stored_load(&j->x, at + i, m, plain);
    const vf away = some(j->shift + i, m) - x, rest = v - some(j->add + i, m);
    const vf dx = some(j->scale + i, m) * vf_fused(away, some(j->by + i, m), rest);
    stored_save(&j->y, at + i, dx, m, plain);
}

ZK_INLINE void backward(const batch *j, int64_t at, int64_t rows, int64_t n, const int mask,
                        const int plain) {
    for (; rows > 0; rows--, at += n) COLUMNS(n, backward_some(j, at, i, m, mask, plain));
}

static void backward_task(void *ctx, int64_t task, int thread) {
    const batch *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, n = zk_min(k->per, k->rows - first), wide = n / k->fold;
    int64_t at = first * k->channels, tail = at + wide * k->width, left = n % k->fold;
    (void)thread;
    if (j->relu) {
        PLAIN(j, backward, j, at, wide, k->width, 1);
        PLAIN(j, backward, j, tail, left, k->channels, 1);
    } else {
        PLAIN(j, backward, j, at, wide, k->width, 0);
        PLAIN(j, backward, j, tail, left, k->channels, 0);
    }
}

/* All gradients; g is read as `masked` once that is written. in: g, [y,] x, gamma, mean, variance
 */
static void gradients(const zk_call *c, int relu) {
    batch b = new_batch(c, c->a), *j = &b;
    const int at = c->nout + relu + 1; /* x's number */
    const float *variance = c->p[at + 3];
    float *dgamma = c->p[1], *dbeta = c->p[2];
    double count = (double)zk_max(j->k.rows, 1);
    j->gamma = c->p[at + 1], j->mean = c->p[at + 2], j->relu = relu;
    j->most = (float)c->attr[ZK_BATCH_NORM_MOST];
    if (j->most < INFINITY) j->most = nextafterf(j->most, 0);
    j->y = stored_of(c->a, c->p[0], 0), j->g = stored_of(c->a + c->nout, c->p[c->nout], 0);
    j->x = stored_of(c->a + at, c->p[at], c->attr[ZK_BATCH_NORM_ROUNDS] != 0);
    if (relu) j->out = stored_of(c->a + at - 1, c->p[at - 1], 0);
    if (c->nout > 3) j->masked = stored_of(c->a + 3, c->p[3], 0);
    j->plain = !(j->x.form | j->y.form | j->g.form | j->out.form | j->masked.form);
    memcpy(j->shift, j->mean, (size_t)j->k.channels * 4);
    spread(j->shift, &j->k);
    zk_parallel(c, j->k.tasks, products_task, j);
    for (int64_t i = 0; i < j->k.channels; i++) {
        double rstd = 1 / sqrt(variance[i] + c->attr[ZK_BATCH_NORM_EPSILON]);
        double sum = join_parts(&j->k, j->parts, i);
        double dot = rstd * join_parts(&j->k, j->parts, j->k.channels + i);
        j->scale[i] = (float)(j->gamma[i] * rstd);
        j->add[i] = (float)(sum / count);
        j->by[i] = (float)(rstd * dot / count);
        dgamma[i] = (float)dot;
        dbeta[i] = (float)sum;
    }
    spread(j->scale, &j->k);
    spread(j->add, &j->k);
    spread(j->by, &j->k);
    if (j->masked.p) j->g = j->masked, j->relu = 0;
    zk_parallel(c, j->k.tasks, backward_task, j);
}

/* batch_norm_grad: dx = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat)), dgamma, dbeta.
 * out dx(rows, c), dgamma(c), dbeta(c)  in g(rows, c), x(rows, c), gamma, mean, variance (c)
 * attr epsilon, rounds: a float32 x is read as the nearest bfloat16 */
static void batch_norm_grad(const zk_call *c) { gradients(c, 0); }

/* batch_norm_relu_grad: as batch_norm_grad, for g where y is above 0 and below `most`, and 0
 * elsewhere; that g is also the gradient of the residual.
 * out dx(rows, c), dgamma(c), dbeta(c), [dresidual(rows, c)]
 * in g(rows, c), y(rows, c), x(rows, c), gamma, mean, variance (c)  attr epsilon, rounds, most */
static void batch_norm_relu_grad(const zk_call *c) { gradients(c, 1); }

static int64_t batch_scratch(const zk_call *c) {
    cut k = cut_rows(c->a);
    return norm_scratch(c) + 4 * k.width * 4;
}

const zk_kernel ZK_TABLE(batch_norm)[] = {
    {"batch_norm", batch_norm, batch_scratch},
    {"batch_norm_grad", batch_norm_grad, batch_scratch},
    {"batch_norm_relu", batch_norm_relu, batch_scratch},
    {"batch_norm_relu_grad", batch_norm_relu_grad, batch_scratch},
    {0}};
