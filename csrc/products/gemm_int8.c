/* Layers on int8 weights: pack_int8, dense_int8, gather_int8. Float inputs are rounded to int8, one
 * scale for each row; the products are summed exactly in int32 by the micro-kernel of gemm_int8.h
 * and scaled back as they are stored. Work is cut by shapes alone. */
#include "gemm_int8.h"
#include "conv_act.h"
#include "ids.h"

#define EPSILON (1.f / ZK_INT8_PER_EPSILON)
#define BLOCK_ROWS 32    /* of a task: a panel is read once for all of them */
#define TASK (1 << 17)   /* multiplications of a task, at least: about 2 us */
#define INPUTS (1 << 15) /* numbers of x that one task rounds, about */

/* y(m, n) = act(x(m, k) w(k, n) / (scale(m) wscale(n)) + bias(n)) */
typedef struct {
    const float *x, *wscale, *bias;
    const int8_t *w; /* (ceil(n / 16), ceil(k / 4), 16, 4) */
    float *y;
    int64_t m, n, k, steps;
    int act;
    float fixed;                /* scale of all rows, 0: each row its own */
    float *step;                /* (m) 1 / scale, NaN where a row is not finite */
    int8_t *q;                  /* (m, 4 * steps) x, rounded */
    uint8_t *size;              /* (m, 4 * steps) |q| */
    uint8_t *negative;          /* (m) whether a row has numbers below 0 */
    int64_t rows, columns, per; /* blocks; rows of a rounding task */
} layer;

/* The bits of the largest magnitude; those of what is not finite come out on top. */
static int32_t largest(const float *x, int64_t k) {
    int32_t top = 0;
    for (int64_t i = 0; i < k; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        top = bits > top ? bits : top;
    }
    return top;
}

static void round_task(void *ctx, int64_t task, int thread) {
    const layer *l = ctx;
    const int64_t wide = l->steps * ZK_INT8_STEP, end = zk_min((task + 1) * l->per, l->m);
    (void)thread;
    for (int64_t i = task * l->per; i < end; i++) {
        const float *x = l->x + i * l->k;
        const int32_t top = largest(x, l->k);
        float most;
        memcpy(&most, &top, 4);
        const int finite = top < 0x7f800000;
        const float scale = l->fixed > 0 ? l->fixed : ZK_INT8_MOST / (most + EPSILON);
        l->step[i] = finite ? 1 / scale : NAN;
        l->negative[i] =
            (uint8_t)int8_round(x, l->k, finite ? scale : 0, l->q + i * wide, l->size + i * wide);
        memset(l->q + i * wide + l->k, 0, (size_t)(wide - l->k));
        memset(l->size + i * wide + l->k, 0, (size_t)(wide - l->k));
    }
}

/* One panel's columns, zero past the last one: 1 / wscale and bias. */
typedef struct {
    float wstep[PANEL], bias[PANEL];
    size_t bytes; /* of a row of y */
} columns;

static columns columns_of(const layer *l, int64_t j) {
    columns c = {.bytes = (size_t)zk_min(l->n - j, PANEL) * sizeof(float)};
    memcpy(c.wstep, l->wscale + j, c.bytes);
    memcpy(c.bias, l->bias + j, c.bytes);
    for (int i = 0; i < PANEL; i++) c.wstep[i] = 1 / c.wstep[i];
    return c;
}

/* y(16) = act(sums * step * wstep + bias) */
ZK_INLINE void scale_back(const int32_t *sums, float step, const columns *c, int act, float *y) {
    for (int v = 0; v < PANEL; v += VL) {
        const vf sum = vf_from_int(*(const vi *)(sums + v));
        const vf r = sum * (vf_set(step) * vf_load(c->wstep + v)) + vf_load(c->bias + v);
        vf_store(y + v, conv_activate(r, act));
    }
}

/* Stores the columns of `rows` rows whose sums are there. */
static void store_rows(const layer *l, const columns *c, const float *step, int64_t rows,
                       const int32_t *sums, float *y) {
    float some[PANEL];
    for (int64_t r = 0; r < rows; r++, sums += PANEL, y += l->n)
        if (c->bytes == sizeof some) scale_back(sums, step[r], c, l->act, y);
        else {
            scale_back(sums, step[r], c, l->act, some);
            memcpy(y, some, c->bytes);
        }
}

/* Rows [i0, i1) of one panel. */
static void run_panel(const layer *l, int64_t p, int64_t i0, int64_t i1) {
    int32_t sums[INT8_ROWS * PANEL];
    const int64_t wide = l->steps * ZK_INT8_STEP;
    const columns c = columns_of(l, p * PANEL);
    int8_tile t = {.w = l->w + p * wide * PANEL, .row = wide, .steps = l->steps, .sums = sums};
    for (int64_t i = i0, rows; i < i1; i += rows) {
        int negative = 0;
        rows = zk_min(i1 - i, INT8_ROWS);
        for (int64_t r = 0; r < rows; r++) negative |= l->negative[i + r];
        t.x = l->q + i * wide, t.size = l->size + i * wide;
        int8_multiply(&t, rows, negative);
        store_rows(l, &c, l->step + i, rows, sums, l->y + i * l->n + p * PANEL);
    }
}

static void run_task(void *ctx, int64_t task, int thread) {
    const layer *l = ctx;
    const int64_t r = task / l->columns, c = task % l->columns, panels = zk_ceil(l->n, PANEL);
    (void)thread;
    for (int64_t p = panels * c / l->columns; p < panels * (c + 1) / l->columns; p++)
        run_panel(l, p, l->m * r / l->rows, l->m * (r + 1) / l->rows);
}

static layer layer_of(const zk_call *c) {
    layer l = {.m = zk_span(c->a, 0, c->a->ndim - 1), .n = (int64_t)c->attr[ZK_DENSE_INT8_UNITS]};
    l.k = c->a[1].dims[c->a[1].ndim - 1], l.steps = c->a[2].dims[1];
    l.act = (int)c->attr[ZK_DENSE_INT8_ACTIVATION];
    l.fixed = (float)c->attr[ZK_DENSE_INT8_SCALE];
    l.rows = zk_max(1, zk_ceil(l.m, BLOCK_ROWS));
    const double work = (double)l.n * (double)l.k * (double)l.m;
    const int64_t wanted = zk_ceil((int64_t)(work / TASK), l.rows);
    l.columns = zk_max(1, zk_min(zk_min(wanted, 16), zk_ceil(l.n, PANEL)));
    l.per = zk_max(1, INPUTS / zk_max(l.k, 1));
    return l;
}

/* dense_int8: y = act(x w / (scale wscale) + b), x rounded to int8 with one scale a row.
 * out y(..., n)  in x(..., k), w(ceil(n / 16), ceil(k / 4), 16, 4) int8, wscale(n), b(n)
 * attr n, act, scale of all rows or 0
 * scratch: q and |q| (m, 4 ceil(k / 4)), step(m), negative(m) */
static void dense_int8(const zk_call *c) {
    layer l = layer_of(c);
    const int64_t bytes = l.m * l.steps * ZK_INT8_STEP;
    if (!l.m || !l.n) return;
    l.y = c->p[0], l.x = c->p[1], l.w = c->p[2], l.wscale = c->p[3], l.bias = c->p[4];
    l.q = (int8_t *)c->scratch;
    l.size = (uint8_t *)c->scratch + zk_align(bytes);
    l.step = (float *)(c->scratch + 2 * zk_align(bytes));
    l.negative = (uint8_t *)(l.step + l.m);
    zk_parallel(c, zk_ceil(l.m, l.per), round_task, &l);
    zk_parallel(c, l.rows * l.columns, run_task, &l);
}

static int64_t dense_int8_scratch(const zk_call *c) {
    const layer l = layer_of(c);
    return 2 * zk_align(l.m * l.steps * ZK_INT8_STEP) + zk_align(l.m * 5);
}

/* pack_int8: panels of 16 columns and 4 rows, zero padded. -128 has no positive counterpart.
 * out y(ceil(n / 16), ceil(k / 4), 16, 4)  in w(k, n); int8 */
static void pack_int8(const zk_call *c) {
    const int64_t k = c->a[1].dims[0], n = c->a[1].dims[1];
    const int8_t *w = c->p[1];
    int8_t *y = c->p[0], least = 0;
    memset(y, 0, (size_t)zk_count(c->a));
    for (int64_t t = 0; t < k; t++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t panel = j / PANEL * c->a->dims[1] + t / ZK_INT8_STEP;
            y[(panel * PANEL + j % PANEL) * ZK_INT8_STEP + t % ZK_INT8_STEP] = w[t * n + j];
            least = w[t * n + j] < least ? w[t * n + j] : least;
        }
    if (least < -ZK_INT8_MOST)
        zk_fail(c, "int8 weights must lie within -127..127. Received: -128.");
}

typedef struct {
    float *y;
    const int8_t *table;
    const float *scale;
    id_list ids;
    int64_t d, per;
} rows_job;

static void rows_task(void *ctx, int64_t task, int thread) {
    const rows_job *j = ctx;
    (void)thread;
    for (int64_t i = task * j->per; i < zk_min((task + 1) * j->per, j->ids.n); i++) {
        const int64_t id = id_at(&j->ids, i);
        const int8_t *restrict from = j->table + id * j->d;
        float *restrict y = j->y + i * j->d;
        for (int64_t t = 0; t < j->d; t++) y[t] = (float)from[t] / j->scale[id];
    }
}

/* gather_int8: y = rows of the table, each divided by its scale.
 * out y(n, d)  in table(rows, d) int8, scale(rows), ids(n) */
static void gather_int8(const zk_call *c) {
    rows_job j = {c->p[0], c->p[1], c->p[2], ids_of(c, 3), row_length(c->a + 1, 1), 0};
    j.per = rows_per_task(j.d * 4);
    if (ids_fit(c, &j.ids, 0, c->a[1].dims[0]))
        zk_parallel(c, zk_ceil(j.ids.n, j.per), rows_task, &j);
}

static int64_t message_bytes(const zk_call *c) {
    (void)c;
    return MESSAGE;
}

const zk_kernel ZK_TABLE(gemm_int8)[] = {{"dense_int8", dense_int8, dense_int8_scratch},
                                         {"pack_int8", pack_int8, NULL},
                                         {"gather_int8", gather_int8, message_bytes},
                                         {0}};
