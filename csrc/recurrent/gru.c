/* GRU over whole sequences with the reset gate after the product (Keras' default, and cuDNN's),
 * forward and backward: Cho et al. 2014, gates in the order update, reset, candidate. In: projected
 * inputs (xW + b for all steps), the recurrent matrix and its bias. gru_reset_first.c has the
 * original form. */
#include "rnn.h"

enum { UPDATE, RESET, CANDIDATE, GATES };

typedef struct {
    rnn s;
    const float *xp, *bias, *h0;
    float *gates, *inner, *prev, *y, *h;
} gru_forward;

/* The places of one row at one step, and of its rows in scratch memory. */
typedef struct {
    const float *xp, *bias, *z, *h;
    float *gates, *inner, *prev, *y, *next;
} gru_row;

/* n units of a row from unit j on. */
ZK_INLINE void gru_units(const gru_row *r, int64_t units, int64_t j, int64_t zj, int64_t n) {
    vf x[GATES], p[GATES];
    for (int g = 0; g < GATES; g++) {
        x[g] = rnn_load(r->xp + g * units + j, n);
        p[g] = vf_load(r->z + g * PANEL + zj) + rnn_load(r->bias + g * units + j, n);
    }
    const vf z = vf_sigmoid(x[UPDATE] + p[UPDATE]), reset = vf_sigmoid(x[RESET] + p[RESET]);
    const vf a = vf_tanh(x[CANDIDATE] + reset * p[CANDIDATE]);
    const vf before = vf_load(r->h + j), h = z * before + (1.f - z) * a;
    vf_store(r->next + j, h);
    if (r->y) rnn_store(r->y + j, h, n);
    if (r->inner) rnn_store(r->inner + j, p[CANDIDATE], n);
    if (r->prev) rnn_store(r->prev + j, before, n);
    if (!r->gates) return;
    rnn_store(r->gates + UPDATE * units + j, z, n);
    rnn_store(r->gates + RESET * units + j, reset, n);
    rnn_store(r->gates + CANDIDATE * units + j, a, n);
}

/* The same where the mask keeps the state. */
ZK_INLINE void gru_kept(const gru_row *r, int64_t j, int64_t n) {
    const vf h = vf_load(r->h + j);
    vf_store(r->next + j, h);
    if (r->y) rnn_store(r->y + j, h, n);
    if (r->prev) rnn_store(r->prev + j, h, n);
}

static gru_row gru_row_of(const gru_forward *l, const rnn_memory *m, int64_t b, int64_t r,
                          int64_t t) {
    const int64_t at = (b * l->s.steps + t) * l->s.units, here = r * l->s.padded;
    gru_row row = {.xp = l->xp + GATES * at, .bias = l->bias, .h = m->h + here};
    row.z = m->z + r * GATES * PANEL, row.next = m->next + here;
    row.gates = rnn_at(l->gates, GATES * at), row.inner = rnn_at(l->inner, at);
    row.prev = rnn_at(l->prev, at), row.y = rnn_at(l->y, at);
    return row;
}

/* All blocks of 16 units of all rows at time t. */
static void gru_step(const void *layer, const rnn_memory *m, int64_t b0, int64_t rows, int64_t t) {
    const gru_forward *l = layer;
    const rnn *s = &l->s;
    const int64_t units = s->units, far = (s->reverse ? -1 : 1) * GATES * units;
    for (int64_t u = 0; u < units; u += PANEL) {
        const int64_t end = zk_min(units, u + PANEL);
        rnn_product(m->h, s->padded, rows, s->packed + u * GATES * units, units, GATES, m->z,
                    GATES * PANEL, 0);
        for (int64_t r = 0; r < rows; r++) {
            const gru_row row = gru_row_of(l, m, b0 + r, r, t);
            const int kept = rnn_masked(s, b0 + r, t);
            rnn_prefetch(row.xp + u, GATES, units, far);
            for (int64_t j = u; j < end; j += VL) {
                if (kept) gru_kept(&row, j, end - j);
                else if (end - j >= VL) gru_units(&row, units, j, j - u, VL);
                else gru_units(&row, units, j, j - u, end - j);
            }
        }
    }
}

static void gru_task(void *ctx, int64_t task, int thread) {
    const gru_forward *l = ctx;
    rnn_run(&l->s, gru_step, l, l->h0, l->h, task, thread);
}

static int64_t gru_local(const rnn *s) { return rnn_rows(s) * (2 * s->padded + GATES * PANEL); }

/* gru: out gates(b, t, 3n), inner(b, t, n), prev(b, t, n), y(b, t, n), h(b, n)
 * in xp(b, t, 3n), u(n, 3n), bias(3n), h0(b, n), [mask(b, t)]
 * attr reverse, has mask, 5 flags: which outputs are wanted */
static void gru(const zk_call *c) {
    gru_forward l = {.s = rnn_of(c, c->a + 5, c->a + 6)};
    int next = 4;
    l.xp = c->p[5], l.s.u = c->p[6], l.bias = c->p[7], l.h0 = c->p[8];
    l.s.mask = rnn_optional(c, 1, &next);
    l.gates = rnn_output(c, 0, 2), l.inner = rnn_output(c, 1, 2), l.prev = rnn_output(c, 2, 2);
    l.y = rnn_output(c, 3, 2), l.h = rnn_output(c, 4, 2);
    rnn_place(&l.s, gru_local(&l.s));
    rnn_pack(&l.s, rnn_pack_block);
    zk_parallel(c, l.s.pieces, gru_task, &l);
}

static int64_t gru_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 5, c->a + 6);
    return rnn_scratch(&s, gru_local(&s));
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct {
    rnn s;
    const float *gates, *inner, *prev, *dy, *dh;
    float *dx, *dp, *dh0;
} gru_backward;

/* A row at one step; dh and dps lie in scratch memory. */
typedef struct {
    const float *gates, *inner, *prev, *dy;
    float *dx, *dp, *dps, *dh;
} gru_grad_row;

/* n units from unit j on: the gradients before the gates, by the input's (dx) and the state's (dp)
 * part; dh becomes what passes straight to the step before. */
ZK_INLINE void gru_grad_units(const gru_grad_row *r, int kept, int64_t units, int64_t j,
                              int64_t n) {
    const float *gates = r->gates + j;
    vf dh = vf_load(r->dh + j), d[GATES] = {{0}}, inner = {0};
    if (r->dy) dh += rnn_load(r->dy + j, n);
    if (!kept) {
        const vf z = rnn_load(gates + UPDATE * units, n),
                 a = rnn_load(gates + CANDIDATE * units, n);
        const vf reset = rnn_load(gates + RESET * units, n);
        d[CANDIDATE] = dh * (1.f - z) * (1.f - a * a);
        d[UPDATE] = dh * (rnn_load(r->prev + j, n) - a) * z * (1.f - z);
        d[RESET] = d[CANDIDATE] * rnn_load(r->inner + j, n) * reset * (1.f - reset);
        inner = d[CANDIDATE] * reset;
        dh *= z;
    }
    vf_store(r->dh + j, dh);
    for (int g = 0; g < GATES; g++) rnn_store(r->dx + g * units + j, d[g], n);
    d[CANDIDATE] = inner;
    for (int g = 0; g < GATES; g++) {
        rnn_store(r->dp + g * units + j, d[g], n);
        rnn_store(r->dps + g * units + j, d[g], n);
    }
}

static void gru_grad_row_run(const gru_backward *l, int64_t b, int64_t t,
                             const gru_grad_row *scratch) {
    const rnn *s = &l->s;
    const int64_t units = s->units, at = (b * s->steps + t) * units;
    const int64_t step = s->reverse ? units : -units; /* to the step that ran before */
    gru_grad_row r = *scratch;
    r.gates = l->gates + GATES * at, r.inner = l->inner + at, r.prev = l->prev + at;
    r.dx = l->dx + GATES * at, r.dp = l->dp + GATES * at, r.dy = l->dy ? l->dy + at : NULL;
    const int kept = rnn_masked(s, b, t);
    for (int64_t j = 0; j < units; j += VL) {
        rnn_prefetch(r.gates + j, GATES, units, GATES * step);
        if (units - j >= VL) gru_grad_units(&r, kept, units, j, VL);
        else gru_grad_units(&r, kept, units, j, units - j);
    }
}

static void gru_grad_step(const void *layer, float *dh, float *local, int64_t b0, int64_t rows,
                          int64_t t) {
    const gru_backward *l = layer;
    const rnn *s = &l->s;
    const int64_t width = GATES * s->units;
    for (int64_t r = 0; r < rows; r++) {
        const gru_grad_row row = {.dps = local + r * width, .dh = dh + r * s->padded};
        gru_grad_row_run(l, b0 + r, t, &row);
    }
    rnn_product(local, width, rows, s->packed, width, s->padded / PANEL, dh, s->padded, 1);
}

static void gru_grad_task(void *ctx, int64_t task, int thread) {
    const gru_backward *l = ctx;
    rnn_run_back(&l->s, gru_grad_step, l, l->dh, l->dh0, task, thread);
}

static int64_t gru_grad_local(const rnn *s) {
    return rnn_rows(s) * (s->padded + GATES * s->units) + PANEL;
}

/* gru_grad: out dx(b, t, 3n), dp(b, t, 3n), dh0(b, n)
 * in gates(b, t, 3n), inner(b, t, n), prev(b, t, n), u(n, 3n), [mask(b, t)], [dy(b, t, n)],
 * [dh(b, n)]  attr reverse, 3 flags: which of the last three inputs are there */
static void gru_grad(const zk_call *c) {
    gru_backward l = {.s = rnn_of(c, c->a + 3, c->a + 6)};
    int next = 4;
    l.gates = c->p[3], l.inner = c->p[4], l.prev = c->p[5], l.s.u = c->p[6];
    l.s.mask = rnn_optional(c, 1, &next);
    l.dy = rnn_optional(c, 2, &next), l.dh = rnn_optional(c, 3, &next);
    l.dx = c->p[0], l.dp = c->p[1], l.dh0 = c->p[2];
    rnn_place(&l.s, gru_grad_local(&l.s));
    rnn_pack(&l.s, rnn_pack_turned_block);
    zk_parallel(c, l.s.pieces, gru_grad_task, &l);
}

static int64_t gru_grad_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 3, c->a + 6);
    return rnn_scratch(&s, gru_grad_local(&s));
}

const zk_kernel ZK_TABLE(gru)[] = {
    {"gru", gru, gru_scratch}, {"gru_grad", gru_grad, gru_grad_scratch}, {0}};
