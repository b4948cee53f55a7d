/* What attention's two directions share: the shapes of a call, how it is cut into blocks, masks,
 * dropout, and the scores of one block. A block is at most ROWS queries by KEYS keys of one head;
 * its scores lie in a tile in L2 cache, so no (queries, keys) matrix is ever in memory. */
#ifndef ZK_ATTENTION_H
#define ZK_ATTENTION_H
#include <float.h>
#include "gemm_pack.h"
#include "philox.h"
#include "tile_rows.h"
#if defined(ZK_ISA_AVX512)
#include "gemm_wide.h"
#else
#include "gemm.h"
#endif

#define ROWS 128
#define KEYS 128
#define WIDTH (KEYS + 16)        /* floats between rows of a tile: not a power of two */
#define MASKED (-0.7f * FLT_MAX) /* the score of a masked key: Keras' number */
#define WORK 400000              /* multiplications of a task, at least */

/* Arrays are (batch, time, heads, width); query head h reads key head h / group. */
typedef struct {
    const zk_call *call;
    int64_t batch, queries, keys, heads, group, width, depth; /* of queries and keys; of values */
    const float *q, *k, *v;
    float scale;
    int rounds;          /* products round their operands to bfloat16 */
    int causal, blank;   /* blank: a query whose keys are all masked gives 0, else their mean */
    const float *bias;   /* additive mask, or */
    const uint8_t *seen; /* 1: use, 0: masked; both NULL: no mask */
    int64_t step[4];     /* of the mask; 0 along axes that it lacks */
    source rng;
    int64_t line;               /* random numbers of a query: `keys`, rounded up */
    int32_t threshold;          /* of dropout; its numbers are 24 bits wide */
    float kept;                 /* 1 / (1 - rate), or 0 without dropout */
    int64_t block;              /* keys of a block */
    int64_t chunk, chunks, per; /* queries of a piece, pieces of a head, pieces of a task */
    /* forward: result and statistics; backward: gradients */
    float *y, *stats, *dq, *dk, *dv;
    const float *g, *out, *known;
} attention;

/* A block: queries [t, t + rows) of head h in batch b, keys [s, s + keys). */
typedef struct {
    int64_t b, h, t, rows, s, keys;
} block;

static int64_t padded(int64_t n) { return zk_ceil(n, PANEL) * PANEL; }

static void set_mask(attention *w, const zk_arg *arg, const void *p) {
    int64_t step = 1;
    if (arg->dtype == ZK_BOOL) w->seen = p;
    else w->bias = p;
    for (int i = 3; i >= 0; i--) {
        w->step[i] = arg->dims[i] == 1 ? 0 : step;
        step *= arg->dims[i];
    }
}

/* Optional arguments after q, k, v, which begin at argument `at`: a mask, and rng(2) int64. */
static void set_options(attention *w, int at, const void *const *p) {
    const zk_call *c = w->call;
    const double rate = c->attr[ZK_ATTENTION_RATE];
    for (int i = at + 3; i < c->nout + c->nin; i++)
        if (c->a[i].dtype != ZK_I64) set_mask(w, c->a + i, p ? p[i] : NULL);
        else if (p) w->rng = source_of(c->attr[ZK_ATTENTION_SEED], p[i]);
    if (rate <= 0) return;
    w->kept = rate < 1 ? (float)(1 / (1 - rate)) : 0;
    w->threshold = (int32_t)floor(rate * 0x1p24 + 0.5);
}

/* Pieces of a head: long sequences are cut, shorter ones too when there are few heads. */
static void set_pieces(attention *w, int64_t products) {
    const int64_t unit = w->threshold ? GROUP : PANEL, blocks = zk_ceil(w->keys, KEYS);
    const int64_t heads = zk_max(w->batch * w->heads, 1);
    const int64_t few = zk_min(zk_ceil(16, heads), zk_ceil(w->queries, 64));
    w->line = zk_ceil(w->keys, GROUP) * GROUP;
    w->block = zk_ceil(zk_ceil(w->keys, zk_max(blocks, 1)), unit) * unit;
    w->chunks = zk_max(zk_max(few, zk_ceil(w->queries, 4 * ROWS)), 1);
    w->chunk = zk_ceil(w->queries, w->chunks);
    w->per = zk_max(1, WORK / zk_max(1, w->chunk * w->keys * w->width * products));
}

/* The attention of a call whose q, k, v begin at argument `at`. */
static attention new_attention(const zk_call *c, int at) {
    const zk_arg *q = c->a + at, *k = q + 1, *v = q + 2;
    attention w = {.call = c, .batch = q->dims[0], .queries = q->dims[1], .keys = k->dims[1]};
    w.heads = q->dims[2], w.width = q->dims[3], w.depth = v->dims[3];
    w.group = zk_max(1, w.heads / zk_max(k->dims[2], 1));
    w.scale = (float)c->attr[ZK_ATTENTION_SCALE];
    w.rounds = c->attr[ZK_ATTENTION_ROUNDS] != 0;
    w.causal = c->attr[ZK_ATTENTION_CAUSAL] != 0, w.blank = c->attr[ZK_ATTENTION_BLANK] != 0;
    return w;
}

static void set_inputs(attention *w, int at) {
    w->q = w->call->p[at], w->k = w->call->p[at + 1], w->v = w->call->p[at + 2];
    set_options(w, at, (const void *const *)w->call->p);
}

/* Where the row of a query or key begins; `width` floats for each of `heads` heads. */
ZK_INLINE int64_t place(int64_t b, int64_t t, int64_t length, int64_t h, int64_t heads,
                        int64_t width) {
    return ((b * length + t) * heads + h) * width;
}
ZK_INLINE int64_t query_at(const attention *w, const block *s, int64_t width) {
    return place(s->b, s->t, w->queries, s->h, w->heads, width);
}
ZK_INLINE int64_t key_at(const attention *w, const block *s, int64_t width) {
    return place(s->b, s->s, w->keys, s->h / w->group, w->heads / w->group, width);
}
ZK_INLINE int64_t query_step(const attention *w, int64_t width) { return w->heads * width; }
ZK_INLINE int64_t key_step(const attention *w, int64_t width) {
    return w->heads / w->group * width;
}

/* Whether all keys of the block lie in the future of its queries. Rows that see no key at all need
 * every key, so nothing is left out when there is a mask. */
ZK_INLINE int is_future(const attention *w, const block *s) {
    return w->causal && !w->bias && !w->seen && s->s > s->t + s->rows - 1;
}

/* Rows x(n, width), `step` apart, as panels out(width / 16, n, 16): width columns. */
static void pack_plain(const float *x, int64_t step, int64_t n, int64_t width, float *out) {
    for (int64_t j = 0; j < width; j += PANEL, out += n * PANEL)
        pack_rows(x + j, step, n, zk_min(width - j, PANEL), out);
}

/* The same rows turned: panels out(n / 16, width, 16) with n columns, times `scale`. */
static void pack_turned(const float *x, int64_t step, int64_t n, int64_t width, float scale,
                        float *out) {
    for (int64_t j = 0; j < n; j += PANEL)
        pack_columns(x + j * step, step, width, zk_min(n - j, PANEL), out + j * width);
    for (int64_t i = 0; i < padded(n) * width && scale != 1; i++) out[i] *= scale;
}

/* c(rows, cols) = a(rows, k) b(k, cols), or += if `adds`; a by rows or turned, whose steps lie
 * `astep` floats apart then, b in panels. */
typedef struct {
    const float *a, *b;
    float *c;
    int64_t astep, crow, k;
    int turned, adds;
} product_of;

#if defined(ZK_ISA_AVX512)
/* Columns in tiles of 64, then what is left; rows in tiles as equal as can be. */
static void product(product_of p, int64_t rows, int64_t cols) {
    for (int64_t j = 0, n; j < cols; j += n) {
        n = zk_min(WIDE_PANELS * PANEL, cols - j);
        const int64_t panels = zk_ceil(n, PANEL), tiles = zk_ceil(rows, wide_rows[panels - 1]);
        const int64_t small = tiles ? rows / tiles : 0, larger = tiles ? rows % tiles : 0;
        wide_tile t = {.a = p.a, .astep = p.astep, .b = p.b + j * p.k, .k = p.k, .c = p.c + j};
        t.bstep = PANEL, t.bpanel = p.k * PANEL, t.crow = t.addrow = p.crow, t.fetch = t.b;
        t.last = (int)(n - (panels - 1) * PANEL);
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t count = small + (i < larger);
            t.add = p.adds ? t.c : NULL;
            wide_kernel[p.turned][panels - 1][count - 1](&t);
            t.a += p.turned ? count : count * p.astep, t.c += count * p.crow;
        }
    }
}
#else
static void product(product_of p, int64_t rows, int64_t cols) {
    const int64_t most = zk_ceil(rows, zk_max(1, zk_ceil(rows, GEMM_ROWS)));
    const int64_t wide = GEMM_WIDE(most) * PANEL;
    gemm_tile t = {.a = p.a, .b = p.b, .c = p.c, .k = p.k, .bstep = PANEL, .bpanel = p.k * PANEL};
    t.arow = p.turned ? 1 : p.astep, t.acol = p.turned ? p.astep : 1, t.crow = p.crow;
    if (p.adds) t.add = t.c, t.addrow = p.crow;
    for (int64_t j = 0, n; j < cols; j += n) {
        n = cols - j < wide ? PANEL : wide;
        t.cols = (int)zk_min(cols - j, n);
        gemm_rows(&t, rows, n > PANEL, 0);
        t.b += n * t.k, t.c += n;
        if (t.add) t.add += n;
    }
}
#endif

/* One row of scores of query t with its masks; the rest of the last panel becomes -inf. */
ZK_INLINE void mask_row(const attention *w, const block *s, int64_t t, float *x) {
    const int64_t n = s->keys, one = w->step[3];
    const int64_t at = s->b * w->step[0] + s->h * w->step[1] + t * w->step[2] + s->s * one;
    if (w->bias && one)
        for (int64_t i = 0; i < n; i++) x[i] += w->bias[at + i];
    else if (w->bias)
        for (int64_t i = 0; i < n; i++) x[i] += w->bias[at];
    else if (w->seen && one)
        for (int64_t i = 0; i < n; i++) x[i] = w->seen[at + i] ? x[i] : MASKED;
    else if (w->seen && !w->seen[at])
        for (int64_t i = 0; i < n; i++) x[i] = MASKED;
    if (w->causal)
        for (int64_t i = zk_max(0, t + 1 - s->s); i < n; i++) x[i] = MASKED;
    for (int64_t i = n; i < padded(n); i++) x[i] = -INFINITY;
}

/* The scores of a block: tile(rows, keys) from its queries and turned keys, times scale. */
static void scores(const attention *w, const block *s, const float *keys, float *tile) {
    product_of p = {.a = w->q + query_at(w, s, w->width), .b = keys, .c = tile};
    p.astep = query_step(w, w->width), p.k = w->width, p.crow = WIDTH;
    product(p, s->rows, padded(s->keys));
    for (int64_t r = 0; r < s->rows; r++) mask_row(w, s, s->t + r, tile + r * WIDTH);
}

/* factor(keys): 1 / (1 - rate) for kept probabilities of query t, 0 for others. */
static void draw_row(const attention *w, const block *s, int64_t t, float *factor) {
    const int64_t first = ((s->h * w->queries + t) * w->line + s->s) / GROUP;
    group g;
    for (int64_t j = 0; j < s->keys; j += GROUP) {
        const uint32_t *words = g.w[0];
        make_group(&w->rng, w->rng.row0 + s->b, first + j / GROUP, &g);
        for (int i = 0; i < GROUP; i++)
            factor[j + i] = (int32_t)(words[i] >> 8) >= w->threshold ? w->kept : 0;
    }
}

/* A row of scores x becomes probabilities (after dropout), a row of dp their gradient by the
 * scores: scale * p * (dp - dot). */
static void gradient_row(const attention *w, const block *s, int64_t r, float *x, float *dp,
                         float dot) {
    const float *stats = w->known + 2 * ((s->b * w->heads + s->h) * w->queries + s->t + r);
    const float max = stats[0], by = stats[1];
    const float scale = w->seen && max <= MASKED ? 0 : w->scale;
    float factor[KEYS];
    if (w->threshold) draw_row(w, s, s->t + r, factor);
    for (int64_t i = 0; i < padded(s->keys); i += VL) {
        const vf p = vf_exp_flush(vf_load(x + i) - max) * by, d = vf_load(dp + i);
        const vf f = w->threshold ? vf_load(factor + i) : vf_set(1);
        vf_store(x + i, p * f);
        vf_store(dp + i, p * (d * f - dot) * scale);
    }
}

static void zero_rows(float *x, int64_t step, int64_t rows, int64_t width) {
    for (; rows > 0; rows--, x += step) memset(x, 0, (size_t)width * sizeof *x);
}
#endif
