/* Batch and layer normalization in training form, and their gradients. Arrays are rows x channels.
 * Rows are cut into blocks and tasks that do not depend on the thread count; sums run in float32
 * over a block and in double from block to block, variances around the block's own mean. */
#include "vec.h"

#define BLOCK 16384      /* floats of a block, about */
#define LEAST 32         /* wide rows of a block, at least */
#define TASK (4 * BLOCK) /* floats of a task, about */
#define TASKS 256        /* at most: each has its own partial sums */
#define NARROW 64        /* with fewer channels, FOLD rows are treated as one wide row */
#define FOLD 16

typedef struct {
    int64_t rows, channels, fold, width; /* a wide row is `fold` rows of `width` floats together */
    int64_t block, per, tasks;           /* rows of a block and of a task */
} cut;

static cut cut_rows(const zk_arg *x) {
    cut k = {.rows = zk_span(x, 0, x->ndim - 1), .channels = x->dims[x->ndim - 1]};
    if (!k.channels) k.rows = 0;
    k.fold = k.channels < NARROW ? FOLD : 1;
    k.width = k.fold * k.channels;
    k.block = k.fold * zk_max(BLOCK / zk_max(k.width, 1), LEAST);
    k.per = k.block * zk_max(TASK / zk_max(k.block * k.channels, 1), 1);
    k.per = zk_max(k.per, k.block * zk_ceil(zk_ceil(k.rows, k.block), TASKS));
    k.tasks = zk_ceil(k.rows, k.per);
    return k;
}

typedef struct {
    const float *x, *g, *gamma, *beta, *mean, *rstd;
    float *y;                        /* the result that looks like x */
    float *shift, *scale, *add, *by; /* batch_norm: `width` numbers each, the same in every fold */
    float *sums;                     /* 3 * width for each thread */
    double *parts;                   /* 2 * channels for each task */
    double epsilon;
    float *row_mean, *row_rstd; /* layer_norm's statistics */
    cut k;
} job;

/* Scratch: parts, then shift, scale, add, by, then sums. */
static job new_job(const zk_call *c, const zk_arg *x) {
    job j = {.k = cut_rows(x), .parts = (double *)c->scratch};
    j.shift = (float *)(j.parts + 2 * j.k.channels * j.k.tasks);
    j.scale = j.shift + j.k.width;
    j.add = j.scale + j.k.width;
    j.by = j.add + j.k.width;
    j.sums = j.by + j.k.width;
    return j;
}

static int64_t norm_scratch(const zk_call *c) {
    cut k = cut_rows(c->a);
    return 16 * k.channels * k.tasks + 4 * k.width * (4 + 3 * c->threads);
}

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

/* y = (x - shift) * scale + add over rows of n floats. */
static void normalize(const job *j, float *restrict y, const float *restrict x, int64_t rows,
                      int64_t n) {
    const float *restrict shift = j->shift, *restrict scale = j->scale, *restrict add = j->add;
    for (; rows > 0; rows--, x += n, y += n)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - shift[i]) * scale[i] + add[i];
}

static void normalize_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, n = zk_min(k->per, k->rows - first), wide = n / k->fold;
    int64_t at = first * k->channels, tail = at + wide * k->width;
    (void)thread;
    normalize(j, j->y + at, j->x + at, wide, k->width);
    normalize(j, j->y + tail, j->x + tail, n % k->fold, k->channels);
}

/* batch_norm: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel over the rows.
 * out y(rows, c), mean(c), variance(c)  in x(rows, c), gamma(c), beta(c)  attr epsilon */
static void batch_norm(const zk_call *c) {
    job j = new_job(c, c->a);
    const float *gamma = c->p[4], *beta = c->p[5];
    float *mean = c->p[1], *variance = c->p[2];
    j.y = c->p[0], j.x = c->p[3];
    zk_parallel(c, j.k.tasks, statistics_task, &j);
    join_statistics(&j, mean, variance);
    for (int64_t i = 0; i < j.k.channels; i++) {
        j.shift[i] = mean[i];
        j.scale[i] = (float)(gamma[i] / sqrt(variance[i] + c->attr[0]));
        j.add[i] = beta[i];
    }
    spread(j.shift, &j.k);
    spread(j.scale, &j.k);
    spread(j.add, &j.k);
    zk_parallel(c, j.k.tasks, normalize_task, &j);
}

/* sum += g, dot += g * (x - mean), over rows of n floats. */
static void add_products(float *restrict sum, float *restrict dot, const float *restrict g,
                         const float *restrict x, const float *restrict mean, int64_t rows,
                         int64_t n) {
    for (; rows >= 2; rows -= 2, g += 2 * n, x += 2 * n)
        for (int64_t i = 0; i < n; i++) {
            sum[i] += g[i] + g[n + i];
            dot[i] += g[i] * (x[i] - mean[i]) + g[n + i] * (x[n + i] - mean[i]);
        }
    for (; rows > 0; rows--, g += n, x += n)
        for (int64_t i = 0; i < n; i++) {
            sum[i] += g[i];
            dot[i] += g[i] * (x[i] - mean[i]);
        }
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
        int64_t n = zk_min(k->block, end - r), wide = n / k->fold;
        int64_t at = r * k->channels, tail = at + wide * k->width;
        memset(sum, 0, (size_t)k->width * 8);
        add_products(sum, dot, j->g + at, j->x + at, j->shift, wide, k->width);
        add_products(sum, dot, j->g + tail, j->x + tail, j->shift, n % k->fold, k->channels);
        fold_sum(sum, k);
        fold_sum(dot, k);
        for (int64_t i = 0; i < k->channels; i++) {
            part[i] += sum[i];
            part[k->channels + i] += dot[i];
        }
    }
}

static double join_parts(const job *j, int64_t at) {
    double sum = 0;
    for (int64_t t = 0; t < j->k.tasks; t++) sum += j->parts[2 * j->k.channels * t + at];
    return sum;
}

/* dx = scale * (g - add - (x - shift) * by) over rows of n floats. */
static void backward(const job *j, int64_t at, int64_t rows, int64_t n) {
    const float *restrict shift = j->shift, *restrict scale = j->scale;
    const float *restrict add = j->add, *restrict by = j->by;
    const float *restrict x = j->x + at, *restrict g = j->g + at;
    float *restrict dx = j->y + at;
    for (; rows > 0; rows--, x += n, g += n, dx += n)
        for (int64_t i = 0; i < n; i++)
            dx[i] = scale[i] * (g[i] - add[i] - (x[i] - shift[i]) * by[i]);
}

static void backward_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, n = zk_min(k->per, k->rows - first), wide = n / k->fold;
    (void)thread;
    backward(j, first * k->channels, wide, k->width);
    backward(j, first * k->channels + wide * k->width, n % k->fold, k->channels);
}

/* batch_norm_grad: dx = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat)), dgamma, dbeta.
 * out dx(rows, c), dgamma(c), dbeta(c)  in g(rows, c), x(rows, c), gamma, mean, variance (c)
 * attr epsilon */
static void batch_norm_grad(const zk_call *c) {
    job j = new_job(c, c->a);
    const float *gamma = c->p[5], *mean = c->p[6], *variance = c->p[7];
    float *dgamma = c->p[1], *dbeta = c->p[2];
    double count = (double)zk_max(j.k.rows, 1);
    j.y = c->p[0], j.g = c->p[3], j.x = c->p[4];
    memcpy(j.shift, mean, (size_t)j.k.channels * 4);
    spread(j.shift, &j.k);
    zk_parallel(c, j.k.tasks, products_task, &j);
    for (int64_t i = 0; i < j.k.channels; i++) {
        double rstd = 1 / sqrt(variance[i] + c->attr[0]);
        double sum = join_parts(&j, i), dot = rstd * join_parts(&j, j.k.channels + i);
        j.scale[i] = (float)(gamma[i] * rstd);
        j.add[i] = (float)(sum / count);
        j.by[i] = (float)(rstd * dot / count);
        dgamma[i] = (float)dot;
        dbeta[i] = (float)sum;
    }
    spread(j.scale, &j.k);
    spread(j.add, &j.k);
    spread(j.by, &j.k);
    zk_parallel(c, j.k.tasks, backward_task, &j);
}

static float row_sum(const float *x, int64_t n) {
    vf a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        a += vf_load(x + i);
        b += vf_load(x + i + VL);
    }
    float sum = vf_sum(a + b);
    for (; i < n; i++) sum += x[i];
    return sum;
}

static float row_squares(const float *x, float mean, int64_t n) {
    vf a = {0}, b = {0}, m = vf_set(mean);
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf u = vf_load(x + i) - m, v = vf_load(x + i + VL) - m;
        a += u * u;
        b += v * v;
    }
    float sum = vf_sum(a + b);
    for (; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum;
}

static void layer_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    int64_t n = j->k.channels, end = zk_min((task + 1) * j->k.per, j->k.rows);
    const float *restrict gamma = j->gamma, *restrict beta = j->beta;
    (void)thread;
    for (int64_t r = task * j->k.per; r < end; r++) {
        const float *restrict x = j->x + r * n;
        float *restrict y = j->y + r * n;
        float mean = row_sum(x, n) / (float)n;
        float rstd = (float)(1 / sqrt(row_squares(x, mean, n) / (double)n + j->epsilon));
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
        j->row_mean[r] = mean;
        j->row_rstd[r] = rstd;
    }
}

/* layer_norm: y = (x - mean) * rstd * gamma + beta, per row over its n features.
 * out y(rows, n), mean(rows), rstd(rows)  in x(rows, n), gamma(n), beta(n)  attr epsilon */
static void layer_norm(const zk_call *c) {
    job j = {.k = cut_rows(c->a), .x = c->p[3], .gamma = c->p[4], .beta = c->p[5]};
    j.y = c->p[0], j.row_mean = c->p[1], j.row_rstd = c->p[2];
    j.epsilon = c->attr[0];
    for (int64_t i = 0; !j.k.channels && i < zk_count(c->a + 1); i++) {
        j.row_mean[i] = 0;
        j.row_rstd[i] = (float)(1 / sqrt(j.epsilon));
    }
    zk_parallel(c, j.k.tasks, layer_task, &j);
}

/* Sums of g * gamma and of g * gamma * xhat over one row; adds g and g * xhat to the columns. */
static void layer_row_sums(const job *j, int64_t r, float *restrict columns, float *sums) {
    int64_t n = j->k.channels, i = 0;
    const float *x = j->x + r * n, *g = j->g + r * n, *gamma = j->gamma;
    float *dgamma = columns, *dbeta = columns + n, mean = j->mean[r], rstd = j->rstd[r];
    vf a = {0}, b = {0};
    for (; i + VL <= n; i += VL) {
        vf gi = vf_load(g + i), hat = (vf_load(x + i) - mean) * rstd,
           scaled = gi * vf_load(gamma + i);
        a += scaled;
        b += scaled * hat;
        vf_store(dgamma + i, vf_load(dgamma + i) + gi * hat);
        vf_store(dbeta + i, vf_load(dbeta + i) + gi);
    }
    sums[0] = vf_sum(a), sums[1] = vf_sum(b);
    for (; i < n; i++) {
        float hat = (x[i] - mean) * rstd;
        sums[0] += g[i] * gamma[i];
        sums[1] += g[i] * gamma[i] * hat;
        dgamma[i] += g[i] * hat;
        dbeta[i] += g[i];
    }
}

static void layer_row_backward(const job *j, int64_t r, const float *sums) {
    int64_t n = j->k.channels;
    const float *restrict x = j->x + r * n, *restrict g = j->g + r * n, *restrict gamma = j->gamma;
    float *restrict dx = j->y + r * n;
    float mean = j->mean[r], rstd = j->rstd[r];
    float first = sums[0] / (float)n, second = sums[1] / (float)n * rstd;
    for (int64_t i = 0; i < n; i++)
        dx[i] = rstd * (g[i] * gamma[i] - first - (x[i] - mean) * second);
}

static void layer_grad_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const cut *k = &j->k;
    int64_t first = task * k->per, end = zk_min(first + k->per, k->rows);
    float *columns = j->sums + 3 * k->width * thread, sums[2];
    double *part = j->parts + 2 * k->channels * task;
    memset(part, 0, (size_t)k->channels * 16);
    for (int64_t r = first; r < end; r += k->block) {
        memset(columns, 0, (size_t)k->channels * 8);
        for (int64_t i = r; i < zk_min(r + k->block, end); i++) {
            layer_row_sums(j, i, columns, sums);
            layer_row_backward(j, i, sums);
        }
        for (int64_t i = 0; i < 2 * k->channels; i++) part[i] += columns[i];
    }
}

/* layer_norm_grad: dx = rstd * (g * gamma - mean(g * gamma) - xhat * mean(g * gamma * xhat)),
 * dgamma = sum(g * xhat), dbeta = sum(g).
 * out dx(rows, n), dgamma(n), dbeta(n)  in g(rows, n), x(rows, n), gamma(n), mean, rstd (rows) */
static void layer_norm_grad(const zk_call *c) {
    job j = new_job(c, c->a);
    float *dgamma = c->p[1], *dbeta = c->p[2];
    j.y = c->p[0], j.g = c->p[3], j.x = c->p[4];
    j.gamma = c->p[5], j.mean = c->p[6], j.rstd = c->p[7];
    zk_parallel(c, j.k.tasks, layer_grad_task, &j);
    for (int64_t i = 0; i < j.k.channels; i++) {
        dgamma[i] = (float)join_parts(&j, i);
        dbeta[i] = (float)join_parts(&j, j.k.channels + i);
    }
}

const zk_kernel ZK_TABLE(norm)[] = {{"batch_norm", batch_norm, norm_scratch},
                                    {"batch_norm_grad", batch_norm_grad, norm_scratch},
                                    {"layer_norm", layer_norm, NULL},
                                    {"layer_norm_grad", layer_norm_grad, norm_scratch},
                                    {0}};
