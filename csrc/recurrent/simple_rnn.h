/* The simple recurrent layer: state = act(projected input + state u), forward and backward: Elman
 * 1990. */
#include "rnn.h"

ZK_INLINE void simple_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                            int inner) {
    (void)inner;
    vf h = vf_load(r->h + j);
    if (!r->kept) h = rnn_act(rnn_load(s->xp + r->at + j, n) + vf_load(r->z + j), act);
    rnn_leave(s, r, j, n, h);
}

static void simple_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_groups, m, s->u, m->h, simple_units);
}

/* simple_rnn: out prev(b, t, n), y(b, t, n), h(b, n)  in xp(b, t, n), u(n, n), h0(b, n),
 * [mask(b, t)] */
static void simple_rnn(const zk_call *c) {
    rnn s = rnn_forward(c, 0, 0);
    rnn_pack(&s, 0, 1, s.u);
    rnn_start(&s, simple_step);
}

ZK_INLINE void simple_back_units(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                                 int inner) {
    (void)inner;
    const vf d = rnn_arriving(s, r, j, n), none = {0};
    const vf y = rnn_load(s->gates_at + r->at + j, n);
    const vf dx = rnn_choose(r->kept, none, rnn_before(d, y, act));
    vf_store(r->h + j, rnn_choose(r->kept, d, none));
    rnn_store(s->dx + r->at + j, dx, n);
    rnn_store(r->z + j, dx, n);
}

static void simple_back_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_back_units, m, simple_back_units);
    rnn_back_product(s->u, m, m->z, m->h, 1);
}

/* simple_rnn_grad: out dx(b, t, n), dh0(b, n)  in y(b, t, n), u(n, n), [mask(b, t)],
 * [dy(b, t, n)], [dh(b, n)] */
static void simple_rnn_grad(const zk_call *c) {
    rnn s = rnn_of(c, 1);
    s.dx = c->p[0], s.h = c->p[1], s.gates_at = c->p[2], s.matrix = c->p[3];
    rnn_given(&s, 2, 0);
    rnn_pack(&s, 0, 1, s.u);
    rnn_start(&s, simple_back_step);
}
