/* The simple recurrent layer over whole sequences: state = act(projected input + state u), forward
 * and backward: Elman 1990. How rows are cut and products made is rnn.h's business. */
#include "rnn.h"

typedef struct {
    rnn s;
    const float *xp, *h0;
    float *y, *prev, *h;
    int act;
} simple_forward;

ZK_INLINE vf simple_act(vf x, int act) {
    if (act == ZK_TANH) return vf_tanh(x);
    if (act == ZK_RELU) return vf_at_least(x, (vf){0});
    return act == ZK_SIGMOID ? vf_sigmoid(x) : x;
}

/* Its derivative, from its result. */
ZK_INLINE vf simple_slope(vf y, int act) {
    if (act == ZK_TANH) return 1.f - y * y;
    if (act == ZK_RELU) return (vf)((vi)vf_set(1.f) & (y > (vf){0}));
    if (act == ZK_SIGMOID) return y * (1.f - y);
    return vf_set(1.f);
}

/* All blocks of 16 units of all rows at time t. */
static void simple_step(const void *layer, const rnn_memory *m, int64_t b0, int64_t rows,
                        int64_t t) {
    const simple_forward *l = layer;
    const rnn *s = &l->s;
    const int64_t units = s->units;
    for (int64_t u = 0; u < units; u += PANEL) {
        rnn_product(m->h, s->padded, rows, s->packed + u * units, units, 1, m->z, PANEL, 0);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t at = ((b0 + r) * s->steps + t) * units, here = r * s->padded;
            const int kept = rnn_masked(s, b0 + r, t);
            for (int64_t j = u; j < zk_min(units, u + PANEL); j += VL) {
                const int64_t n = zk_min(VL, units - j);
                const vf x = rnn_load(l->xp + at + j, n) + vf_load(m->z + r * PANEL + j - u);
                const vf before = vf_load(m->h + here + j),
                         h = kept ? before : simple_act(x, l->act);
                vf_store(m->next + here + j, h);
                if (l->y) rnn_store(l->y + at + j, h, n);
                if (l->prev) rnn_store(l->prev + at + j, before, n);
            }
        }
    }
}

static void simple_task(void *ctx, int64_t task, int thread) {
    const simple_forward *l = ctx;
    rnn_run(&l->s, simple_step, l, l->h0, l->h, task, thread);
}

static int64_t simple_local(const rnn *s) { return rnn_rows(s) * (2 * s->padded + PANEL); }

/* simple_rnn: out y(b, t, n), prev(b, t, n), h(b, n)
 * in xp(b, t, n), u(n, n), h0(b, n), [mask(b, t)]
 * attr reverse, has mask, 3 flags: which outputs are wanted, act */
static void simple_rnn(const zk_call *c) {
    simple_forward l = {.s = rnn_of(c, c->a + 3, c->a + 4), .act = (int)c->attr[5]};
    int next = 3;
    l.xp = c->p[3], l.s.u = c->p[4], l.h0 = c->p[5];
    l.s.mask = rnn_optional(c, 1, &next);
    l.y = rnn_output(c, 0, 2), l.prev = rnn_output(c, 1, 2), l.h = rnn_output(c, 2, 2);
    rnn_place(&l.s, simple_local(&l.s));
    rnn_pack(&l.s, rnn_pack_block);
    zk_parallel(c, l.s.pieces, simple_task, &l);
}

static int64_t simple_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 3, c->a + 4);
    return rnn_scratch(&s, simple_local(&s));
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct {
    rnn s;
    const float *y, *dy, *dh;
    float *dx, *dh0;
    int act;
} simple_backward;

static void simple_grad_step(const void *layer, float *dh, float *local, int64_t b0, int64_t rows,
                             int64_t t) {
    const simple_backward *l = layer;
    const rnn *s = &l->s;
    const int64_t units = s->units;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = ((b0 + r) * s->steps + t) * units;
        const int kept = rnn_masked(s, b0 + r, t);
        float *carried = dh + r * s->padded;
        for (int64_t j = 0; j < units; j += VL) {
            const int64_t n = zk_min(VL, units - j);
            vf d = vf_load(carried + j);
            if (l->dy) d += rnn_load(l->dy + at + j, n);
            const vf slope = simple_slope(rnn_load(l->y + at + j, n), l->act), none = {0};
            const vf dx = rnn_choose(kept, none, d * slope);
            vf_store(carried + j, rnn_choose(kept, d, none));
            rnn_store(l->dx + at + j, dx, n);
            rnn_store(local + r * units + j, dx, n);
        }
    }
    rnn_product(local, units, rows, s->packed, units, s->padded / PANEL, dh, s->padded, 1);
}

static void simple_grad_task(void *ctx, int64_t task, int thread) {
    const simple_backward *l = ctx;
    rnn_run_back(&l->s, simple_grad_step, l, l->dh, l->dh0, task, thread);
}

static int64_t simple_grad_local(const rnn *s) {
    return rnn_rows(s) * (s->padded + s->units) + PANEL;
}

/* simple_rnn_grad: out dx(b, t, n), dh0(b, n)
 * in y(b, t, n), u(n, n), [mask(b, t)], [dy(b, t, n)], [dh(b, n)]
 * attr reverse, 3 flags: which of the last three inputs are there, act */
static void simple_rnn_grad(const zk_call *c) {
    simple_backward l = {.s = rnn_of(c, c->a + 2, c->a + 3), .act = (int)c->attr[4]};
    int next = 2;
    l.y = c->p[2], l.s.u = c->p[3];
    l.s.mask = rnn_optional(c, 1, &next);
    l.dy = rnn_optional(c, 2, &next), l.dh = rnn_optional(c, 3, &next);
    l.dx = c->p[0], l.dh0 = c->p[1];
    rnn_place(&l.s, simple_grad_local(&l.s));
    rnn_pack(&l.s, rnn_pack_turned_block);
    zk_parallel(c, l.s.pieces, simple_grad_task, &l);
}

static int64_t simple_grad_scratch(const zk_call *c) {
    const rnn s = rnn_of(c, c->a + 2, c->a + 3);
    return rnn_scratch(&s, simple_grad_local(&s));
}

const zk_kernel ZK_TABLE(simple_rnn)[] = {{"simple_rnn", simple_rnn, simple_scratch},
                                          {"simple_rnn_grad", simple_rnn_grad, simple_grad_scratch},
                                          {0}};
