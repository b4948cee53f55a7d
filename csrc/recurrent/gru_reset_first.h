/* GRU with the reset gate before the product (reset_after=False), forward and backward: Cho et al.
 * 2014 as printed. In: projected inputs (xW + b for all steps) and the recurrent matrix, gates in
 * the order update, reset, candidate. A step has two products: the candidate's needs the reset gate
 * of all units. */
#include "rnn.h"

/* The update gate into `next`, reset gate * state into `more`. */
ZK_INLINE void first_open(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                          int inner) {
    (void)act;
    const vf before = vf_load(r->h + j);
    vf a[2];
    for (int g = 0; g < 2; g++) {
        const vf x = rnn_load(s->xp + rnn_gate(s, r, g, j), n);
        a[g] = rnn_act(x + vf_load(r->z + g * r->wide + j), inner);
    }
    vf_store(r->next + j, a[UPDATE]);
    vf_store(r->more + j, a[RESET] * before);
    rnn_keep(s->extra, r->at + j, a[RESET] * before, n);
    for (int g = 0; g < 2; g++) rnn_keep(s->gates_at, rnn_gate(s, r, g, j), a[g], n);
}

/* The new state. */
ZK_INLINE void first_close(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                           int inner) {
    (void)inner;
    const int64_t candidate = rnn_gate(s, r, CANDIDATE, j);
    const vf update = vf_load(r->next + j), before = vf_load(r->h + j);
    const vf a = rnn_act(rnn_load(s->xp + candidate, n) + vf_load(r->z + j), act);
    rnn_keep(s->gates_at, candidate, a, n);
    rnn_leave(s, r, j, n, rnn_choose(r->kept, before, update * before + (1.f - update) * a));
}

static void first_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_groups, m, s->u, m->h, first_open);
    RNN_USUAL(s, rnn_groups, m, s->u + 1, m->more, first_close);
}

/* gru_reset_first: out gates(b, t, 3n), product(b, t, n) of reset gate and state, prev(b, t, n),
 * y(b, t, n), h(b, n)  in xp(b, t, 3n), u(n, 3n), h0(b, n), [mask(b, t)] */
static void gru_reset_first(const zk_call *c) {
    rnn s = rnn_forward(c, 0, 0);
    rnn_pack(&s, UPDATE, 2, s.u);
    rnn_pack(&s, CANDIDATE, 1, s.u + 1);
    rnn_start(&s, first_step);
}

/* Before the candidate's product: the gradients of candidate and update gate. */
ZK_INLINE void first_back_open(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                               int inner) {
    const vf d = rnn_arriving(s, r, j, n), none = {0};
    const vf z = rnn_load(s->gates_at + rnn_gate(s, r, UPDATE, j), n);
    const vf a = rnn_load(s->gates_at + rnn_gate(s, r, CANDIDATE, j), n);
    const vf straight = rnn_load(s->prev + r->at + j, n) - a;
    const vf candidate = rnn_before(d * (1.f - z), a, act),
             update = rnn_before(d * straight, z, inner);
    rnn_store(r->z + CANDIDATE * s->units + j, rnn_choose(r->kept, none, candidate), n);
    rnn_store(r->z + UPDATE * s->units + j, rnn_choose(r->kept, none, update), n);
    vf_store(r->h + j, rnn_choose(r->kept, d, d * z));
}

/* After it, which lies in `next`: the gradient of the reset gate; all three go to dx. */
ZK_INLINE void first_back_close(const rnn *s, const rnn_row *r, int64_t j, int64_t n, int act,
                                int inner) {
    (void)act;
    const vf reset = rnn_load(s->gates_at + rnn_gate(s, r, RESET, j), n), none = {0};
    const vf d = vf_load(r->next + j), before = rnn_load(s->prev + r->at + j, n);
    const vf dr = rnn_before(d * before, reset, inner);
    if (!r->kept) vf_store(r->h + j, vf_load(r->h + j) + d * reset);
    rnn_store(r->z + RESET * s->units + j, rnn_choose(r->kept, none, dr), n);
    for (int g = 0; g < 3; g++)
        rnn_store(s->dx + rnn_gate(s, r, g, j), rnn_load(r->z + g * s->units + j, n), n);
}

static void first_back_step(const rnn *s, const rnn_rows *m) {
    RNN_USUAL(s, rnn_back_units, m, first_back_open);
    rnn_back_product(s->u + 1, m, m->z + CANDIDATE * s->units, m->next, 0);
    RNN_USUAL(s, rnn_back_units, m, first_back_close);
    rnn_back_product(s->u, m, m->z, m->h, 1);
}

/* gru_reset_first_grad: out dx(b, t, 3n), dh0(b, n)
 * in gates(b, t, 3n), prev(b, t, n), u(n, 3n), [mask(b, t)], [dy(b, t, n)], [dh(b, n)] */
static void gru_reset_first_grad(const zk_call *c) {
    rnn s = rnn_of(c, 1);
    s.dx = c->p[0], s.h = c->p[1], s.gates_at = c->p[2], s.prev = c->p[3], s.matrix = c->p[4];
    rnn_given(&s, 3, 0);
    rnn_pack(&s, UPDATE, 2, s.u);
    rnn_pack(&s, CANDIDATE, 1, s.u + 1);
    rnn_start(&s, first_back_step);
}
