/* Optimizer steps over flat float vectors, one pass each: gradient clipping, weight decay, the step
 * itself and the moving average of the weights read and write every vector once. */
#include "update.h"

#define PIECE 16384 /* elements of a task */

typedef struct {
    update u;
    const float *g;
    int64_t n;
} update_job;

static void update_task(void *ctx, int64_t task, int thread) {
    const update_job *j = ctx;
    int64_t from = task * PIECE;
    (void)thread;
    update_range(&j->u, from, zk_min(from + PIECE, j->n), j->g + from);
}

/* optimizer_update: out w(n), slots(n)..., [average(n)]
 * in w(n), g(n), slots(n)..., [average(n)], lr(), step(), scale()
 * attr kind, its numbers, clip, decay, ema; average is there when ema is not -1 */
static void optimizer_update(const zk_call *c) {
    void *const *in = c->p + c->nout, *const *scalars = in + c->nout + 1;
    update_job j = {new_update(c->attr, scalars[0], scalars[1], scalars[2]), in[1], zk_count(c->a)};
    update *u = &j.u;
    u->s.w = c->p[0], u->s.w0 = in[0];
    for (int k = 0; k < u->slots; k++) u->s.out[k] = c->p[1 + k], u->s.in[k] = in[2 + k];
    if (c->nout > 1 + u->slots) u->average = c->p[c->nout - 1], u->average0 = in[c->nout];
    zk_parallel(c, zk_ceil(j.n, PIECE), update_task, &j);
}

const zk_kernel ZK_TABLE(update)[] = {{"optimizer_update", optimizer_update, NULL}, {0}};
