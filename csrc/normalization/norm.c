/* Layer and root-mean-square normalization and their gradients. Arrays are rows x features. */
#include "norm.h"

static float row_sum(const float *x, int64_t n) {
    vf a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        a += vf_load(x + i);
        b += vf_load(x + i + VL);
    }
    for (; i < n; i += VL) a += vf_load_first(x + i, zk_min(n - i, VL), (vf){0});
    return vf_total(a + b)[0];
}

static float row_squares(const float *x, float mean, int64_t n) {
    vf a = {0}, b = {0}, m = vf_set(mean);
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf u = vf_load(x + i) - m, v = vf_load(x + i + VL) - m;
        a += u * u;
        b += v * v;
    }
    for (; i < n; i += VL) {
        vf u = vf_load_first(x + i, zk_min(n - i, VL), m) - m;
        a += u * u;
    }
    return vf_total(a + b)[0];
}

/* Without beta: rms_norm. */
static void layer_task(void *ctx, int64_t task, int thread) {
    const job *j = ctx;
    int64_t n = j->k.channels, end = zk_min((task + 1) * j->k.per, j->k.rows);
    const float *restrict gamma = j->gamma, *restrict beta = j->beta;
    (void)thread;
    for (int64_t r = task * j->k.per; r < end; r++) {
        const float *restrict x = j->x + r * n;
        float *restrict y = j->y + r * n;
        float mean = beta ? row_sum(x, n) / (float)n : 0;
        float rstd = (float)(1 / sqrt(row_squares(x, mean, n) / (double)n + j->epsilon));
        j->row_rstd[r] = rstd;
        if (!beta) {
            for (int64_t i = 0; i < n; i++) y[i] = x[i] * rstd * gamma[i];
            continue;
        }
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
        j->row_mean[r] = mean;
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

/* rms_norm: y = x * rstd * gamma, per row over its n features; rstd is 1 / the root of the mean
 * square + epsilon.  out y(rows, n), rstd(rows)  in x(rows, n), gamma(n)  attr epsilon */
static void rms_norm(const zk_call *c) {
    job j = {.k = cut_rows(c->a), .x = c->p[2], .gamma = c->p[3], .y = c->p[0]};
    j.row_rstd = c->p[1], j.epsilon = c->attr[0];
    for (int64_t i = 0; !j.k.channels && i < zk_count(c->a + 1); i++)
        j.row_rstd[i] = (float)(1 / sqrt(j.epsilon));
    zk_parallel(c, j.k.tasks, layer_task, &j);
}

/* One row, and what its sums go to. */
typedef struct {
    const float *x, *g, *gamma;
    float *dgamma, *dbeta, mean, rstd;
    vf a, b;
} row;

/* Adds features [i, i + n) to the sums and the columns. */
ZK_INLINE void add_features(row *r, int64_t i, const int64_t n) {
    const vf none = {0}, gi = vf_load_first(r->g + i, n, none);
    const vf hat = (vf_load_first(r->x + i, n, vf_set(r->mean)) - r->mean) * r->rstd;
    const vf scaled = gi * vf_load_first(r->gamma + i, n, none);
    r->a += scaled;
    r->b += scaled * hat;
    vf_store_first(r->dgamma + i, vf_load_first(r->dgamma + i, n, none) + gi * hat, n);
    vf_store_first(r->dbeta + i, vf_load_first(r->dbeta + i, n, none) + gi, n);
}

/* Sums of g * gamma and of g * gamma * xhat over one row; adds g and g * xhat to the columns. */
static void layer_row_sums(const job *j, int64_t r, float *restrict columns, float *sums) {
    const int64_t n = j->k.channels, whole = n / VL * VL;
    row at = {.x = j->x + r * n, .g = j->g + r * n, .gamma = j->gamma};
    at.dgamma = columns, at.dbeta = columns + n;
    at.mean = j->mean ? j->mean[r] : 0, at.rstd = j->rstd[r];
    for (int64_t i = 0; i < whole; i += VL) add_features(&at, i, VL);
    if (whole < n) add_features(&at, whole, n - whole);
    sums[0] = vf_total(at.a)[0], sums[1] = vf_total(at.b)[0];
}

static void layer_row_backward(const job *j, int64_t r, const float *sums) {
    int64_t n = j->k.channels;
    const float *restrict x = j->x + r * n, *restrict g = j->g + r * n, *restrict gamma = j->gamma;
    float *restrict dx = j->y + r * n;
    const float mean = j->mean ? j->mean[r] : 0, rstd = j->rstd[r];
    const float first = j->mean ? sums[0] / (float)n : 0, second = sums[1] / (float)n * rstd;
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
        dgamma[i] = (float)join_parts(&j.k, j.parts, i);
        dbeta[i] = (float)join_parts(&j.k, j.parts, j.k.channels + i);
    }
}

/* rms_norm_grad: dx = rstd * (g * gamma - xhat * mean(g * gamma * xhat)), dgamma = sum(g * xhat).
 * out dx(rows, n), dgamma(n)  in g(rows, n), x(rows, n), gamma(n), rstd(rows) */
static void rms_norm_grad(const zk_call *c) {
    job j = new_job(c, c->a);
    float *dgamma = c->p[1];
    j.y = c->p[0], j.g = c->p[2], j.x = c->p[3], j.gamma = c->p[4], j.rstd = c->p[5];
    zk_parallel(c, j.k.tasks, layer_grad_task, &j);
    for (int64_t i = 0; i < j.k.channels; i++) dgamma[i] = (float)join_parts(&j.k, j.parts, i);
}

const zk_kernel ZK_TABLE(norm)[] = {{"layer_norm", layer_norm, NULL},
                                    {"layer_norm_grad", layer_norm_grad, norm_scratch},
                                    {"rms_norm", rms_norm, NULL},
                                    {"rms_norm_grad", rms_norm_grad, norm_scratch},
                                    {0}};
