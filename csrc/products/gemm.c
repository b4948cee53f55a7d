/* Matrix products: matmul, dense, pack_dense, dense_packed. A product is cut into blocks of rows,
 * columns and, by its shape alone, k, so that no result depends on the number of threads. Tasks run
 * blocks: gemm_part_wide.h multiplies them with AVX-512, gemm_part.h elsewhere. */
#if defined(ZK_ISA_AVX512)
#include "gemm_part_wide.h"
#else
#include "gemm_part.h"
#endif
#include "mkl.h"

#define SUM_FLOATS 4096 /* of y, summed by one task afterwards */
/* Parts of a single row: weights at least (128 kB, about 2 us), for each thread, at most, and
 * panels between which they are cut. */
#define ROW_PART 32768
#define ROW_EACH 4
#define ROW_PARTS 64
#define ROW_WIDTH 4

/* A part by MKL. */
static void multiply_part_by_mkl(const gemm *g, const part *s) {
    const int64_t j = s->p0 * PANEL, rows = s->i1 - s->i0;
    const int64_t cols = zk_min(g->n, s->p1 * PANEL) - j;
    const zk_matrix a = {s->a + s->i0 * g->arow + s->k0 * g->acol, g->ta ? g->m : g->k, g->ta};
    const zk_matrix b = {s->b + j * g->bcol + s->k0 * g->brow, g->tb ? g->k : g->n, g->tb};
    float *y = s->y + s->i0 * g->n + j;
    for (int64_t i = 0; g->bias && i < rows; i++)
        memcpy(y + i * g->n, g->bias + j, (size_t)cols * sizeof *y);
    zk_mkl_multiply(rows, cols, s->k1 - s->k0, a, b, g->bias ? 1 : 0, y, g->n);
    if (g->act || g->residual) finish(g, y, rows, cols);
}

/* y(rows) = w(rows, k) x, four rows at a time. */
static void dot_rows(const float *w, int64_t rows, int64_t k, const float *x, float *y) {
    for (int64_t i = 0; i < rows; i += 4) {
        const int64_t n = zk_min(rows - i, 4);
        const float *r[4];
        vf sum[4][2] = {{{0}}};
        for (int64_t j = 0; j < 4; j++) r[j] = w + (i + zk_min(j, n - 1)) * k;
        int64_t t = 0;
        for (; t + 2 * VL <= k; t += 2 * VL)
            for (int u = 0; u < 2; u++) {
                const vf v = vf_load(x + t + u * VL);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) sum[j][u] += vf_load(r[j] + t + u * VL) * v;
            }
        for (int64_t some; t < k; t += some) {
            some = zk_min(VL, k - t);
            const vf v = vf_load_first(x + t, some, (vf){0});
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) sum[j][0] += vf_load_first(r[j] + t, some, (vf){0}) * v;
        }
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; j++) {
            const vf all = vf_total(sum[j][0] + sum[j][1]);
            if (j < n) y[i + j] = all[0];
        }
    }
}

/* A single column, see turn_single_column, as dot products; the bias is one number. Other rows take
 * the tile: dot products would give a row alone other bits than the same row in a batch. */
static void multiply_part_by_dots(const gemm *g, const part *s) {
    const int64_t j = s->p0 * PANEL, n = zk_min(g->n, s->p1 * PANEL) - j;
    float *y = s->y + j;
    dot_rows(s->b + j * g->k, n, g->k, s->a, y);
    for (int64_t i = 0; g->bias && i < n; i++) y[i] += *g->bias;
    if (g->act || g->residual) finish(g, y, 1, n);
}

/* Number of floats between the first one of `arg` and its matrix for output matrix `index`. */
static int64_t matrix_at(const gemm *g, const zk_arg *arg, int64_t index) {
    const zk_arg *out = g->call->a;
    int64_t offset = 0, step = zk_span(arg, arg->ndim - 2, arg->ndim);
    for (int i = out->ndim - 3, j = arg->ndim - 3; j >= 0; i--, j--) {
        if (arg->dims[j] > 1) offset += index % out->dims[i] * step;
        index /= out->dims[i];
        step *= arg->dims[j];
    }
    return offset;
}

static void run_part(const gemm *g, const part *s, float *scratch) {
    if (g->mkl) multiply_part_by_mkl(g, s);
    else if (g->column && g->tb) multiply_part_by_dots(g, s);
    else multiply_part(g, s, scratch);
}

/* Block `u` of all, by that thread. */
static void run_block_at(const gemm *g, int64_t u, int thread) {
    const int64_t rc = g->rows * g->columns, blocks = rc * g->kcuts;
    const int64_t matrix = u / blocks, q = u % blocks / rc, r = u % rc / g->columns;
    const int64_t column = u % g->columns, size = g->m * g->n;
    const int64_t np = panels(g->n), groups = zk_ceil(np, g->wide);
    part s = {.a = g->a, .b = g->b};
    if (g->batch > 1) {
        s.a += matrix_at(g, g->aarg, matrix);
        s.b += matrix_at(g, g->barg, matrix);
    }
    s.y = g->kcuts > 1 ? g->partial + q * size : g->y + matrix * size;
    s.i0 = cut(g->m, r, g->rows), s.i1 = cut(g->m, r + 1, g->rows);
    s.p0 = cut(groups, column, g->columns) * g->wide;
    s.p1 = zk_min(np, cut(groups, column + 1, g->columns) * g->wide);
    s.k0 = cut(g->k, q, g->kcuts), s.k1 = cut(g->k, q + 1, g->kcuts);
    run_part(g, &s, (float *)g->call->scratch + thread * pack_floats(g));
}

static void run_task(void *ctx, int64_t task, int thread) {
    const gemm *g = ctx;
    const int64_t blocks = g->batch * g->rows * g->columns * g->kcuts;
    for (int64_t u = task * g->chunk; u < zk_min(blocks, (task + 1) * g->chunk); u++)
        run_block_at(g, u, thread);
}

/* y = sum of the partial matrices, in their order. */
static void sum_task(void *ctx, int64_t task, int thread) {
    const gemm *g = ctx;
    const int64_t size = g->m * g->n, at = task * SUM_FLOATS, n = zk_min(size - at, SUM_FLOATS);
    float *restrict y = g->y + at;
    (void)thread;
    memcpy(y, g->partial + at, (size_t)n * sizeof *y);
    for (int64_t q = 1; q < g->kcuts; q++) {
        const float *restrict more = g->partial + q * size + at;
        for (int64_t i = 0; i < n; i++) y[i] += more[i];
    }
}

/* A single row reads each weight once: its columns are cut alike in every call, so that a thread
 * finds its own, which it takes first, still in its cache. */
static void choose_parts(gemm *g) {
    if (g->m != 1 || g->batch != 1 || g->tb || !g->n) {
        choose_blocks(g);
        return;
    }
    const int64_t threads = g->call->threads, each = threads > 1 ? ROW_EACH * threads : 1;
    const int64_t most = zk_min(zk_min(each, ROW_PARTS), g->k * g->n / ROW_PART);
    g->wide = ROW_WIDTH, g->rows = g->kcuts = g->chunk = g->in_place = 1;
    g->columns = zk_max(1, zk_min(most, zk_ceil(g->n, ROW_WIDTH * PANEL)));
}

static void multiply(gemm *g) {
    const int64_t blocks = g->batch * g->rows * g->columns * g->kcuts;
    if (!blocks) return;
    if (g->mkl && !zk_mkl_loaded()) {
        zk_fail(g->call, "the program wants MKL, which is not loaded");
        return;
    }
    if (!g->mkl) share_b(g);
    zk_parallel(g->call, zk_ceil(blocks, g->chunk), run_task, g);
    if (g->kcuts > 1) zk_parallel(g->call, zk_ceil(g->m * g->n, SUM_FLOATS), sum_task, g);
}

/* A column y(m, 1) = a b is the row b' a'. */
static void turn_single_column(gemm *g) {
    const gemm was = *g;
    if (was.n != 1 || was.packed) return;
    g->m = 1, g->n = was.m, g->column = 1;
    g->a = was.b, g->b = was.a;
    g->aarg = was.barg, g->barg = was.aarg;
    g->ta = 0, g->tb = !was.ta;
}

static void set_strides(gemm *g) {
    g->arow = g->ta ? 1 : g->k, g->acol = g->ta ? g->m : 1;
    g->brow = g->tb ? 1 : g->n, g->bcol = g->tb ? g->k : 1;
}

/* Scratch: of the threads, then the shared b, then partial sums. */
static int64_t scratch_bytes(const zk_call *c, const gemm *g) {
    const int64_t partial = g->kcuts > 1 ? g->kcuts * g->m * g->n : 0;
    return (c->threads * pack_floats(g) + shared_floats(g) + partial) * (int64_t)sizeof(float);
}

static void take_scratch(gemm *g) {
    g->shared = (float *)g->call->scratch + g->call->threads * pack_floats(g);
    g->partial = g->shared + shared_floats(g);
}

/* The product of a call. Its blocks, and so its scratch, are the same whoever multiplies. */
static gemm product(const zk_call *c, const float *a, const float *b) {
    const zk_arg *y = c->a, *aarg = c->a + 1, *barg = c->a + 2;
    gemm g = {.call = c, .a = a, .b = b, .aarg = aarg, .barg = barg};
    g.ta = c->attr[ZK_MATMUL_TRANSPOSE_A] != 0, g.tb = c->attr[ZK_MATMUL_TRANSPOSE_B] != 0;
    g.m = y->dims[y->ndim - 2], g.n = y->dims[y->ndim - 1];
    g.k = aarg->dims[aarg->ndim - 1 - g.ta];
    g.batch = zk_span(y, 0, y->ndim - 2);
    if (!g.ta && zk_span(barg, 0, barg->ndim - 2) == 1) g.m *= g.batch, g.batch = 1;
    turn_single_column(&g);
    set_strides(&g);
    g.mkl = c->attr[ZK_MATMUL_BY] == ZK_MKL && zk_mkl_takes(g.m, g.n, g.k);
    g.may_cut_k = g.ta && y->ndim == 2;
    choose_parts(&g);
    return g;
}

/* matmul: y = a b.  out y(..., m, n)  in a(..., m, k) or (..., k, m), b(..., k, n) or (..., n, k)
 * attr transpose_a, transpose_b, by */
static void matmul(const zk_call *c) {
    gemm g = product(c, c->p[1], c->p[2]);
    g.y = c->p[0];
    take_scratch(&g);
    multiply(&g);
}

static int64_t matmul_scratch(const zk_call *c) {
    const gemm g = product(c, NULL, NULL);
    return scratch_bytes(c, &g);
}

/* A layer of one row of x for each row of y; w is as it is, or packed. */
static gemm layer(const zk_call *c, int64_t k, int64_t n, int act) {
    gemm g = {.call = c, .batch = 1};
    if (c->p) g.y = c->p[0], g.a = c->p[1], g.b = c->p[2], g.bias = c->p[3];
    if (c->p && c->nin == 4) g.residual = c->p[4];
    g.m = zk_span(c->a, 0, c->a->ndim - 1), g.k = k, g.n = n, g.act = act;
    return g;
}

/* The product of a dense call. */
static gemm dense_product(const zk_call *c) {
    gemm g = layer(c, c->a[2].dims[0], c->a[2].dims[1], (int)c->attr[ZK_DENSE_ACTIVATION]);
    turn_single_column(&g);
    set_strides(&g);
    g.mkl = c->attr[ZK_DENSE_BY] == ZK_MKL && c->a[2].dims[1] != 1;
    g.mkl = g.mkl && zk_mkl_takes(g.m, g.n, g.k);
    choose_parts(&g);
    return g;
}

/* dense: y = act(x w + b [+ residual]).
 * out y(..., n)  in x(..., k), w(k, n), b(n), residual(..., n)  attr act, by */
static void dense(const zk_call *c) {
    gemm g = dense_product(c);
    take_scratch(&g);
    multiply(&g);
}

static int64_t dense_scratch(const zk_call *c) {
    const gemm g = dense_product(c);
    return scratch_bytes(c, &g);
}

/* The product of a dense_packed call; the only column of a single unit is unpacked. */
static gemm packed_product(const zk_call *c) {
    const int act = (int)c->attr[ZK_DENSE_PACKED_ACTIVATION];
    gemm g = layer(c, c->a[2].dims[1], (int64_t)c->attr[ZK_DENSE_PACKED_UNITS], act);
    g.packed = g.n != 1;
    if (!g.packed) g.b = (const float *)c->scratch;
    turn_single_column(&g);
    set_strides(&g);
    choose_parts(&g);
    return g;
}

/* dense_packed: y = act(x w + b [+ residual]).
 * out y(..., n)  in x(..., k), w(ceil(n / 16), k, 16), b(n), residual(..., n)  attr n, act */
static void dense_packed(const zk_call *c) {
    gemm g = packed_product(c);
    float *column = (float *)c->scratch;
    const float *w = c->p[2];
    for (int64_t t = 0; !g.packed && t < g.k; t++) column[t] = w[t * PANEL];
    multiply(&g);
}

static int64_t dense_packed_scratch(const zk_call *c) {
    const gemm g = packed_product(c);
    return g.packed ? scratch_bytes(c, &g) : g.k * (int64_t)sizeof(float);
}

/* pack_dense: panels of 16 columns, zero padded.  out y(ceil(n / 16), k, 16)  in w(k, n) */
static void pack_dense(const zk_call *c) {
    const int64_t k = c->a[1].dims[0], n = c->a[1].dims[1];
    float *y = c->p[0];
    const float *w = c->p[1];
    for (int64_t p = 0; p < panels(n); p++)
        pack_rows(w + p * PANEL, n, k, zk_min(n - p * PANEL, PANEL), y + p * k * PANEL);
}

const zk_kernel ZK_TABLE(gemm)[] = {{"matmul", matmul, matmul_scratch},
                                    {"dense", dense, dense_scratch},
                                    {"dense_packed", dense_packed, dense_packed_scratch},
                                    {"pack_dense", pack_dense, NULL},
                                    {0}};
