/* The triangles of matrices, row by row and in double precision. */
#include "../engine/kernel.h"

typedef struct {
    const float *x;
    float *y;
    int32_t *pivots;
    double *room; /* a matrix for each thread */
    int64_t rows, cols, count;
} lu_job;

/* Row i less a multiple of row k, which is stored where it makes a zero. */
static void clear_below(double *restrict row, const double *restrict top, int64_t k, int64_t n) {
    const double share = top[k] == 0 ? row[k] : row[k] / top[k]; /* 0: the whole column is */
    row[k] = share;
    for (int64_t j = k + 1; j < n; j++) row[j] -= share * top[j];
}

static int64_t largest_below(const double *a, int64_t k, int64_t rows, int64_t n) {
    int64_t best = k;
    for (int64_t i = k + 1; i < rows; i++)
        if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
    return best;
}

static void lu_task(void *ctx, int64_t task, int thread) {
    const lu_job *j = ctx;
    const int64_t rows = j->rows, n = j->cols, size = rows * n;
    double *a = j->room + thread * size;
    for (int64_t i = 0; i < size; i++) a[i] = j->x[task * size + i];
    for (int64_t k = 0; k < j->count; k++) {
        const int64_t best = largest_below(a, k, rows, n);
        j->pivots[task * j->count + k] = (int32_t)best;
        for (int64_t i = 0; i < n && best != k; i++) {
            const double t = a[k * n + i];
            a[k * n + i] = a[best * n + i], a[best * n + i] = t;
        }
        for (int64_t i = k + 1; i < rows; i++) clear_below(a + i * n, a + k * n, k, n);
    }
    for (int64_t i = 0; i < size; i++) j->y[task * size + i] = (float)a[i];
}

/* lu_factor: both triangles of each matrix, the lower one's diagonal of ones left out; and for each
 * column the row that its row changed places with.
 * out y(m, rows, cols), pivots(m, min(rows, cols))  in x  scratch: doubles of a matrix a thread */
static void lu_factor(const zk_call *c) {
    const zk_arg *x = c->a + 2;
    lu_job j = {c->p[2], c->p[0], c->p[1], (double *)c->scratch, 0, 0, 0};
    j.rows = x->dims[x->ndim - 2], j.cols = x->dims[x->ndim - 1];
    j.count = zk_min(j.rows, j.cols);
    if (j.count) zk_parallel(c, zk_span(x, 0, x->ndim - 2), lu_task, &j);
}

static int64_t lu_scratch(const zk_call *c) {
    const zk_arg *x = c->a + 2;
    return c->threads * x->dims[x->ndim - 2] * x->dims[x->ndim - 1] * 8;
}

const zk_kernel ZK_TABLE(lu)[] = {{"lu_factor", lu_factor, lu_scratch}, {0}};
