/* Batch normalization in training form, alone or with the residual sum and ReLU that follow it, and
 * the gradients. Arrays are rows x channels; variances are taken around the block's own mean. */
#include "norm.h"

/* sum += rows of n floats. */
static void add_rows(float *restrict sum, const float *restrict x, int64_t rows, int64_t n) {
    for (; rows >= 4; rows -= 4, x += 4 * n)
        for (int64_t i = 0; i < n; i++) sum[i] += (x[i] + x[n + i]) + (x[2 * n + i] + x[3 * n + i]);
    for (; rows > 0; rows--, x += n)
        for (int64_t i = 0; i < n; i++) sum[i] += x[i];
}

/* sum += rows - shift, square += the squares of that. */
static void add_moments(float *restrict sum, float *restrict square, const float *restrict x,
                        const float *restrict shift, int64_t rows, int64_t n) {
    for (; rows >= 2; rows -= 2, x += 2 * n)
        for (int64_t i = 0; i < n; i++) {
            float a = x[i] - shift[i], b = x[n + i] - shift[i];
            sum[i] += a + b;
            square[i] += a * a + b * b;
        }
    for (; rows > 0; rows--, x += n)
        for (int64_t i = 0; i < n; i++) {
            float a = x[i] - shift[i];
            sum[i] += a;
            square[i] += a * a;
        }
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
static void block_mean(const float *x, int64_t rows, const cut *k, float *mean) {
    int64_t wide = rows / k->fold;
    memset(mean, 0, (size_t)k->width * 4);
    add_rows(mean, x, wide, k->width);
    add_rows(mean, x + wide * k->width, rows % k->fold, k->channels);
    fold_sum(mean, k);
    for (int64_t i = 0; i < k->channels; i++) mean[i] /= (float)rows;
    spread(mean, k);
}

/* Adds a block's sums around `shift` to the task's. work: 2 * width floats. */
static void block_moments(const float *x, int64_t rows, const cut *k, const float *shift,
                          float *work, double *sum, double *square) {
    int64_t wide = rows / k->fold;
    memset(work, 0, (size_t)k->width * 8);
    add_moments(work, work + k->width, x, shift, wide, k->width);
    add_moments(work, work + k->width, x + wide * k->width, shift, rows % k->fold, k->channels);
    fold_sum(work, k);
    fold_sum(work + k->width, k);
    for (int64_t i = 0; i < k->channels; i++) {
        sum[i] += work[i];
        square[i] += work[k->width + i];
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
    const job *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, end = zk_min(first + k->per, k->rows);
    float *work = j->sums + 3 * k->width * thread, *shift = work + 2 * k->width;
    double *mean = j->parts + 2 * k->channels * task, *square = mean + k->channels;
    const float *x = j->x + first * k->channels;
    memset(mean, 0, (size_t)k->channels * 16);
    block_mean(x, zk_min(LEAST * k->fold, end - first), k, shift);
    for (int64_t r = first; r < end; r += k->block, x += k->block * k->channels)
        block_moments(x, zk_min(k->block, end - r), k, shift, work, mean, square);
    for (int64_t i = 0; i < k->channels; i++) {
        double away = mean[i] / (double)(end - first);
        square[i] -= away * mean[i];
        mean[i] = shift[i] + away;
    }
}

/* Statistics of all rows from those of the tasks, in their order. */
static void join_statistics(const job *j, float *mean, float *variance) {
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

/* y = (x - shift) * scale + add [+ residual] [then max(., 0)] over rows of n floats. */
ZK_INLINE void normalize(const job *j, int64_t at, int64_t rows, int64_t n, int residual,
                         int relu) {
    const float *restrict shift = j->shift, *restrict scale = j->scale, *restrict add = j->add;
    const float *restrict x = j->x + at, *restrict r = residual ? j->residual + at : NULL;
    float *restrict y = j->y + at;
    for (; rows > 0; rows--, x += n, y += n) {
        for (int64_t i = 0; i < n; i++) {
            float v = (x[i] - shift[i]) * scale[i] + add[i];
            if (residual) v += r[i];
            y[i] = relu && v < 0 ? 0 : v;
        }
        if (residual) r += n;
    }
}

static void normalize_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, n = zk_min(k->per, k->rows - first), wide = n / k->fold;
    int64_t at = first * k->channels, tail = at + wide * k->width, left = n % k->fold;
    (void)thread;
#define BOTH(residual, relu)                          \
    normalize(j, at, wide, k->width, residual, relu); \
    normalize(j, tail, left, k->channels, residual, relu)
    if (!j->relu) {
        BOTH(0, 0);
    } else if (j->residual) {
        BOTH(1, 1);
    } else {
        BOTH(0, 1);
    }
#undef BOTH
}

/* y and the statistics of j.x, for the gamma and beta of j. */
static void forward(const zk_call *c, job *j, float *mean, float *variance) {
    zk_parallel(c, j->k.tasks, statistics_task, j);
    join_statistics(j, mean, variance);
    for (int64_t i = 0; i < j->k.channels; i++) {
        j->shift[i] = mean[i];
        j->scale[i] = (float)(j->gamma[i] / sqrt(variance[i] + c->attr[0]));
        j->add[i] = j->beta[i];
    }
    spread(j->shift, &j->k);
    spread(j->scale, &j->k);
    spread(j->add, &j->k);
    zk_parallel(c, j->k.tasks, normalize_task, j);
}

/* batch_norm: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel over the rows.
 * out y(rows, c), mean(c), variance(c)  in x(rows, c), gamma(c), beta(c)  attr epsilon */
static void batch_norm(const zk_call *c) {
    job j = new_job(c, c->a);
    j.y = c->p[0], j.x = c->p[3], j.gamma = c->p[4], j.beta = c->p[5];
    forward(c, &j, c->p[1], c->p[2]);
}

/* batch_norm_relu: max(batch_norm(x) [+ residual], 0).
 * out y(rows, c), mean(c), variance(c)  in x(rows, c), gamma(c), beta(c), [residual(rows, c)]
 * attr epsilon */
static void batch_norm_relu(const zk_call *c) {
    job j = new_job(c, c->a);
    j.y = c->p[0], j.x = c->p[3], j.gamma = c->p[4], j.beta = c->p[5];
    j.residual = c->nin > 3 ? c->p[6] : NULL;
    j.relu = 1;
    forward(c, &j, c->p[1], c->p[2]);
}

/* sum += g, dot += g * (x - mean), over rows of n floats; with `mask`, g counts where out is above
 * 0, and with `keep` that g is written down. */
ZK_INLINE void add_products(const job *j, float *restrict sum, int64_t at, int64_t rows, int64_t n,
                            int mask, int keep) {
    const float *restrict g = j->g + at, *restrict x = j->x + at, *restrict mean = j->shift;
    const float *restrict out = mask ? j->out + at : NULL;
    float *restrict kept = keep ? j->masked + at : NULL, *restrict dot = sum + j->k.width;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            int64_t e = r * n + i;
            float v = mask && !(out[e] > 0) ? 0 : g[e];
            if (keep) kept[e] = v;
            sum[i] += v;
            dot[i] += v * (x[e] - mean[i]);
        }
}

static void block_products(const job *j, float *sum, int64_t at, int64_t rows) {
    const cut *k = &j->k;
    int64_t wide = rows / k->fold, left = rows % k->fold, tail = at + wide * k->width;
#define BOTH(mask, keep)                                  \
    add_products(j, sum, at, wide, k->width, mask, keep); \
    add_products(j, sum, tail, left, k->channels, mask, keep)
    if (!j->relu) {
        BOTH(0, 0);
    } else if (j->masked) {
        BOTH(1, 1);
    } else {
        BOTH(1, 0);
    }
#undef BOTH
}

/* The task's sums of g and of g * (x - mean), block by block. */
static void products_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
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

/* dx = scale * (g - add - (x - shift) * by) over rows of n floats; `mask` as above. */
ZK_INLINE void backward(const job *j, int64_t at, int64_t rows, int64_t n, int mask) {
    const float *restrict shift = j->shift, *restrict scale = j->scale;
    const float *restrict add = j->add, *restrict by = j->by;
    const float *restrict x = j->x + at, *restrict g = j->g + at;
    const float *restrict out = mask ? j->out + at : NULL;
    float *restrict dx = j->y + at;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            int64_t e = r * n + i;
            float v = mask && !(out[e] > 0) ? 0 : g[e];
            dx[e] = scale[i] * (v - add[i] - (x[e] - shift[i]) * by[i]);
        }
}

static void backward_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, n = zk_min(k->per, k->rows - first), wide = n / k->fold;
    int64_t at = first * k->channels, tail = at + wide * k->width, left = n % k->fold;
    (void)thread;
    if (j->relu) {
        backward(j, at, wide, k->width, 1);
        backward(j, tail, left, k->channels, 1);
    } else {
        backward(j, at, wide, k->width, 0);
        backward(j, tail, left, k->channels, 0);
    }
}

/* All gradients from j.g and j.x; afterwards g is read as j.masked where that was wanted. */
static void gradients(const zk_call *c, job *j, const float *variance) {
    float *dgamma = c->p[1], *dbeta = c->p[2];
    double count = (double)zk_max(j->k.rows, 1);
    memcpy(j->shift, j->mean, (size_t)j->k.channels * 4);
    spread(j->shift, &j->k);
    zk_parallel(c, j->k.tasks, products_task, j);
    for (int64_t i = 0; i < j->k.channels; i++) {
        double rstd = 1 / sqrt(variance[i] + c->attr[0]);
        double sum = join_parts(j, i), dot = rstd * join_parts(j, j->k.channels + i);
        j->scale[i] = (float)(j->gamma[i] * rstd);
        j->add[i] = (float)(sum / count);
        j->by[i] = (float)(rstd * dot / count);
        dgamma[i] = (float)dot;
        dbeta[i] = (float)sum;
    }
    spread(j->scale, &j->k);
    spread(j->add, &j->k);
    spread(j->by, &j->k);
    if (j->masked) j->g = j->masked, j->relu = 0;
    zk_parallel(c, j->k.tasks, backward_task, j);
}

/* batch_norm_grad: dx = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat)), dgamma, dbeta.
 * out dx(rows, c), dgamma(c), dbeta(c)  in g(rows, c), x(rows, c), gamma, mean, variance (c)
 * attr epsilon */
static void batch_norm_grad(const zk_call *c) {
    job j = new_job(c, c->a);
    j.y = c->p[0], j.g = c->p[3], j.x = c->p[4], j.gamma = c->p[5], j.mean = c->p[6];
    gradients(c, &j, c->p[7]);
}

/* batch_norm_relu_grad: as batch_norm_grad, for g where y is above 0 and 0 elsewhere; that g is
 * also the gradient of the residual.
 * out dx(rows, c), dgamma(c), dbeta(c), [dresidual(rows, c)]
 * in g(rows, c), y(rows, c), x(rows, c), gamma, mean, variance (c)  attr epsilon */
static void batch_norm_relu_grad(const zk_call *c) {
    job j = new_job(c, c->a);
    void *const *in = c->p + c->nout;
    j.y = c->p[0], j.masked = c->nout > 3 ? c->p[3] : NULL;
    j.g = in[0], j.out = in[1], j.x = in[2], j.gamma = in[3], j.mean = in[4];
    j.relu = 1;
    gradients(c, &j, in[5]);
}

const zk_kernel ZK_TABLE(batch_norm)[] = {
    {"batch_norm", batch_norm, norm_scratch},
    {"batch_norm_grad", batch_norm_grad, norm_scratch},
    {"batch_norm_relu", batch_norm_relu, norm_scratch},
    {"batch_norm_relu_grad", batch_norm_relu_grad, norm_scratch},
    {0}};
