/* Softmax attention and its gradient, block by block (Dao et al. 2022, FlashAttention). Forward: a
 * running maximum and sum for each query. Backward: probabilities are computed again from the
 * scores, the maximum and the sum that forward kept. */
#include "attention.h"
#include "attention_grad_tiles.h"
#include "attention_tiles.h"

/* Scratch floats of a thread: packed keys and values of a block, a tile, then forward's maxima and
 * sums of a chunk; backward has two tiles, and packed queries, gradients and keys as well, or what
 * tile registers want. */
static int64_t forward_floats(const attention *w) {
    const int64_t packed = KEYS * (padded(w->width) + padded(w->depth));
    return packed + ROWS * WIDTH + padded(2 * w->chunk) + (w->rounds ? rounded_floats(w) : 0);
}
static int64_t backward_floats(const attention *w) {
    if (w->rounds) return tile_bench_floats(w);
    const int64_t width = padded(w->width), depth = padded(w->depth);
    return KEYS * (2 * width + depth) + ROWS * (width + depth) + 2 * ROWS * WIDTH + ROWS;
}

static float largest(const float *x, int64_t n, float top) {
    vf a = vf_set(top), b = a;
    for (int64_t i = 0; i < n; i += PANEL)
        for (int v = 0; v < PANEL; v += 2 * VL) {
            a = vf_at_least(vf_load(x + i + v), a);
            if (PV > 1) b = vf_at_least(vf_load(x + i + v + VL), b);
        }
    return vf_top(vf_at_least(a, b))[0];
}

/* x = exp(x - top); returns the sum. n is a multiple of 16. */
static float exponentials(float *x, int64_t n, float top) {
    vf sum[PV] = {{0}};
    for (int64_t i = 0; i < n; i += PANEL)
        for (int v = 0; v < PV; v++) {
            const vf e = vf_exp_flush(vf_load(x + i + v * VL) - top);
            vf_store(x + i + v * VL, e);
            sum[v] += e;
        }
    for (int v = 1; v < PV; v++) sum[0] += sum[v];
    return vf_total(sum[0])[0];
}

static void times(float *x, int64_t n, float by) {
    for (int64_t i = 0; i < n; i++) x[i] *= by;
}

/* Takes rows of scores, `WIDTH` apart, into their queries' maxima and sums; what was summed so far
 * is scaled down when a maximum rises. All maxima come first: a row is one long chain, and with its
 * maximum in front two of them no longer overlap. */
static void softmax_rows(const attention *w, const block *s, float *x, float *max, float *sum) {
    const int64_t n = padded(s->keys);
    float top[ROWS] = {0}, fall[ROWS];
    for (int64_t r = 0; r < s->rows; r++) top[r] = largest(x + r * WIDTH, n, max[r]);
    for (int64_t r = 0; r < s->rows; r += VL)
        vf_store(fall + r, vf_exp_flush(vf_load(max + r) - vf_load(top + r)));
    for (int64_t r = 0; r < s->rows; r++) {
        const float more = exponentials(x + r * WIDTH, n, top[r]);
        if (s->s && top[r] != max[r])
            times(w->y + query_at(w, s, w->depth) + r * query_step(w, w->depth), w->depth, fall[r]);
        sum[r] = s->s ? sum[r] * fall[r] + more : more;
        max[r] = top[r];
    }
    for (int64_t r = 0; w->threshold && r < s->rows; r++) {
        float factor[KEYS];
        draw_row(w, s, s->t + r, factor);
        for (int64_t i = 0; i < s->keys; i++) x[r * WIDTH + i] *= factor[i];
    }
}

static void forward_block(const attention *w, const block *s, const float *keys,
                          const float *values, float *tile, float *max, float *sum) {
    if (w->rounds) rounded_scores(w, s, keys, tile);
    else scores(w, s, keys, tile);
    softmax_rows(w, s, tile, max, sum);
    if (w->rounds) {
        add_rounded_values(w, s, values, tile);
        return;
    }
    product_of p = {.a = tile, .astep = WIDTH, .b = values, .k = s->keys, .adds = s->s > 0};
    p.c = w->y + query_at(w, s, w->depth), p.crow = query_step(w, w->depth);
    product(p, s->rows, w->depth);
}

/* y / sum, and the statistics: maximum and 1 / sum of each query. */
static void finish(const attention *w, block s, const float *max, const float *sum) {
    for (int64_t r = 0; r < s.rows; r++, s.t++) {
        float *stats = w->stats + 2 * ((s.b * w->heads + s.h) * w->queries + s.t);
        stats[0] = max[r];
        stats[1] = w->blank && max[r] <= MASKED ? 0 : 1 / sum[r];
        times(w->y + query_at(w, &s, w->depth), w->depth, stats[1]);
    }
}

static void pack_block(const attention *w, const block *s, float *keys, float *values) {
    const float *k = w->k + key_at(w, s, w->width), *v = w->v + key_at(w, s, w->depth);
    if (w->rounds) {
        pack_rounded(w, s, keys, values);
        return;
    }
    pack_turned(k, key_step(w, w->width), s->keys, w->width, w->scale, keys);
    pack_plain(v, key_step(w, w->depth), s->keys, w->depth, values);
}

/* One chunk of queries of a head: block after block of keys, packed once each. */
static void forward_piece(const attention *w, int64_t piece, float *scratch) {
    const int64_t head = piece / w->chunks, first = piece % w->chunks * w->chunk;
    const int64_t end = zk_min(first + w->chunk, w->queries), count = end - first;
    const int64_t most = w->rounds ? TILE_SIDE : ROWS;
    const int64_t rows = w->rounds ? most : zk_ceil(count, zk_max(1, zk_ceil(count, most)));
    block s = {.b = head / w->heads, .h = head % w->heads};
    float *keys = scratch, *values = keys + KEYS * padded(w->width);
    float *tile = values + KEYS * padded(w->depth), *max = tile + ROWS * WIDTH;
    float *sum = max + w->chunk;
    for (int64_t r = 0; r < count; r++) max[r] = -FLT_MAX;
    for (s.s = 0; s.s < w->keys; s.s += w->block) {
        s.keys = zk_min(w->block, w->keys - s.s);
        s.t = first, s.rows = count;
        if (is_future(w, &s)) break;
        pack_block(w, &s, keys, values);
        for (; s.t < end; s.t += rows) {
            const int64_t at = s.t - first;
            s.rows = zk_min(rows, end - s.t);
            if (!is_future(w, &s)) forward_block(w, &s, keys, values, tile, max + at, sum + at);
        }
    }
    s.t = first, s.rows = count;
    finish(w, s, max, sum);
}

static void forward_task(void *ctx, int64_t task, int thread) {
    const attention *w = ctx;
    float *scratch = (float *)w->call->scratch + thread * forward_floats(w);
    const int64_t pieces = w->batch * w->heads * w->chunks;
    if (w->rounds) tile_rows_begin();
    for (int64_t i = task * w->per; i < zk_min((task + 1) * w->per, pieces); i++)
        forward_piece(w, i, scratch);
    if (w->rounds) tile_rows_end();
}

/* attention: y = softmax(scale * q k' + mask) v.  out y(batch, queries, heads, depth),
 * stats(batch, heads, queries, 2): maximum and 1 / sum of the scores
 * in q(batch, queries, heads, width), k(batch, keys, heads / group, width), v(..., depth),
 * optional mask (4 axes, each 1 or full; float32 to add or bool), optional rng(2): step, row0
 * attr scale, causal, blank, rate, seed */
static void attention_forward(const zk_call *c) {
    attention w = new_attention(c, 2);
    set_inputs(&w, 2);
    set_pieces(&w, 2);
    w.y = c->p[0], w.stats = c->p[1];
    if (!w.keys) {
        memset(w.y, 0, (size_t)zk_count(c->a) * sizeof(float));
        memset(w.stats, 0, (size_t)zk_count(c->a + 1) * sizeof(float));
        return;
    }
    if (!w.queries) return;
    zk_parallel(c, zk_ceil(w.batch * w.heads * w.chunks, w.per), forward_task, &w);
}

static int64_t forward_scratch(const zk_call *c) {
    attention w = new_attention(c, 2);
    set_options(&w, 2, NULL);
    set_pieces(&w, 2);
    return c->threads * forward_floats(&w) * (int64_t)sizeof(float);
}

/* Scratch of backward: packed arrays of a block, the two tiles, and the queries' g . y. */
typedef struct {
    float *turned, *plain, *values, *queries, *grads, *p, *dp, *dot;
} bench;

static bench new_bench(const attention *w, float *scratch) {
    const int64_t width = padded(w->width), depth = padded(w->depth);
    bench m = {.turned = scratch};
    m.plain = m.turned + KEYS * width, m.values = m.plain + KEYS * width;
    m.queries = m.values + KEYS * depth, m.grads = m.queries + ROWS * width;
    m.p = m.grads + ROWS * depth, m.dp = m.p + ROWS * WIDTH, m.dot = m.dp + ROWS * WIDTH;
    return m;
}

static float dot(const float *a, const float *b, int64_t n) {
    vf sum = {0};
    int64_t i = 0;
    for (; i + VL <= n; i += VL) sum += vf_load(a + i) * vf_load(b + i);
    if (i < n) sum += vf_load_first(a + i, n - i, (vf){0}) * vf_load_first(b + i, n - i, (vf){0});
    return vf_total(sum)[0];
}

/* c = a' b, or c += a' b, for a(n, rows of c) in a tile and b(n, cols) packed. */
static void add_turned(const float *a, int64_t n, const float *b, float *c, int64_t crow,
                       int64_t rows, int64_t cols, int fresh) {
    product_of p = {.a = a, .astep = WIDTH, .turned = 1, .b = b, .k = n, .c = c, .crow = crow};
    p.adds = !fresh;
    product(p, rows, cols);
}

/* fresh: nothing was added to the gradients of these keys yet. */
static void backward_block(const attention *w, const block *s, const bench *m, int fresh) {
    const int64_t qstep = query_step(w, w->width), gstep = query_step(w, w->depth);
    const int64_t q = query_at(w, s, w->width), g = query_at(w, s, w->depth);
    pack_plain(w->q + q, qstep, s->rows, w->width, m->queries);
    pack_plain(w->g + g, gstep, s->rows, w->depth, m->grads);
    scores(w, s, m->turned, m->p);
    product_of dp = {.a = w->g + g, .astep = gstep, .b = m->values, .k = w->depth};
    dp.c = m->dp, dp.crow = WIDTH;
    product(dp, s->rows, padded(s->keys));
    for (int64_t r = 0; r < s->rows; r++) {
        const float known = dot(w->g + g + r * gstep, w->out + g + r * gstep, w->depth);
        gradient_row(w, s, r, m->p + r * WIDTH, m->dp + r * WIDTH, known);
    }
    add_turned(m->p, s->rows, m->grads, w->dv + key_at(w, s, w->depth), key_step(w, w->depth),
               s->keys, w->depth, fresh);
    add_turned(m->dp, s->rows, m->queries, w->dk + key_at(w, s, w->width), key_step(w, w->width),
               s->keys, w->width, fresh);
    product_of dq = {.a = m->dp, .astep = WIDTH, .b = m->plain, .k = s->keys, .adds = s->s > 0};
    dq.c = w->dq + q, dq.crow = qstep;
    product(dq, s->rows, w->width);
}

/* All queries that read one block of keys. */
static void backward_keys(const attention *w, block s, float *scratch) {
    const bench b = new_bench(w, scratch), *m = &b;
    const int64_t rows = zk_ceil(w->queries, zk_max(1, zk_ceil(w->queries, ROWS)));
    const int64_t k = key_at(w, &s, w->width), v = key_at(w, &s, w->depth), first = s.h;
    int fresh = 1;
    pack_turned(w->k + k, key_step(w, w->width), s.keys, w->width, w->scale, m->turned);
    pack_plain(w->k + k, key_step(w, w->width), s.keys, w->width, m->plain);
    pack_turned(w->v + v, key_step(w, w->depth), s.keys, w->depth, 1, m->values);
    for (; s.h < first + w->group; s.h++)
        for (s.t = 0; s.t < w->queries; s.t += rows) {
            s.rows = zk_min(rows, w->queries - s.t);
            if (is_future(w, &s)) continue;
            backward_block(w, &s, m, fresh);
            fresh = 0;
        }
    if (fresh) zero_rows(w->dk + k, key_step(w, w->width), s.keys, w->width);
    if (fresh) zero_rows(w->dv + v, key_step(w, w->depth), s.keys, w->depth);
}

/* One head of keys, with all heads of queries that read it. */
static void backward_task(void *ctx, int64_t task, int thread) {
    const attention *w = ctx;
    float *scratch = (float *)w->call->scratch + thread * backward_floats(w);
    const int64_t heads = w->heads / w->group;
    if (w->rounds) tile_rows_begin();
    for (int64_t i = task * w->per; i < zk_min((task + 1) * w->per, w->batch * heads); i++) {
        block s = {.b = i / heads, .h = i % heads * w->group};
        for (int64_t h = s.h; !w->keys && h < s.h + w->group; h++)
            zero_rows(w->dq + place(s.b, 0, w->queries, h, w->heads, w->width),
                      query_step(w, w->width), w->queries, w->width);
        for (; s.s < w->keys; s.s += w->block) {
            s.keys = zk_min(w->block, w->keys - s.s);
            if (w->rounds) backward_keys_rounded(w, s, scratch);
            else backward_keys(w, s, scratch);
        }
    }
    if (w->rounds) tile_rows_end();
}

/* attention_grad: gradients by q, k and v, from that by y.  out dq, dk, dv, like q, k, v
 * in g, y (batch, queries, heads, depth), stats, then as attention  attr as attention */
static void attention_backward(const zk_call *c) {
    attention w = new_attention(c, 6);
    set_inputs(&w, 6);
    set_pieces(&w, 5);
    w.dq = c->p[0], w.dk = c->p[1], w.dv = c->p[2];
    w.g = c->p[3], w.out = c->p[4], w.known = c->p[5];
    w.per = zk_max(1, WORK / zk_max(1, w.queries * w.keys * w.width * w.group * 5));
    zk_parallel(c, zk_ceil(w.batch * (w.heads / w.group), w.per), backward_task, &w);
}

static int64_t backward_scratch(const zk_call *c) {
    const attention w = new_attention(c, 6);
    return c->threads * backward_floats(&w) * (int64_t)sizeof(float);
}

const zk_kernel ZK_TABLE(attention)[] = {{"attention", attention_forward, forward_scratch},
                                         {"attention_grad", attention_backward, backward_scratch},
                                         {0}};
