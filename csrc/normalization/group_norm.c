/* Group normalization (Wu and He 2018) and its gradient. An array is samples x rows x channels, its
 * channels lie in groups of equal width; a group of a sample has one mean and one deviation. A task
 * is some samples; sums run in float32 over a block of rows and in double from block to block. */
#include "vec.h"

#define BLOCK 64   /* rows summed in float32 */
#define WORK 16384 /* floats of a task, at least */

typedef struct {
    int64_t samples, rows, channels, groups, width,
        per; /* channels of a group, samples of a task */
    const float *x, *g, *gamma, *beta, *known_mean, *known_rstd;
    float *y, *mean, *rstd;
    double epsilon;
    char *scratch;
    double *parts; /* backward: 2 * channels for each sample */
} job;

static job new_job(const zk_call *c, const zk_arg *x, int64_t groups) {
    job j = {.samples = x->dims[0], .rows = zk_span(x, 1, x->ndim - 1), .groups = groups};
    j.channels = x->dims[x->ndim - 1];
    j.width = j.channels / zk_max(groups, 1);
    j.per = zk_max(1, WORK / zk_max(1, j.rows * j.channels));
    j.scratch = c->scratch;
    return j;
}

/* One thread's numbers, `channels` each: sums of a block, of all rows, and what backward needs. */
typedef struct {
    double *sum, *other;
    float *a, *b, *shift, *scale, *add, *by;
} bench;

static int64_t bench_bytes(int64_t channels) { return zk_align(channels * (2 * 8 + 6 * 4)); }

static bench new_bench(const job *j, int thread) {
    bench m = {.sum = (double *)(j->scratch + thread * bench_bytes(j->channels))};
    const int64_t n = j->channels;
    m.other = m.sum + n;
    m.a = (float *)(m.other + n), m.b = m.a + n, m.shift = m.b + n;
    m.scale = m.shift + n, m.add = m.scale + n, m.by = m.add + n;
    return m;
}

/* a += x - shift, b += its squares, over rows of n floats. */
static void add_moments(const float *restrict x, int64_t rows, int64_t n,
                        const float *restrict shift, float *restrict a, float *restrict b) {
    for (; rows > 0; rows--, x += n)
        for (int64_t i = 0; i < n; i++) {
            const float d = x[i] - shift[i];
            a[i] += d;
            b[i] += d * d;
        }
}

/* a += g, b += g * (x - shift), over rows of n floats. */
static void add_products(const float *restrict x, const float *restrict g, int64_t rows, int64_t n,
                         const float *restrict shift, float *restrict a, float *restrict b) {
    for (; rows > 0; rows--, x += n, g += n)
        for (int64_t i = 0; i < n; i++) {
            a[i] += g[i];
            b[i] += g[i] * (x[i] - shift[i]);
        }
}

/* Sums of all rows of a sample around m->shift: of x and squares or, with g, of g and products. */
static void sum_rows(const job *j, const float *x, const float *g, const bench *m) {
    const int64_t n = j->channels;
    memset(m->sum, 0, (size_t)n * 16);
    for (int64_t r = 0; r < j->rows; r += BLOCK) {
        const int64_t rows = zk_min(BLOCK, j->rows - r);
        memset(m->a, 0, (size_t)n * 8);
        if (g) add_products(x + r * n, g + r * n, rows, n, m->shift, m->a, m->b);
        else add_moments(x + r * n, rows, n, m->shift, m->a, m->b);
        for (int64_t i = 0; i < n; i++) {
            m->sum[i] += m->a[i];
            m->other[i] += m->b[i];
        }
    }
}

/* Mean and 1 / deviation of channels [c, c + width): sums around each channel's shift are put
 * together (Chan, Golub and LeVeque 1979). */
static void group_statistics(const job *j, const bench *m, int64_t c, float *mean, float *rstd) {
    const double rows = (double)j->rows;
    double middle = 0, squares = 0;
    for (int64_t i = c; i < c + j->width; i++) middle += m->shift[i] + m->sum[i] / rows;
    middle /= (double)j->width;
    for (int64_t i = c; i < c + j->width; i++) {
        const double away = m->sum[i] / rows, far = m->shift[i] + away - middle;
        squares += m->other[i] - away * m->sum[i] + rows * far * far;
    }
    *mean = (float)middle;
    *rstd = (float)(1 / sqrt(squares / (rows * (double)j->width) + j->epsilon));
}

/* y = (x - shift) * scale + add over rows of n floats. */
static void normalize(const float *restrict x, float *restrict y, int64_t rows, int64_t n,
                      const float *restrict shift, const float *restrict scale,
                      const float *restrict add) {
    for (; rows > 0; rows--, x += n, y += n)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - shift[i]) * scale[i] + add[i];
}

static void forward_sample(const job *j, int64_t sample, const bench *m) {
    const int64_t n = j->channels, at = sample * j->rows * n;
    float *mean = j->mean + sample * j->groups, *rstd = j->rstd + sample * j->groups;
    memcpy(m->shift, j->x + at, (size_t)n * sizeof(float));
    sum_rows(j, j->x + at, NULL, m);
    for (int64_t k = 0; k < j->groups; k++)
        group_statistics(j, m, k * j->width, mean + k, rstd + k);
    for (int64_t i = 0; i < n; i++) {
        m->shift[i] = mean[i / j->width];
        m->scale[i] = rstd[i / j->width] * j->gamma[i];
    }
    normalize(j->x + at, j->y + at, j->rows, n, m->shift, m->scale, j->beta);
}

static void forward_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const bench m = new_bench(j, thread);
    const int64_t end = zk_min((task + 1) * j->per, j->samples);
    for (int64_t i = task * j->per; i < end; i++) forward_sample(j, i, &m);
}

/* group_norm: y = (x - mean) * rstd * gamma + beta, per sample and group of channels.
 * out y(samples, ..., channels), mean, rstd (samples, groups)  in x, gamma, beta (channels)
 * attr epsilon */
static void group_norm(const zk_call *c) {
    job j = new_job(c, c->a, c->a[1].dims[1]);
    j.y = c->p[0], j.mean = c->p[1], j.rstd = c->p[2];
    j.x = c->p[3], j.gamma = c->p[4], j.beta = c->p[5], j.epsilon = c->attr[0];
    const int empty = !j.rows || !j.channels;
    for (int64_t i = 0; empty && i < j.samples * j.groups; i++) {
        j.mean[i] = 0;
        j.rstd[i] = (float)(1 / sqrt(j.epsilon));
    }
    if (zk_count(c->a)) zk_parallel(c, zk_ceil(j.samples, j.per), forward_task, &j);
}

static int64_t forward_scratch(const zk_call *c) {
    return c->threads * bench_bytes(c->a->dims[c->a->ndim - 1]);
}

/* Coefficients of dx for channels [c, c + width): dx = g * scale - add - (x - shift) * by. */
static void group_coefficients(const job *j, const bench *m, int64_t c, double rstd) {
    const double count = (double)(j->rows * j->width);
    double first = 0, second = 0;
    for (int64_t i = c; i < c + j->width; i++) {
        first += j->gamma[i] * m->sum[i];
        second += j->gamma[i] * m->other[i];
    }
    for (int64_t i = c; i < c + j->width; i++) {
        m->scale[i] = (float)(rstd * j->gamma[i]);
        m->add[i] = (float)(rstd * first / count);
        m->by[i] = (float)(rstd * rstd * rstd * second / count);
    }
}

static void write_gradient(const bench *m, const float *restrict x, const float *restrict g,
                           float *restrict dx, int64_t rows, int64_t n) {
    const float *restrict shift = m->shift, *restrict scale = m->scale;
    const float *restrict add = m->add, *restrict by = m->by;
    for (; rows > 0; rows--, x += n, g += n, dx += n)
        for (int64_t i = 0; i < n; i++)
            dx[i] = g[i] * scale[i] - add[i] - (x[i] - shift[i]) * by[i];
}

static void backward_sample(const job *j, int64_t sample, const bench *m) {
    const int64_t n = j->channels, at = sample * j->rows * n;
    const float *mean = j->known_mean + sample * j->groups;
    const float *rstd = j->known_rstd + sample * j->groups;
    double *part = j->parts + sample * 2 * n;
    for (int64_t i = 0; i < n; i++) m->shift[i] = mean[i / j->width];
    sum_rows(j, j->x + at, j->g + at, m);
    for (int64_t k = 0; k < j->groups; k++) group_coefficients(j, m, k * j->width, rstd[k]);
    for (int64_t i = 0; i < n; i++) {
        part[i] = m->other[i] * rstd[i / j->width];
        part[n + i] = m->sum[i];
    }
    write_gradient(m, j->x + at, j->g + at, j->y + at, j->rows, n);
}

static void backward_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    const bench m = new_bench(j, thread);
    const int64_t end = zk_min((task + 1) * j->per, j->samples);
    for (int64_t i = task * j->per; i < end; i++) backward_sample(j, i, &m);
}

/* group_norm_grad: out dx(samples, ..., channels), dgamma, dbeta (channels)  in g, x (like dx),
 * gamma(channels), mean, rstd (samples, groups) */
static void group_norm_grad(const zk_call *c) {
    job j = new_job(c, c->a, c->a[6].dims[1]);
    float *dgamma = c->p[1], *dbeta = c->p[2];
    j.y = c->p[0], j.g = c->p[3], j.x = c->p[4], j.gamma = c->p[5];
    j.known_mean = c->p[6], j.known_rstd = c->p[7];
    j.parts = (double *)(j.scratch + c->threads * bench_bytes(j.channels));
    if (j.channels) zk_parallel(c, zk_ceil(j.samples, j.per), backward_task, &j);
    for (int64_t i = 0; i < j.channels; i++) {
        double gamma = 0, beta = 0;
        for (int64_t s = 0; s < j.samples; s++) {
            gamma += j.parts[s * 2 * j.channels + i];
            beta += j.parts[s * 2 * j.channels + j.channels + i];
        }
        dgamma[i] = (float)gamma, dbeta[i] = (float)beta;
    }
}

static int64_t backward_scratch(const zk_call *c) {
    const int64_t channels = c->a->dims[c->a->ndim - 1];
    return c->threads * bench_bytes(channels) + c->a->dims[0] * channels * 16;
}

const zk_kernel ZK_TABLE(group_norm)[] = {{"group_norm", group_norm, forward_scratch},
                                          {"group_norm_grad", group_norm_grad, backward_scratch},
                                          {0}};
