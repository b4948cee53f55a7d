/* Layers on int8 weights: pack_int8, dense_int8, gather_int8. Float inputs are rounded to int8, one
 * scale for each row; the products are summed exactly in int32 by the micro-kernel of gemm_int8.h
 * and scaled back as they are stored. */
#include "ids.h"
#include "int8_product.h"

#define INPUTS (1 << 15) /* numbers of x that one task rounds, about */

/* x(m, k) on its way to int8. */
typedef struct {
    const float *x;
    int8_t *q;              /* (m, row) */
    float *step;            /* (m) 1 / scale, NaN where a row is not finite */
    int64_t m, k, row, per; /* rows of a task */
    float fixed;            /* scale of all rows, 0: each row its own */
} rounding;

static void round_task(void *ctx, int64_t task, int thread) {
    const rounding *r = ctx;
    (void)thread;
    for (int64_t i = task * r->per; i < zk_min((task + 1) * r->per, r->m); i++) {
        const float *x = r->x + i * r->k;
        const float scale = int8_scale(int8_largest(x, r->k), r->fixed, r->step + i);
        int8_round(x, r->k, scale, r->q + i * r->row);
        memset(r->q + i * r->row + r->k, 0, (size_t)(r->row - r->k));
    }
}

static rounding rounding_of(const zk_call *c) {
    rounding r = {.m = zk_span(c->a, 0, c->a->ndim - 1), .k = c->a[1].dims[c->a[1].ndim - 1]};
    r.row = int8_row_bytes(r.k), r.fixed = (float)c->attr[ZK_DENSE_INT8_SCALE];
    r.per = zk_max(1, INPUTS / zk_max(r.k, 1));
    return r;
}

static int64_t rounded_bytes(const rounding *r) {
    return zk_align((r->m + TAP_BEHIND) * r->row + TILE_BYTES);
}

/* dense_int8: y = act(x w / (scale wscale) + b), x rounded to int8 with one scale a row.
 * out y(..., n)  in x(..., k), w(ceil(n / 16), 16 ceil(k / 64), 16, 4) int8, wscale(n), b(n)
 * attr n, act, scale of all rows or 0
 * scratch: of each thread; q(m, row), step(m), 1 / wscale(n) */
static void dense_int8(const zk_call *c) {
    rounding r = rounding_of(c);
    const int64_t n = (int64_t)c->attr[ZK_DENSE_INT8_UNITS], zero = 0;
    char *at = c->scratch + int8_thread_bytes(c->threads);
    r.x = c->p[1], r.q = (int8_t *)at, r.step = (float *)(at + rounded_bytes(&r));
    float *wstep = r.step + r.m;
    for (int64_t i = 0; i < n; i++) wstep[i] = 1 / ((const float *)c->p[3])[i];
    int8_job j = {.steps = zk_ceil(r.k, ZK_INT8_STEP)};
    j.taps = (tap_job){.x = (const char *)r.q, .images = 1, .places = r.m, .period = r.m};
    j.taps.columns = r.m, j.taps.k = r.k,
    j.taps.shape = (tap_shape){&zero, 1, zk_ceil(r.k, 64), r.row};
    j.step = r.step, j.per_step = 1, j.w = c->p[2], j.wstep = wstep, j.bias = c->p[4];
    j.y = stored_of(c->a, c->p[0], 0), j.n = n, j.act = (int)c->attr[ZK_DENSE_INT8_ACTIVATION];
    j.scratch = c->scratch;
    zk_parallel(c, zk_ceil(r.m, r.per), round_task, &r);
    int8_compute(c, &j);
}

static int64_t dense_int8_scratch(const zk_call *c) {
    const rounding r = rounding_of(c);
    const int64_t floats = r.m + (int64_t)c->attr[ZK_DENSE_INT8_UNITS];
    return int8_thread_bytes(c->threads) + rounded_bytes(&r) + floats * 4;
}

/* pack_int8: panels of 16 columns and 4 rows, each tap's rows padded to a multiple of 64 with
 * zeros; the columns of each of `parts` equal parts begin a new panel. -128 has no positive
 * counterpart. out y(parts ceil(n / parts / 16), taps 16 ceil(k / 64), 16, 4)  in w(taps.., k, n);
 * int8  attr parts */
static void pack_int8(const zk_call *c) {
    const int axes = c->a[1].ndim;
    const int64_t taps = zk_span(c->a + 1, 0, axes - 2);
    const int64_t k = c->a[1].dims[axes - 2], n = c->a[1].dims[axes - 1];
    const int64_t padded = zk_ceil(k, 64) * TAP_GROUP;
    const int64_t part = n / (int64_t)c->attr[ZK_PACK_INT8_PARTS], panels = zk_ceil(part, PANEL);
    const int8_t *w = c->p[1];
    int8_t *y = c->p[0], least = 0;
    memset(y, 0, (size_t)zk_count(c->a));
    for (int64_t i = 0; i < taps * k; i++)
        for (int64_t j = 0; j < n; j++, w++) {
            const int64_t column = j % part, panel = j / part * panels + column / PANEL;
            const int64_t tap = panel * taps + i / k, t = i % k;
            const int64_t at = t / ZK_INT8_STEP * PANEL + column % PANEL;
            y[tap * padded + at * ZK_INT8_STEP + t % ZK_INT8_STEP] = *w;
            least = *w < least ? *w : least;
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
