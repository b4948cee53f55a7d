/* Reductions over any set of axes, and argmax. An array comes as alternating groups of kept and
 * reduced axes; each reduced group is one pass over [outer, length, inner], cut into pieces of
 * fixed size, so that results do not depend on the number of threads. Partial results of the
 * pieces are reduced again by the same code, which also keeps rounding errors small. */
#include "vmath.h"

enum { SUM, PROD, MAX, MIN, SUM_INT, PROD_INT, MAX_INT, MIN_INT, ANY, ALL };
enum {
    PIECE = 32768,  /* elements that one task takes at least */
    ROWS = 64,      /* rows of a piece at least */
    COLUMNS = 1024, /* columns of a piece at most: the sums stay in L1 cache */
    NARROW = 64,    /* rows shorter than this are taken several at a time */
    MAX_STAGES = 64
};

ZK_INLINE vf combine(int op, vf a, vf b) {
    switch (op) {
    case SUM:
        return a + b;
    case PROD:
        return a * b;
    case MAX:
        return vf_maximum(a, b);
    case MIN:
        return vf_minimum(a, b);
    case SUM_INT:
        return (vf)((vu)a + (vu)b);
    case PROD_INT:
        return (vf)((vu)a * (vu)b);
    case MAX_INT:
        return vf_blend((vi)a > (vi)b, a, b);
    default:
        return vf_blend((vi)a < (vi)b, a, b);
    }
}

/* The result over no elements, in every lane. */
ZK_INLINE vf identity(int op) {
    switch (op) {
    case PROD:
        return vf_set(1);
    case MAX:
        return vf_set(-__builtin_inff());
    case MIN:
        return vf_set(__builtin_inff());
    case PROD_INT:
        return (vf)vi_set(1);
    case MAX_INT:
        return (vf)vi_set(INT32_MIN);
    case MIN_INT:
        return (vf)vi_set(INT32_MAX);
    default:
        return vf_set(0);
    }
}

/* All lanes together, in every lane, always in the same order. */
ZK_INLINE vf across(int op, vf v) {
    if (VL > 8) v = combine(op, v, VF_SWAP(v, 8));
    if (VL > 4) v = combine(op, v, VF_SWAP(v, 4));
    v = combine(op, v, VF_SWAP(v, 2));
    return combine(op, v, VF_SWAP(v, 1));
}

/* The first n lanes; n >= VL: all. */
ZK_INLINE vf load_some(const float *x, int64_t n) {
    return n >= VL ? vf_load(x) : vf_load_first(x, n, vf_set(0));
}

/* Contiguous x(n) -> VL partial results. */
ZK_INLINE vf reduce_block(int op, const float *x, int64_t n) {
    vf a[4] = {identity(op), identity(op), identity(op), identity(op)};
    for (; n >= 4 * VL; n -= 4 * VL, x += 4 * VL)
        for (int i = 0; i < 4; i++) a[i] = combine(op, a[i], vf_load(x + i * VL));
    for (; n >= VL; n -= VL, x += VL) a[0] = combine(op, a[0], vf_load(x));
    if (n) a[1] = combine(op, a[1], vf_load_first(x, n, identity(op)));
    return combine(op, combine(op, a[0], a[1]), combine(op, a[2], a[3]));
}
/* Contiguous x(n) -> y(1), in blocks: their results are combined one by one. */
ZK_INLINE void reduce_row(int op, const float *x, int64_t n, float *y) {
    const int64_t block = 1024;
    vf all = reduce_block(op, x, zk_min(n, block));
    for (int64_t i = block; i < n; i += block)
        all = combine(op, all, reduce_block(op, x + i, zk_min(n - i, block)));
    *y = across(op, all)[0];
}

/* Columns of x(rows, width) -> y(width), rows `stride` apart; eight rows are added before y. */
ZK_INLINE vf eight_rows(int op, const float *x, int64_t stride, int64_t n) {
    vf v[8];
    for (int i = 0; i < 8; i++) v[i] = load_some(x + i * stride, n);
    for (int w = 4; w; w /= 2)
        for (int i = 0; i < w; i++) v[i] = combine(op, v[i], v[i + w]);
    return v[0];
}
ZK_INLINE vf rows_of_vector(int op, vf sum, const float *x, int64_t rows, int64_t stride,
                            int64_t n) {
    for (; rows >= 8; rows -= 8, x += 8 * stride)
        sum = combine(op, sum, eight_rows(op, x, stride, n));
    for (; rows; rows--, x += stride) sum = combine(op, sum, load_some(x, n));
    return sum;
}
ZK_INLINE void add_rows(int op, const float *x, int64_t rows, int64_t stride, int64_t width,
                        float *y) {
    int64_t j = 0, n;
    for (; j + VL <= width; j += VL)
        vf_store(y + j, rows_of_vector(op, vf_load(y + j), x + j, rows, stride, VL));
    if ((n = width - j))
        vf_store_first(y + j, rows_of_vector(op, load_some(y + j, n), x + j, rows, stride, n), n);
}
ZK_INLINE void reduce_columns(int op, const float *x, int64_t rows, int64_t width, int64_t stride,
                              float *y) {
    for (int64_t j = 0; j < width; j++) y[j] = identity(op)[0];
    for (int64_t r = 0; r < rows; r += 8)
        add_rows(op, x + r * stride, zk_min(8, rows - r), stride, width, y);
}

/* How many rows of fewer than NARROW columns make one row of whole vectors. */
static int64_t rows_together(int64_t width) {
    int64_t k = 1;
    while (k * width % PANEL || k * width < NARROW) k++;
    return k;
}

/* The same for short rows without gaps: several make a wide one, whose parts are added at last. */
ZK_INLINE void reduce_narrow(int op, const float *x, int64_t rows, int64_t width, float *y) {
    float wide[NARROW * PANEL + NARROW];
    int64_t k = rows_together(width), all = rows / k;
    reduce_columns(op, x, all, k * width, k * width, wide);
    for (int64_t j = 0; j < width; j++) y[j] = identity(op)[0];
    if (all) add_rows(op, wide, k, width, width, y);
    add_rows(op, x + all * k * width, rows % k, width, width, y);
}

/* One step: x(outer, length, inner) -> y(outer, chunks, inner), `chunk` rows to one. */
typedef struct {
    int64_t outer, length, inner, chunk, chunks;
} stage;

typedef struct {
    stage s;
    int op;
    const float *x;
    float *y;
    int64_t blocks, group; /* blocks of columns; units of a task */
    float divisor;         /* of the final results, for means */
} job;

/* A unit is one chunk of rows in one block of columns. */
ZK_INLINE void reduce_unit(int op, const job *h, int64_t unit) {
    const stage *s = &h->s;
    int64_t column = 0, part = unit, first = 0;
    if (h->blocks > 1) {
        column = unit % h->blocks * COLUMNS;
        part = unit / h->blocks;
    }
    const float *x = h->x + part * s->length * s->inner + column;
    if (s->chunks > 1) {
        first = part % s->chunks * s->chunk;
        x = h->x + (part / s->chunks * s->length + first) * s->inner + column;
    }
    int64_t rows = zk_min(s->chunk, s->length - first), width = zk_min(COLUMNS, s->inner - column);
    float *y = h->y + part * s->inner + column;
    if (s->inner == 1) reduce_row(op, x, rows, y);
    else if (s->inner < NARROW) reduce_narrow(op, x, rows, width, y);
    else reduce_columns(op, x, rows, width, s->inner, y);
    if (h->divisor != 1)
        for (int64_t j = 0; j < width; j++) y[j] /= h->divisor;
}

ZK_INLINE void reduce_units(int op, const job *h, int64_t task) {
    int64_t end = zk_min((task + 1) * h->group, h->s.outer * h->s.chunks * h->blocks);
    for (int64_t unit = task * h->group; unit < end; unit++) reduce_unit(op, h, unit);
}

/* One loop for each operation. */
static void reduce_task(void *ctx, int64_t task, int thread) {
    const job *h = ctx;
    (void)thread;
    /* clang-format off */
#define UNITS(kind) if (h->op == kind) reduce_units(kind, h, task);
    UNITS(SUM) UNITS(PROD) UNITS(MAX) UNITS(MIN)
    UNITS(SUM_INT) UNITS(PROD_INT) UNITS(MAX_INT) UNITS(MIN_INT)
#undef UNITS
    /* clang-format on */
}

static void run_stage(const zk_call *c, int op, stage s, const float *x, float *y, float divisor) {
    job h = {.s = s, .op = op, .x = x, .y = y, .divisor = divisor};
    h.blocks = zk_ceil(s.inner, COLUMNS);
    int64_t units = s.outer * s.chunks * h.blocks;
    int64_t size = zk_min(s.chunk, s.length) * zk_min(s.inner, COLUMNS);
    h.group = zk_max(1, PIECE / zk_max(size, 1));
    zk_parallel(c, zk_ceil(units, h.group), reduce_task, &h);
}

static int add_stages(stage *to, int64_t outer, int64_t length, int64_t inner, int bools) {
    int n = 0;
    int64_t chunk = inner == 1 ? PIECE : zk_max(ROWS, PIECE / zk_max(inner, 1)), chunks;
    if (bools) chunk = zk_max(length, 1);
    do {
        chunks = zk_max(zk_ceil(length, chunk), 1);
        to[n++] = (stage){outer, length, inner, chunk, chunks};
        length = chunks;
    } while (chunks > 1);
    return n;
}

/* The stages of a call, the last group of axes first; one for a group of bools. Attributes: the
 * sizes of the groups, a reduced one of size s as -1 - s. */
static int plan(const zk_call *c, stage *stages) {
    int count = 0, bools = c->a[0].dtype == ZK_BOOL;
    int64_t inner = 1;
    for (int i = c->nattr - 1; i >= 0; i--) {
        int64_t size = (int64_t)c->attr[i], outer = 1;
        for (int j = 0; j < i; j++)
            outer *= (int64_t)(c->attr[j] < 0 ? -1 - c->attr[j] : c->attr[j]);
        if (size < 0) count += add_stages(stages + count, outer, -1 - size, inner, bools);
        else inner *= size;
    }
    return count;
}

static int64_t results(const stage *s) { return s->outer * s->chunks * s->inner; }

/* Bytes of each of the two buffers that hold results between stages. */
static int64_t buffer_bytes(const stage *stages, int count) {
    int64_t most = 0;
    for (int i = 0; i + 1 < count; i++) most = zk_max(most, results(stages + i));
    return zk_align(most * 4);
}
static int64_t reduce_scratch(const zk_call *c) {
    stage stages[MAX_STAGES];
    return 2 * buffer_bytes(stages, plan(c, stages));
}

/* Bools x(outer, length, inner) -> y(outer, inner); nothing more than a loop. */
static void reduce_bools(stage s, const uint8_t *x, uint8_t *y, int all) {
    for (int64_t o = 0; o < s.outer; o++, y += s.inner) {
        memset(y, all, (size_t)s.inner);
        for (int64_t r = 0; r < s.length; r++, x += s.inner)
            for (int64_t j = 0; j < s.inner; j++)
                y[j] = all ? y[j] & (x[j] != 0) : y[j] | (x[j] != 0);
    }
}

static void reduce(const zk_call *c, int op, float divisor) {
    stage stages[MAX_STAGES];
    int count = plan(c, stages), bools = op >= ANY;
    int64_t bytes = buffer_bytes(stages, count);
    void *x = c->p[1];
    if (!count) memcpy(c->p[0], x, (size_t)zk_count(c->a) * (bools ? 1 : 4));
    for (int i = 0; i < count; i++) {
        int last = i + 1 == count;
        void *y = last ? c->p[0] : c->scratch + i % 2 * bytes;
        if (bools) reduce_bools(stages[i], x, y, op == ALL);
        else run_stage(c, op, stages[i], x, y, last ? divisor : 1);
        x = y;
    }
}

/* reduce_*: out y(kept axes)  in x, float32 or int32; reduce_any, reduce_all: bool. */
static int is_int(const zk_call *c) { return c->a[1].dtype == ZK_I32; }
static void reduce_sum(const zk_call *c) { reduce(c, is_int(c) ? SUM_INT : SUM, 1); }
static void reduce_prod(const zk_call *c) { reduce(c, is_int(c) ? PROD_INT : PROD, 1); }
static void reduce_max(const zk_call *c) { reduce(c, is_int(c) ? MAX_INT : MAX, 1); }
static void reduce_min(const zk_call *c) { reduce(c, is_int(c) ? MIN_INT : MIN, 1); }
static void reduce_mean(const zk_call *c) {
    double count = 1;
    for (int i = 0; i < c->nattr; i++)
        if (c->attr[i] < 0) count *= -1 - c->attr[i];
    reduce(c, SUM, (float)count);
}
static void reduce_any(const zk_call *c) { reduce(c, ANY, 1); }
static void reduce_all(const zk_call *c) { reduce(c, ALL, 1); }

/* argmax(outer, length, inner): rows of vectors; `largest` selects argmax or argmin. */
typedef struct {
    const float *x;
    int32_t *y;
    int64_t length, inner, outer, group;
    int largest;
} search;

static int32_t first_place(const float *x, int64_t n, int largest) {
    float best;
    if (largest) reduce_row(MAX, x, n, &best);
    else reduce_row(MIN, x, n, &best);
    for (int64_t i = 0; i < n; i++)
        if (x[i] == best || x[i] != x[i]) return (int32_t)i;
    return 0;
}

/* Up to VL columns side by side: a later element wins only when it is strictly better. */
static void places_of_columns(const search *h, const float *x, int64_t n, int32_t *y) {
    vf best = load_some(x, n);
    vi place = {0};
    for (int64_t r = 1; r < h->length; r++) {
        const float *p = x + r * h->inner;
        vf v = load_some(p, n);
        vi better = ((h->largest ? v > best : v < best) | (v != v)) & (best == best);
        best = vf_blend(better, v, best);
        place = (vi)vf_blend(better, (vf)vi_set((int32_t)r), (vf)place);
    }
    memcpy(y, &place, (size_t)n * 4);
}

static void search_task(void *ctx, int64_t task, int thread) {
    const search *h = ctx;
    (void)thread;
    int64_t end = zk_min((task + 1) * h->group, h->outer);
    for (int64_t o = task * h->group; o < end; o++) {
        const float *x = h->x + o * h->length * h->inner;
        int32_t *y = h->y + o * h->inner;
        if (h->inner == 1) *y = first_place(x, h->length, h->largest);
        else
            for (int64_t j = 0; j < h->inner; j += VL)
                places_of_columns(h, x + j, zk_min(VL, h->inner - j), y + j);
    }
}

/* argmax, argmin: out y(outer, inner) int32  in x(outer, length, inner). Attributes: the sizes. */
static void find_places(const zk_call *c, int largest) {
    search h = {c->p[1], c->p[0], (int64_t)c->attr[1], (int64_t)c->attr[2], (int64_t)c->attr[0],
                1,       largest};
    h.group = zk_max(1, PIECE / zk_max(h.length * h.inner, 1));
    if (zk_count(c->a)) zk_parallel(c, zk_ceil(h.outer, h.group), search_task, &h);
}
static void argmax(const zk_call *c) { find_places(c, 1); }
static void argmin(const zk_call *c) { find_places(c, 0); }

const zk_kernel ZK_TABLE(reduce)[] = {
    {"reduce_sum", reduce_sum, reduce_scratch},
    {"reduce_mean", reduce_mean, reduce_scratch},
    {"reduce_prod", reduce_prod, reduce_scratch},
    {"reduce_max", reduce_max, reduce_scratch},
    {"reduce_min", reduce_min, reduce_scratch},
    {"reduce_any", reduce_any, reduce_scratch},
    {"reduce_all", reduce_all, reduce_scratch},
    {"argmax", argmax, NULL},
    {"argmin", argmin, NULL},
    {0},
};
