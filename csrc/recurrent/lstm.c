/* LSTM over whole sequences, forward and backward: Hochreiter and Schmidhuber 1997, gates in the
 * order input, forget, candidate, output. In: projected inputs (xW + b for all steps) and the
 * recurrent matrix. How rows are cut and products made is rnn.h's business. */
#include "rnn.h"

enum { IN, FORGET, CANDIDATE, OUT, GATES };

/* One call. Arrays of sequences have strides units (or GATES * units) a step. */
typedef struct {
    rnn s;
    const float *xp, *h0, *c0;
    float *gates, *cells, *prev, *y, *h, *c;
} lstm_forward;

/* The places of one row at one step, and of its rows in scratch memory. */
typedef struct {
    const float *xp, *z, *h;
    float *gates, *cells, *prev, *y, *c, *next;
} lstm_row;

/* n units of a row from unit j on. */
ZK_INLINE void lstm_units(const lstm_row *r, int64_t units, int64_t j, int64_t zj, int64_t n) {
    vf a[GATES];
    for (int g = 0; g < GATES; g++)
        a[g] = vf_load(r->z + g * PANEL + zj) + rnn_load(r->xp + g * units + j, n);
    const vf i = vf_sigmoid(a[IN]), f = vf_sigmoid(a[FORGET]), o = vf_sigmoid(a[OUT]);
    const vf g = vf_tanh(a[CANDIDATE]);
    const vf c = f * vf_load(r->c + j) + i * g, h = o * vf_tanh(c);
    vf_store(r->c + j, c);
    vf_store(r->next + j, h);
    if (r->y) rnn_store(r->y + j, h, n);
    if (r->cells) rnn_store(r->cells + j, c, n);
    if (r->prev) rnn_store(r->prev + j, vf_load(r->h + j), n);
    if (!r->gates) return;
    rnn_store(r->gates + IN * units + j, i, n);
    rnn_store(r->gates + FORGET * units + j, f, n);
    rnn_store(r->gates + CANDIDATE * units + j, g, n);
    rnn_store(r->gates + OUT * units + j, o, n);
}

/* The same where the mask keeps the state. */
ZK_INLINE void lstm_kept(const lstm_row *r, int64_t j, int64_t n) {
    const vf h = vf_load(r->h + j);
    vf_store(r->next + j, h);
    if (r->y) rnn_store(r->y + j, h, n);
    if (r->cells) rnn_store(r->cells + j, vf_load(r->c + j), n);
    if (r->prev) rnn_store(r->prev + j, h, n);
}

static int64_t lstm_local(const rnn *s) { return rnn_rows(s) * (3 * s->padded + GATES * PANEL); }

/* The cells lie behind the states and the products of a block. */
static float *lstm_cells(const rnn *s, int thread) {
    return s->scratch + thread * s->local + rnn_rows(s) * (2 * s->padded + GATES * PANEL);
}

static lstm_row lstm_row_of(const lstm_forward *l, const rnn_memory *m, int64_t b, int64_t r,
                            int64_t t) {
    const int64_t at = (b * l->s.steps + t) * l->s.units, here = r * l->s.padded;
    lstm_row row = {.xp = l->xp + GATES * at, .z = m->z + r * GATES * PANEL, .h = m->h + here};
    row.c = m->z + rnn_rows(&l->s) * GATES * PANEL + here, row.next = m->next + here;
    row.gates = rnn_at(l->gates, GATES * at), row.cells = rnn_at(l->cells, at);
    row.prev = rnn_at(l->prev, at), row.y = rnn_at(l->y, at);
    return row;
}

/* All blocks of 16 units of all rows at time t. */
static void lstm_step(const void *layer, const rnn_memory *m, int64_t b0, int64_t rows, int64_t t) {
    const lstm_forward *l = layer;
    const rnn *s = &l->s;
    const int64_t units = s->units, far = (s->reverse ? -1 : 1) * GATES * units;
    for (int64_t u = 0; u < units; u += PANEL) {
        const int64_t end = zk_min(units, u + PANEL);
        rnn_product(m->h, s->padded, rows, s->packed + u * GATES * units, units, GATES, m->z,
                    GATES * PANEL, 0);
        for (int64_t r = 0; r < rows; r++) {
            const lstm_row row = lstm_row_of(l, m, b0 + r, r, t);
            const int kept = rnn_masked(s, b0 + r, t);
            rnn_prefetch(row.xp + u, GATES, units, far);
            if (row.cells) __builtin_prefetch(row.cells + u + far / GATES, 1);
            if (row.prev) __builtin_prefetch(row.prev + u + far / GATES, 1);
            for (int64_t j = u; j < end; j += VL) {
                if (kept) lstm_kept(&row, j, end - j);
                else if (end - j >= VL) lstm_units(&row, units, j, j - u, VL);
                else lstm_units(&row, units, j, j - u, end - j);
            }
        }
    }
}

static void lstm_task(void *ctx, int64_t task, int thread) {
    const lstm_forward *l = ctx;
    const rnn *s = &l->s;
    const int64_t b0 = s->batch * task / s->pieces, rows = s->batch * (task + 1) / s->pieces - b0;
    float *cells = lstm_cells(s, thread);
    rnn_fetch(s, l->c0 + b0 * s->units, rows, cells);
    rnn_run(s, lstm_step, l, l->h0, l->h, task, thread);
    rnn_deliver(s, cells, rows, rnn_at(l->c, b0 * s->units));
}

/* lstm: out gates(b, t, 4n), cells(b, t, n), prev(b, t, n), y(b, t, n), h(b, n), c(b, n)
 * in xp(b, t, 4n), u(n, 4n), h0(b, n), c0(b, n), [mask(b, t)]
 * attr reverse, has mask, 6 flags: which outputs are wanted */
static void lstm(const zk_call *c) {
    lstm_forward l = {.s = rnn_of(c, c->a + 6, c->a + 7)};
    int next = 4;
    l.xp = c->p[6], l.s.u = c->p[7], l.h0 = c->p[8], l.c0 = c->p[9];
    l.s.mask = rnn_optional(c, 1, &next);
    l.gates = rnn_output(c, 0, 2), l.cells = rnn_output(c, 1, 2), l.prev = rnn_output(c, 2, 2);
    l.y = rnn_output(c, 3, 2), l.h = rnn_output(c, 4, 2), l.c = rnn_output(c, 5, 2);
    rnn_place(&l.s, lstm_local(&l.s));
    rnn_pack(&l.s, rnn_pack_block);
    zk_parallel(c, l.s.pieces, lstm_task, &l);
}

static int64_t lstm_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 6, c->a + 7);
    return rnn_scratch(&s, lstm_local(&s));
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct {
    rnn s;
    const float *gates, *cells, *c0, *dy, *dh, *dc;
    float *dz, *dh0, *dc0;
} lstm_backward;

/* A row at one step; dh, dc and dzs lie in scratch memory. */
typedef struct {
    const float *gates, *cell, *before, *dy;
    float *dz, *dzs, *dh, *dc;
} lstm_grad_row;

/* n units from unit j on: the gradients before the gates; dh becomes 0, dc that of the step before.
 * Where the mask keeps the state, dh and dc pass and the gates get nothing. */
ZK_INLINE void lstm_grad_units(const lstm_grad_row *r, int kept, int64_t units, int64_t j,
                               int64_t n) {
    const float *gates = r->gates + j;
    vf dh = vf_load(r->dh + j), d[GATES] = {{0}};
    if (r->dy) dh += rnn_load(r->dy + j, n);
    if (!kept) {
        const vf i = rnn_load(gates + IN * units, n), f = rnn_load(gates + FORGET * units, n);
        const vf g = rnn_load(gates + CANDIDATE * units, n), o = rnn_load(gates + OUT * units, n);
        const vf tc = vf_tanh(rnn_load(r->cell + j, n));
        const vf dc = vf_load(r->dc + j) + dh * o * (1.f - tc * tc);
        d[IN] = dc * g * i * (1.f - i);
        d[FORGET] = dc * rnn_load(r->before + j, n) * f * (1.f - f);
        d[CANDIDATE] = dc * i * (1.f - g * g);
        d[OUT] = dh * tc * o * (1.f - o);
        vf_store(r->dc + j, dc * f);
        dh = (vf){0};
    }
    vf_store(r->dh + j, dh);
    for (int g = 0; g < GATES; g++) {
        rnn_store(r->dz + g * units + j, d[g], n);
        rnn_store(r->dzs + g * units + j, d[g], n);
    }
}

static void lstm_grad_row_run(const lstm_backward *l, int64_t b, int64_t t,
                              const lstm_grad_row *scratch) {
    const rnn *s = &l->s;
    const int64_t units = s->units, at = (b * s->steps + t) * units;
    const int64_t step = s->reverse ? units : -units; /* to the step that ran before */
    lstm_grad_row r = *scratch;
    r.gates = l->gates + GATES * at, r.cell = l->cells + at, r.dz = l->dz + GATES * at;
    r.before = t == rnn_time(s, 0) ? l->c0 + b * units : l->cells + at + step;
    r.dy = l->dy ? l->dy + at : NULL;
    const int kept = rnn_masked(s, b, t);
    for (int64_t j = 0; j < units; j += VL) {
        rnn_prefetch(r.gates + j, GATES, units, GATES * step);
        __builtin_prefetch(r.before + j + step);
        if (units - j >= VL) lstm_grad_units(&r, kept, units, j, VL);
        else lstm_grad_units(&r, kept, units, j, units - j);
    }
}

static int64_t lstm_grad_local(const rnn *s) {
    return rnn_rows(s) * (2 * s->padded + GATES * s->units) + PANEL;
}

/* local: gradients of the cells, then of the gates */
static void lstm_grad_step(const void *layer, float *dh, float *local, int64_t b0, int64_t rows,
                           int64_t t) {
    const lstm_backward *l = layer;
    const rnn *s = &l->s;
    const int64_t width = GATES * s->units;
    float *dzs = local + rnn_rows(s) * s->padded;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t here = r * s->padded;
        const lstm_grad_row row = {.dzs = dzs + r * width, .dh = dh + here, .dc = local + here};
        lstm_grad_row_run(l, b0 + r, t, &row);
    }
    rnn_product(dzs, width, rows, s->packed, width, s->padded / PANEL, dh, s->padded, 1);
}

static void lstm_grad_task(void *ctx, int64_t task, int thread) {
    const lstm_backward *l = ctx;
    const rnn *s = &l->s;
    const int64_t b0 = s->batch * task / s->pieces, rows = s->batch * (task + 1) / s->pieces - b0;
    float *dc = s->scratch + thread * s->local + rnn_rows(s) * s->padded;
    rnn_fetch(s, l->dc ? l->dc + b0 * s->units : NULL, rows, dc);
    rnn_run_back(s, lstm_grad_step, l, l->dh, l->dh0, task, thread);
    rnn_deliver(s, dc, rows, l->dc0 + b0 * s->units);
}

/* lstm_grad: out dz(b, t, 4n), dh0(b, n), dc0(b, n)
 * in gates(b, t, 4n), cells(b, t, n), u(n, 4n), c0(b, n), [mask(b, t)], [dy(b, t, n)], [dh(b, n)],
 * [dc(b, n)]  attr reverse, 4 flags: which of the last four inputs are there */
static void lstm_grad(const zk_call *c) {
    lstm_backward l = {.s = rnn_of(c, c->a + 3, c->a + 5)};
    int next = 4;
    l.gates = c->p[3], l.cells = c->p[4], l.s.u = c->p[5], l.c0 = c->p[6];
    l.s.mask = rnn_optional(c, 1, &next);
    l.dy = rnn_optional(c, 2, &next), l.dh = rnn_optional(c, 3, &next);
    l.dc = rnn_optional(c, 4, &next);
    l.dz = c->p[0], l.dh0 = c->p[1], l.dc0 = c->p[2];
    rnn_place(&l.s, lstm_grad_local(&l.s));
    rnn_pack(&l.s, rnn_pack_turned_block);
    zk_parallel(c, l.s.pieces, lstm_grad_task, &l);
}

static int64_t lstm_grad_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 3, c->a + 5);
    return rnn_scratch(&s, lstm_grad_local(&s));
}

const zk_kernel ZK_TABLE(lstm)[] = {
    {"lstm", lstm, lstm_scratch}, {"lstm_grad", lstm_grad, lstm_grad_scratch}, {0}};
