/* Matrix products: matmul, dense, pack_dense, dense_packed. A product is cut into blocks by its
 * shape alone, so that no result depends on the number of threads. A task packs one panel of b at
 * a time into its own scratch memory and runs the micro-kernel of gemm.h over the rows of a. */
#include "gemm.h"
#include "mkl.h"

#define KBLOCK 256            /* steps of k held in L1 as one panel: 16 kB */
#define MBLOCK 256            /* rows of a task: KBLOCK * MBLOCK floats of a stay in L2 */
#define TASK (512 * 1024)     /* least multiplications of a task: about 10 us */
#define DIRECT_ROWS GEMM_ROWS /* up to here b is read where it lies */
#define PANEL_BYTES (KBLOCK * PANEL * (int64_t)sizeof(float))

/* y(m, n) = act(a(m, k) b(k, n) + bias), for each of `batch` matrices. */
typedef struct {
    const zk_call *call;
    int64_t m, n, k, batch;
    const float *a, *b, *bias; /* bias: NULL or n floats */
    float *y;
    int ta, tb, packed;             /* stored turned: a(k, m), b(n, k); b in panels */
    int64_t arow, acol, brow, bcol; /* strides of a(m, k) and b(k, n) in memory */
    int act, mkl;
    int64_t rows, columns; /* blocks of one matrix */
    int64_t chunk;         /* blocks of one task */
} gemm;

/* Rows [i0, i1) and panels [p0, p1) of one matrix. */
typedef struct {
    const float *a, *b;
    float *y;
    int64_t i0, i1, p0, p1;
} part;

static int64_t panels(int64_t n) { return zk_ceil(n, PANEL); }

/* Where part `i` of `parts` equal parts of `n` things starts. */
static int64_t cut(int64_t n, int64_t i, int64_t parts) { return n * i / parts; }

/* out(steps, 16) from b(steps, cols), rows contiguous */
static void pack_rows(const float *b, int64_t brow, int64_t steps, int cols, float *out) {
    if (cols == PANEL) {
        for (int64_t t = 0; t < steps; t++, b += brow, out += PANEL)
            for (int v = 0; v < PV; v++) vf_store(out + v * VL, vf_load(b + v * VL));
        return;
    }
    for (int64_t t = 0; t < steps; t++, b += brow, out += PANEL)
        for (int i = 0; i < PANEL; i++) out[i] = i < cols ? b[i] : 0;
}

/* out(steps, 16) from b(cols, steps) turned, rows contiguous */
static void pack_columns(const float *b, int64_t bcol, int64_t steps, int cols, float *out) {
    for (int i = 0; i < PANEL; i++)
        for (int64_t t = 0; t < steps; t++) out[t * PANEL + i] = i < cols ? b[i * bcol + t] : 0;
}

/* Points the tile at `count` panels of b from panel p, steps k0.. of k; packs them if need be. */
static void panels_of_b(const gemm *g, const float *b, int64_t p, int64_t count, int64_t k0,
                        float *scratch, gemm_tile *t) {
    int64_t cols = zk_min(g->n - p * PANEL, count * PANEL);
    t->cols = (int)cols;
    if (g->packed) {
        t->b = b + p * g->k * PANEL + k0 * PANEL;
        t->bstep = PANEL, t->bpanel = g->k * PANEL;
        return;
    }
    b += p * PANEL * g->bcol + k0 * g->brow;
    if (!g->tb && g->m <= DIRECT_ROWS && cols == count * PANEL) {
        t->b = b, t->bstep = g->brow, t->bpanel = PANEL;
        return;
    }
    t->b = scratch, t->bstep = PANEL, t->bpanel = KBLOCK * PANEL;
    for (int64_t i = 0; i < count; i++, cols -= PANEL, scratch += KBLOCK * PANEL) {
        const int some = (int)zk_min(cols, PANEL);
        if (!g->tb) pack_rows(b + i * PANEL, g->brow, t->k, some, scratch);
        else pack_columns(b + i * PANEL * g->bcol, g->bcol, t->k, some, scratch);
    }
}

/* Runs the tile, which stands at row i0, over rows [i0, i1) in equal shares. */
static void rows_of_a(gemm_tile t, int64_t count, int wide) {
    const int64_t tiles = zk_ceil(count, GEMM_ROWS);
    const gemm_tile first = t;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t at = cut(count, i, tiles), rows = cut(count, i + 1, tiles) - at;
        t.a = first.a + at * t.arow;
        t.c = first.c + at * t.crow;
        if (first.add) t.add = first.add + at * t.addrow;
        gemm_kernel[rows - 1][wide](&t);
    }
}

/* y = act(a b + bias) for one part, by the micro-kernel. */
static void multiply_part(const gemm *g, const part *s, float *scratch) {
    const int64_t rows = s->i1 - s->i0, kparts = zk_max(1, zk_ceil(g->k, KBLOCK));
    const int64_t wide = GEMM_WIDE(zk_ceil(rows, zk_ceil(rows, GEMM_ROWS)));
    for (int64_t q = 0; q < kparts; q++) {
        const int64_t k0 = cut(g->k, q, kparts);
        gemm_tile t = {.arow = g->arow, .acol = g->acol, .crow = g->n};
        t.k = cut(g->k, q + 1, kparts) - k0;
        t.act = q == kparts - 1 ? g->act : ZK_LINEAR;
        for (int64_t p = s->p0, count; p < s->p1; p += count) {
            count = s->p1 - p < wide ? 1 : wide;
            panels_of_b(g, s->b, p, count, k0, scratch, &t);
            t.a = s->a + s->i0 * g->arow + k0 * g->acol;
            t.c = s->y + s->i0 * g->n + p * PANEL;
            t.add = q ? t.c : g->bias ? g->bias + p * PANEL : NULL;
            t.addrow = q ? t.crow : 0;
            rows_of_a(t, rows, count > 1);
            if (t.act > ZK_RELU) gemm_activate(t.c, g->n, rows, t.cols, t.act);
        }
    }
}

/* The same by MKL. */
static void multiply_part_by_mkl(const gemm *g, const part *s) {
    const int64_t j = s->p0 * PANEL, rows = s->i1 - s->i0;
    const int64_t cols = zk_min(g->n, s->p1 * PANEL) - j;
    const zk_matrix a = {s->a + s->i0 * g->arow, g->ta ? g->m : g->k, g->ta};
    const zk_matrix b = {s->b + j * g->bcol, g->tb ? g->k : g->n, g->tb};
    float *y = s->y + s->i0 * g->n + j;
    for (int64_t i = 0; g->bias && i < rows; i++)
        memcpy(y + i * g->n, g->bias + j, (size_t)cols * sizeof *y);
    zk_mkl_multiply(rows, cols, g->k, a, b, g->bias ? 1 : 0, y, g->n);
    if (g->act) gemm_activate(y, g->n, rows, cols, g->act);
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

static void run_task(void *ctx, int64_t task, int thread) {
    const gemm *g = ctx;
    const int64_t blocks = g->rows * g->columns, end = g->batch * blocks, np = panels(g->n);
    float *scratch = (float *)(g->call->scratch + thread * GEMM_WIDEST * PANEL_BYTES);
    for (int64_t u = task * g->chunk; u < zk_min(end, (task + 1) * g->chunk); u++) {
        const int64_t matrix = u / blocks, r = u % blocks / g->columns, c = u % g->columns;
        part s = {.a = g->a, .b = g->b, .y = g->y + matrix * g->m * g->n};
        if (g->batch > 1) {
            s.a += matrix_at(g, g->call->a + 1, matrix);
            s.b += matrix_at(g, g->call->a + 2, matrix);
        }
        s.i0 = cut(g->m, r, g->rows), s.i1 = cut(g->m, r + 1, g->rows);
        s.p0 = cut(np, c, g->columns), s.p1 = cut(np, c + 1, g->columns);
        if (g->mkl) multiply_part_by_mkl(g, &s);
        else multiply_part(g, &s, scratch);
    }
}

/* Chooses blocks of at most MBLOCK rows, and tasks of about 10 us or more. */
static void multiply(gemm *g) {
    if (!g->m || !g->n || !g->batch) return;
    const double work = (double)g->batch * (double)(g->n * (g->k + 1)) * (double)(g->m + 6);
    int64_t tasks = (int64_t)(work / TASK);
    tasks = work < 2 * TASK ? 1 : zk_min(tasks, zk_max(16, (int64_t)(work / (16 * TASK))));
    const int64_t wanted = zk_ceil(tasks, g->batch);
    g->rows = zk_ceil(g->m, MBLOCK);
    g->columns = zk_min(zk_ceil(wanted, g->rows), panels(g->n));
    g->rows = zk_max(g->rows, zk_min(wanted / g->columns, g->m / (4 * GEMM_ROWS)));
    const int64_t blocks = g->batch * g->rows * g->columns;
    g->chunk = zk_ceil(blocks, tasks);
    zk_parallel(g->call, zk_ceil(blocks, g->chunk), run_task, g);
}

static int64_t scratch(const zk_call *c) { return c->threads * GEMM_WIDEST * PANEL_BYTES; }

static void set_strides(gemm *g) {
    g->arow = g->ta ? 1 : g->k, g->acol = g->ta ? g->m : 1;
    g->brow = g->tb ? 1 : g->n, g->bcol = g->tb ? g->k : 1;
}

/* matmul: y = a b.  out y(..., m, n)  in a(..., m, k) or (..., k, m), b(..., k, n) or (..., n, k)
 * attr transpose_a, transpose_b */
static void matmul(const zk_call *c) {
    const zk_arg *y = c->a, *a = c->a + 1, *b = c->a + 2;
    gemm g = {.call = c, .y = c->p[0], .a = c->p[1], .b = c->p[2]};
    g.ta = c->attr[0] != 0, g.tb = c->attr[1] != 0;
    g.m = y->dims[y->ndim - 2], g.n = y->dims[y->ndim - 1], g.k = a->dims[a->ndim - 1 - g.ta];
    g.batch = zk_span(y, 0, y->ndim - 2);
    if (!g.ta && zk_span(b, 0, b->ndim - 2) == 1) g.m *= g.batch, g.batch = 1;
    set_strides(&g);
    g.mkl = zk_mkl_takes(g.m, g.n, g.k);
    multiply(&g);
}

/* dense: y = act(x w + b).  out y(..., n)  in x(..., k), w(k, n), b(n)  attr act */
static void dense(const zk_call *c) {
    const zk_arg *w = c->a + 2;
    gemm g = {.call = c, .y = c->p[0], .a = c->p[1], .b = c->p[2], .bias = c->p[3], .batch = 1};
    g.m = zk_span(c->a, 0, c->a->ndim - 1), g.k = w->dims[0], g.n = w->dims[1];
    g.act = (int)c->attr[0];
    set_strides(&g);
    g.mkl = zk_mkl_takes(g.m, g.n, g.k);
    multiply(&g);
}

/* dense_packed: y = act(x w + b).  out y(..., n)  in x(..., k), w(ceil(n / 16), k, 16), b(n)
 * attr n, act */
static void dense_packed(const zk_call *c) {
    gemm g = {.call = c, .y = c->p[0], .a = c->p[1], .b = c->p[2], .bias = c->p[3], .batch = 1};
    g.m = zk_span(c->a, 0, c->a->ndim - 1), g.k = c->a[2].dims[1], g.n = (int64_t)c->attr[0];
    g.packed = 1;
    g.act = (int)c->attr[1];
    set_strides(&g);
    multiply(&g);
}

/* pack_dense: panels of 16 columns, zero padded.  out y(ceil(n / 16), k, 16)  in w(k, n) */
static void pack_dense(const zk_call *c) {
    const int64_t k = c->a[1].dims[0], n = c->a[1].dims[1];
    float *y = c->p[0];
    const float *w = c->p[1];
    for (int64_t p = 0; p < panels(n); p++)
        pack_rows(w + p * PANEL, n, k, (int)zk_min(n - p * PANEL, PANEL), y + p * k * PANEL);
}

const zk_kernel ZK_TABLE(gemm)[] = {{"matmul", matmul, scratch},
                                    {"dense", dense, scratch},
                                    {"dense_packed", dense_packed, NULL},
                                    {"pack_dense", pack_dense, NULL},
                                    {0}};
