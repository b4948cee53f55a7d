/* Kernels along one axis: sorting, the k largest, running sums, elements by their places. An array
 * is (outer, n, inner) with the axis in the middle; a line is its n elements for one outer and one
 * inner index. Equal elements keep their order, and NaN is the largest number, as in numpy. */
#include "ids.h"

#define FEW 64             /* so many of the least are kept sorted while a line is read once */
#define RANKED 128         /* in lines up to here each element's rank is counted */
#define TASK_ELEMENTS 8192 /* read by a task, about */

typedef struct {
    int64_t outer, n, inner, per; /* lines of a task */
} lines;

static lines lines_of(const zk_arg *a, double attr) {
    int axis = (int)attr + (attr < 0 ? a->ndim : 0);
    lines l = {zk_span(a, 0, axis), a->dims[axis], zk_span(a, axis + 1, a->ndim), 0};
    l.per = zk_max(TASK_ELEMENTS / zk_max(l.n, 1), 1);
    return l;
}

static int64_t tasks_of(const lines *l) { return zk_ceil(l->outer * l->inner, l->per); }

typedef struct {
    int32_t key, place;
} item;

typedef struct {
    lines l;
    int64_t k, room; /* elements wanted of each line, items of a thread's scratch memory */
    int dtype, falling;
    const char *x;
    char *values;
    int32_t *places; /* either may be NULL */
    item *items;
} sort_job;

/* A whole number that orders like the float. By bits: as floats, numbers below 2^-126 would be
 * equal. */
ZK_INLINE int32_t key_of(int32_t bits) {
    const int32_t key = bits == INT32_MIN ? 0 : bits ^ (bits >> 31 & INT32_MAX);
    return (bits & INT32_MAX) > 0x7f800000 ? INT32_MAX : key;
}

/* Keys of n elements, `step` of them apart, in whose order the elements are: float32, int32 or
 * bool. */
static void keys_of(const sort_job *j, const char *x, int64_t step, int64_t n, int32_t *key) {
    const int32_t *whole = (const int32_t *)x, turn = j->falling ? -1 : 0;
    if (j->dtype == ZK_BOOL)
        for (int64_t i = 0; i < n; i++) key[i] = (x[i * step] != 0) ^ turn;
    else if (j->dtype == ZK_I32)
        for (int64_t i = 0; i < n; i++) key[i] = whole[i * step] ^ turn;
    else if (step == 1)
        for (int64_t i = 0; i < n; i++) key[i] = key_of(whole[i]) ^ turn;
    else
        for (int64_t i = 0; i < n; i++) key[i] = key_of(whole[i * step]) ^ turn;
}

/* Item i joins the k least so far, which are sorted; returns how many there are. */
static int64_t insert(item *least, int64_t count, int64_t k, item one) {
    if (count == k && (!k || least[k - 1].key <= one.key)) return count;
    int64_t at = count < k ? count : k - 1;
    for (; at > 0 && least[at - 1].key > one.key; at--) least[at] = least[at - 1];
    least[at] = one;
    return count < k ? count + 1 : k;
}

/* rank[i]: how many of n <= RANKED keys come before key i; of equal ones, those in front. Lanes
 * beyond n are never read. */
static void rank_all(int32_t *rank, const int32_t *key, int64_t n) {
    int32_t count[VL];
    for (int i = 0; i < VL; i++) count[i] = i;
    const vi lane = *(const vi *)count;
    for (int64_t i = 0; i < n; i += VL) {
        const vi mine = *(const vi *)(key + i);
        vi before = vi_set(0);
        for (int64_t k = 0; k < i; k++) before -= vi_set(key[k]) <= mine;
        for (int64_t k = i; k < zk_min(i + VL, n); k++) {
            const vi one = vi_set(key[k]);
            before -= (one < mine) | ((one == mine) & (lane > (int32_t)(k - i)));
        }
        for (int64_t k = i + VL; k < n; k++) before -= vi_set(key[k]) < mine;
        *(vi *)(rank + i) = before;
    }
}

/* A short line: the j->k first items of it, in order. */
static void sort_short(const sort_job *j, const char *x, item *to) {
    int32_t key[RANKED + VL] = {0}, rank[RANKED + VL];
    keys_of(j, x, j->l.inner, j->l.n, key);
    rank_all(rank, key, j->l.n);
    for (int64_t i = 0; i < j->l.n; i++)
        if (rank[i] < j->k) to[rank[i]] = (item){key[i], (int32_t)i};
}

/* Sorts a by the bytes of its keys, the lowest first; b has as much room. Returns the one in which
 * the result is. A byte that all have in common is passed over. */
static item *sort_all(item *a, item *b, int64_t n) {
    int32_t count[4][256] = {0};
    for (int64_t i = 0; i < n; i++) {
        const uint32_t key = (uint32_t)a[i].key ^ 0x80000000u;
        for (int w = 0; w < 4; w++) count[w][key >> 8 * w & 255]++;
    }
    for (int w = 0; w < 4; w++) {
        int32_t *next = count[w];
        const int32_t flip = w == 3 ? 128 : 0;
        if (next[((uint32_t)a[0].key >> 8 * w & 255) ^ flip] == n) continue;
        for (int32_t k = 0, sum = 0; k < 256; k++) {
            const int32_t here = next[k];
            next[k] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < n; i++)
            b[next[((uint32_t)a[i].key >> 8 * w & 255) ^ flip]++] = a[i];
        item *t = a;
        a = b, b = t;
    }
    return a;
}

static const item *sort_line(const sort_job *j, const char *x, item *room) {
    const int64_t n = j->l.n, few = j->k <= FEW, step = j->l.inner * zk_dtype_size(j->dtype);
    int64_t count = 0;
    if (n <= RANKED && 4 * j->k > n) {
        sort_short(j, x, room);
        return room;
    }
    for (int64_t at = 0; at < n; at += RANKED) {
        int32_t key[RANKED];
        const int64_t some = zk_min(RANKED, n - at);
        keys_of(j, x + at * step, j->l.inner, some, key);
        for (int64_t i = 0; i < some; i++) {
            const item one = {key[i], (int32_t)(at + i)};
            if (!few) room[at + i] = one;
            else if (count < j->k || (count && key[i] < room[count - 1].key))
                count = insert(room, count, j->k, one);
        }
    }
    return few ? room : sort_all(room, room + n, n);
}

static void sort_task(void *ctx, int64_t task, int thread) {
    const sort_job *j = ctx;
    const lines *l = &j->l;
    const int64_t size = zk_dtype_size(j->dtype);
    for (int64_t i = task * l->per; i < zk_min((task + 1) * l->per, l->outer * l->inner); i++) {
        const int64_t first = i / l->inner * l->n * l->inner + i % l->inner;
        const int64_t to = i / l->inner * j->k * l->inner + i % l->inner;
        const item *sorted = sort_line(j, j->x + first * size, j->items + thread * j->room);
        for (int64_t r = 0; r < j->k; r++) {
            const int64_t at = to + r * l->inner, from = first + sorted[r].place * l->inner;
            if (j->values && size == 4) ((int32_t *)j->values)[at] = ((const int32_t *)j->x)[from];
            else if (j->values) j->values[at] = j->x[from];
            if (j->places) j->places[at] = sorted[r].place;
        }
    }
}

static sort_job sort_of(const zk_call *c, double axis, int64_t k) {
    const zk_arg *x = c->a + c->nout;
    sort_job j = {.l = lines_of(x, axis), .dtype = x->dtype};
    j.k = k < 0 ? j.l.n : k;
    j.room = j.k <= FEW || j.l.n <= RANKED ? j.k : 2 * j.l.n;
    return j;
}

static void run_sort(const zk_call *c, sort_job *j) {
    j->x = c->p[c->nout], j->items = (item *)c->scratch;
    zk_parallel(c, tasks_of(&j->l), sort_task, j);
}

/* sort: y = x, smallest first.  out y  in x  attr axis */
static void sort(const zk_call *c) {
    sort_job j = sort_of(c, c->attr[0], -1);
    j.values = c->p[0];
    run_sort(c, &j);
}

/* argsort: y = the places of x's elements, smallest first.  out y  in x  attr axis */
static void argsort(const zk_call *c) {
    sort_job j = sort_of(c, c->attr[0], -1);
    j.places = c->p[0];
    run_sort(c, &j);
}

/* top_k: the k largest of the last axis, largest first.  out y(m, k), places(m, k)  in x(m, n) */
static void top_k(const zk_call *c) {
    sort_job j = sort_of(c, -1, c->a->dims[c->a->ndim - 1]);
    j.values = c->p[0], j.places = c->p[1], j.falling = 1;
    run_sort(c, &j);
}

/* Items of all threads. */
static int64_t items_bytes(const zk_call *c, const sort_job *j) {
    return c->threads * j->room * (int64_t)sizeof(item);
}
static int64_t sort_scratch(const zk_call *c) {
    const sort_job j = sort_of(c, c->attr[0], -1);
    return items_bytes(c, &j);
}
static int64_t top_k_scratch(const zk_call *c) {
    const sort_job j = sort_of(c, -1, c->a->dims[c->a->ndim - 1]);
    return items_bytes(c, &j);
}

typedef struct {
    lines l;
    const char *x;
    char *y;
    int dtype, reverse;
} sum_job;

#define ABREAST 8 /* lines whose sums do not wait for each other */

/* Sums along ABREAST lines of n neighbours, `apart` from each other. */
static void sum_abreast(float *y, const float *x, int64_t n, int64_t step, int64_t apart) {
    float sum[ABREAST] = {0};
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < ABREAST; i++) {
            const int64_t at = i * apart + t * step;
            y[at] = sum[i] = t ? sum[i] + x[at] : x[at];
        }
}

/* Sums down m neighbouring lines, each in order; step: from one row to the next. */
static void sum_floats(float *y, const float *x, int64_t n, int64_t m, int64_t step) {
    for (int64_t i = 0; i < m; i++) y[i] = x[i];
    for (int64_t t = 1; t < n; t++)
        for (int64_t i = 0; i < m; i++) y[t * step + i] = y[(t - 1) * step + i] + x[t * step + i];
}
static void sum_ints(uint32_t *y, const char *x, int dtype, int64_t n, int64_t m, int64_t step) {
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < m; i++) {
            const int64_t at = t * step + i;
            uint32_t one = dtype == ZK_BOOL ? x[at] != 0 : ((const uint32_t *)x)[at];
            y[at] = one + (t ? y[at - step] : 0);
        }
}

static void sum_task(void *ctx, int64_t task, int thread) {
    const sum_job *j = ctx;
    const lines *l = &j->l;
    const int64_t end = zk_min((task + 1) * l->per, l->outer * l->inner);
    const int64_t size = zk_dtype_size(j->dtype), step = j->reverse ? -l->inner : l->inner;
    (void)thread;
    for (int64_t i = task * l->per, m; i < end; i += m) {
        m = zk_min(end - i, l->inner - i % l->inner);
        int64_t at = i / l->inner * l->n * l->inner + i % l->inner;
        if (j->reverse) at += (l->n - 1) * l->inner;
        if (j->dtype == ZK_F32 && l->inner == 1 && end - i >= ABREAST) {
            sum_abreast((float *)j->y + at, (const float *)j->x + at, l->n, step, l->n);
            m = ABREAST;
        } else if (j->dtype == ZK_F32)
            sum_floats((float *)j->y + at, (const float *)j->x + at, l->n, m, step);
        else sum_ints((uint32_t *)j->y + at, j->x + at * size, j->dtype, l->n, m, step);
    }
}

/* cumsum: y = sums of x up to each element, or from it on; bools count.  out y  in x
 * attr axis, reverse */
static void cumsum(const zk_call *c) {
    sum_job j = {.l = lines_of(c->a + 1, c->attr[0]), .x = c->p[1], .y = c->p[0]};
    j.dtype = c->a[1].dtype, j.reverse = c->attr[1] != 0;
    if (j.l.n) zk_parallel(c, tasks_of(&j.l), sum_task, &j);
}

typedef struct {
    const zk_arg *y, *x;
    char *to;
    const char *from;
    id_list ids;
    int64_t size;
    int axis;
} take_job;

/* Where x has the element for place i of y; the axis is looked up, and an axis of 1 is repeated. */
static int64_t source_of(const take_job *j, int64_t i) {
    int64_t at = 0, stride = 1, rest = i;
    for (int k = j->y->ndim - 1; k >= 0; k--) {
        const int64_t here = k == j->axis ? id_at(&j->ids, i) : rest % j->y->dims[k];
        if (j->x->dims[k] != 1) at += here * stride;
        rest /= j->y->dims[k];
        stride *= j->x->dims[k];
    }
    return at;
}

static void take_task(void *ctx, int64_t task, int thread) {
    const take_job *j = ctx;
    const int64_t end = zk_min((task + 1) * TASK_ELEMENTS, j->ids.n);
    (void)thread;
    for (int64_t i = task * TASK_ELEMENTS; i < end; i++)
        memcpy(j->to + i * j->size, j->from + source_of(j, i) * j->size, (size_t)j->size);
}

/* take_along_axis: y = x at each id of the axis, other indices kept.  out y  in x, ids  attr axis
 * scratch: message */
static void take_along_axis(const zk_call *c) {
    take_job j = {c->a, c->a + 1, c->p[0], c->p[1], ids_of(c, 2), 0, 0};
    j.size = zk_dtype_size(j.x->dtype);
    j.axis = (int)c->attr[0] + (c->attr[0] < 0 ? j.x->ndim : 0);
    if (ids_fit(c, &j.ids, 0, j.x->dims[j.axis]))
        zk_parallel(c, zk_ceil(j.ids.n, TASK_ELEMENTS), take_task, &j);
}

typedef struct {
    lines l; /* of y */
    take_job places;
    float *y;
    const float *g;
    int64_t m; /* ids along the axis */
} put_job;

/* Lines that are neighbours in y are neighbours in g. */
static void put_task(void *ctx, int64_t task, int thread) {
    const put_job *j = ctx;
    const lines *l = &j->l;
    const int64_t end = zk_min((task + 1) * l->per, l->outer * l->inner);
    (void)thread;
    for (int64_t i = task * l->per, width; i < end; i += width) {
        const int64_t column = i % l->inner, outer = i / l->inner;
        width = zk_min(end - i, l->inner - column);
        float *y = j->y + outer * l->n * l->inner + column;
        for (int64_t t = 0; t < l->n; t++) memset(y + t * l->inner, 0, (size_t)width * 4);
        for (int64_t t = 0; t < j->m; t++)
            for (int64_t k = 0; k < width; k++) {
                const int64_t at = (outer * j->m + t) * l->inner + column + k;
                y[id_at(&j->places.ids, at) * l->inner + k] += j->g[at];
            }
    }
}

/* take_along_axis_grad: g added to zeros at the places that take_along_axis reads.
 * out y  in g, ids  attr axis  scratch: message */
static void take_along_axis_grad(const zk_call *c) {
    put_job j = {.l = lines_of(c->a, c->attr[0]), .y = c->p[0], .g = c->p[1]};
    const int axis = (int)c->attr[0] + (c->attr[0] < 0 ? c->a->ndim : 0);
    j.places = (take_job){c->a + 2, c->a, NULL, NULL, ids_of(c, 2), 4, axis};
    j.m = c->a[2].dims[axis];
    if (!ids_fit(c, &j.places.ids, 0, j.l.n)) return;
    int alike = j.l.n > 0;
    for (int k = 0; k < c->a->ndim; k++) alike &= k == axis || c->a->dims[k] == c->a[2].dims[k];
    if (alike) {
        zk_parallel(c, tasks_of(&j.l), put_task, &j);
        return;
    }
    memset(j.y, 0, (size_t)zk_count(c->a) * 4); /* axes of 1 were repeated */
    for (int64_t i = 0; i < j.places.ids.n; i++) j.y[source_of(&j.places, i)] += j.g[i];
}

static int64_t take_scratch(const zk_call *c) {
    (void)c;
    return MESSAGE;
}

const zk_kernel ZK_TABLE(along_axis)[] = {
    {"sort", sort, sort_scratch},
    {"argsort", argsort, sort_scratch},
    {"top_k", top_k, top_k_scratch},
    {"cumsum", cumsum, NULL},
    {"take_along_axis", take_along_axis, take_scratch},
    {"take_along_axis_grad", take_along_axis_grad, take_scratch},
    {0}};
