/* Kernels that pick rows by number: gather, its gradient as a whole table or as the touched rows
 * only, one-hot codes. Ids are int32 or int64; one that is out of range stops the run with a
 * message written into the scratch memory. Sums are in the order of positions for any threads. */
#include "ids.h"

#define DIGIT 11 /* bits sorted in one pass */

static int64_t message_bytes(const zk_call *c) {
    (void)c;
    return MESSAGE;
}

typedef struct {
    char *y;
    const char *table;
    id_list ids;
    int64_t bytes, per;
} gather_job;

static void gather_task(void *ctx, int64_t task, int thread) {
    const gather_job *j = ctx;
    int64_t end = zk_min((task + 1) * j->per, j->ids.n);
    (void)thread;
    for (int64_t i = task * j->per; i < end; i++) {
        __builtin_prefetch(j->table + id_at(&j->ids, zk_min(i + 8, end - 1)) * j->bytes);
        memcpy(j->y + i * j->bytes, j->table + id_at(&j->ids, i) * j->bytes, (size_t)j->bytes);
    }
}

/* gather: y = rows of the table.  out y(n, d)  in table(rows, d), ids(n); any dtype */
static void gather(const zk_call *c) {
    const zk_arg *table = c->a + 1;
    int64_t bytes = row_length(table, 1) * zk_dtype_size(table->dtype);
    gather_job j = {c->p[0], c->p[1], ids_of(c, 2), bytes, rows_per_task(bytes)};
    if (ids_fit(c, &j.ids, 0, table->dims[0]))
        zk_parallel(c, zk_ceil(j.ids.n, j.per), gather_task, &j);
}

/* The table's rows are cut into pieces of 1 << shift rows, about 256 KB each and 256 at most. */
typedef struct {
    float *y;
    const float *g;
    id_list ids;
    int64_t rows, d, pieces;
    int shift;
    int32_t *start, *order; /* positions by piece: order[start[k]] .. order[start[k + 1] - 1] */
} table_job;

static table_job new_table_job(const zk_call *c) {
    table_job j = {.rows = c->a->dims[0], .d = row_length(c->a, 1)};
    while (j.shift < 31 && ((j.rows - 1) >> j.shift >= 256 || j.d << j.shift < 65536)) j.shift++;
    j.pieces = zk_ceil(j.rows, (int64_t)1 << j.shift);
    return j;
}

/* Sorts the positions by piece; within a piece they keep their order. */
static void sort_by_piece(table_job *j) {
    memset(j->start, 0, (size_t)(j->pieces + 2) * 4);
    int32_t *next = j->start + 1; /* one ahead, so that it ends as the starts */
    for (int64_t i = 0; i < j->ids.n; i++) next[(id_at(&j->ids, i) >> j->shift) + 1]++;
    for (int64_t k = 0; k < j->pieces; k++) next[k + 1] += next[k];
    for (int64_t i = 0; i < j->ids.n; i++)
        j->order[next[id_at(&j->ids, i) >> j->shift]++] = (int32_t)i;
}

static void table_task(void *ctx, int64_t k, int thread) {
    const table_job *j = ctx;
    int64_t first = k << j->shift, end = zk_min((k + 1) << j->shift, j->rows);
    (void)thread;
    memset(j->y + first * j->d, 0, (size_t)((end - first) * j->d) * 4);
    for (int32_t i = j->start[k]; i < j->start[k + 1]; i++)
        add_row(j->y + id_at(&j->ids, j->order[i]) * j->d, j->g + j->order[i] * j->d, j->d);
}

/* gather_grad: row i of y = sum of the g whose id is i.  out y(rows, d)  in g(n, d), ids(n)
 * scratch: message, start(pieces + 2), order(n) */
static void gather_grad(const zk_call *c) {
    table_job j = new_table_job(c);
    j.y = c->p[0], j.g = c->p[1], j.ids = ids_of(c, 2);
    j.start = (int32_t *)(c->scratch + MESSAGE);
    j.order = j.start + j.pieces + 2;
    if (!j.rows || !j.d || !ids_fit(c, &j.ids, 0, j.rows)) return;
    sort_by_piece(&j);
    zk_parallel(c, j.pieces, table_task, &j);
}

static int64_t gather_grad_scratch(const zk_call *c) {
    if (!zk_count(c->a)) return MESSAGE;
    return MESSAGE + (new_table_job(c).pieces + 2 + zk_count(c->a + 2)) * 4;
}

typedef struct {
    int32_t id, position;
} pair;

/* One stable pass of a radix sort over DIGIT bits from `shift`. */
static void sort_digit(pair *to, const pair *from, int64_t n, int shift) {
    int32_t next[(1 << DIGIT) + 1] = {0};
    const int32_t mask = (1 << DIGIT) - 1;
    for (int64_t i = 0; i < n; i++) next[(from[i].id >> shift & mask) + 1]++;
    for (int k = 0; k < mask; k++) next[k + 1] += next[k];
    for (int64_t i = 0; i < n; i++) to[next[from[i].id >> shift & mask]++] = from[i];
}

/* Pairs (id, position) sorted by id, positions in order; a and b have room for all. */
static pair *sort_pairs(const id_list *ids, pair *a, pair *b) {
    int32_t all = 0;
    for (int64_t i = 0; i < ids->n; i++) {
        a[i] = (pair){(int32_t)id_at(ids, i), (int32_t)i};
        all |= a[i].id;
    }
    for (int shift = 0; shift < 31 && all >> shift; shift += DIGIT) {
        sort_digit(b, a, ids->n, shift);
        pair *t = a;
        a = b, b = t;
    }
    return a;
}

typedef struct {
    float *rows;
    const float *g;
    const pair *sorted;
    int32_t *first; /* where each unique id begins in sorted; n after the last one */
    int64_t n, count, d, per;
} rows_job;

static void rows_task(void *ctx, int64_t task, int thread) {
    const rows_job *j = ctx;
    (void)thread;
    for (int64_t u = task * j->per; u < zk_min((task + 1) * j->per, j->n); u++) {
        float *row = j->rows + u * j->d;
        memset(row, 0, (size_t)j->d * 4);
        if (u >= j->count) continue;
        for (int32_t i = j->first[u]; i < j->first[u + 1]; i++)
            add_row(row, j->g + j->sorted[i].position * j->d, j->d);
    }
}

/* Writes the unique ids and where each begins; returns how many there are. */
static int64_t list_unique(const pair *sorted, int64_t n, int32_t *unique, int32_t *first) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (!i || sorted[i].id != sorted[i - 1].id) {
            unique[count] = sorted[i].id;
            first[count++] = (int32_t)i;
        }
    first[count] = (int32_t)n;
    for (int64_t i = count; i < n; i++) unique[i] = -1;
    return count;
}

/* gather_grad_rows: the touched rows, in order of their ids.
 * out unique(n), rows(n, d), count()  in g(n, d), ids(n)
 * scratch: message, two arrays of n pairs, first(n + 1) */
static void gather_grad_rows(const zk_call *c) {
    id_list ids = ids_of(c, 4);
    int64_t d = row_length(c->a + 1, 1);
    rows_job j = {.rows = c->p[1], .g = c->p[3], .n = ids.n, .d = d, .per = rows_per_task(d * 4)};
    pair *pairs = (pair *)(c->scratch + MESSAGE);
    if (!ids_fit(c, &ids, 0, (int64_t)1 << 31)) return;
    j.first = (int32_t *)(pairs + 2 * ids.n);
    j.sorted = sort_pairs(&ids, pairs, pairs + ids.n);
    j.count = list_unique(j.sorted, ids.n, c->p[0], j.first);
    *(int32_t *)c->p[2] = (int32_t)j.count;
    zk_parallel(c, zk_ceil(j.n, j.per), rows_task, &j);
}

static int64_t gather_grad_rows_scratch(const zk_call *c) {
    int64_t n = zk_count(c->a + 4);
    return MESSAGE + n * 2 * (int64_t)sizeof(pair) + (n + 1) * 4;
}

/* sort_ids: where each id occurs.  out count, unique(n), first(n + 1), order(n) end to end
 * in ids(n)  scratch: message, two arrays of n pairs */
static void sort_ids(const zk_call *c) {
    id_list ids = ids_of(c, 1);
    int64_t n = ids.n;
    int32_t *to = c->p[0], *first = to + 1 + n, *order = first + n + 1;
    pair *pairs = (pair *)(c->scratch + MESSAGE);
    if (!ids_fit(c, &ids, 0, (int64_t)1 << 31)) return;
    const pair *sorted = sort_pairs(&ids, pairs, pairs + n);
    *to = (int32_t)list_unique(sorted, n, to + 1, first);
    memset(first + *to + 1, 0, (size_t)(n - *to) * 4);
    for (int64_t i = 0; i < n; i++) order[i] = sorted[i].position;
}

static int64_t sort_ids_scratch(const zk_call *c) {
    return MESSAGE + zk_count(c->a + 1) * 2 * (int64_t)sizeof(pair);
}

typedef struct {
    char *y;
    id_list ids;
    int64_t depth, size, per;
    uint64_t one;
} hot_job;

static void hot_task(void *ctx, int64_t task, int thread) {
    const hot_job *j = ctx;
    int64_t first = task * j->per, end = zk_min(first + j->per, j->ids.n);
    int64_t bytes = j->depth * j->size;
    (void)thread;
    memset(j->y + first * bytes, 0, (size_t)((end - first) * bytes));
    for (int64_t i = first; i < end; i++) {
        int64_t id = id_at(&j->ids, i);
        if (id >= 0 && id < j->depth)
            memcpy(j->y + i * bytes + id * j->size, &j->one, (size_t)j->size);
    }
}

/* one_hot: 1 at each id, else 0; nothing for an id outside.  out y(n, depth)  in ids(n) */
static void one_hot(const zk_call *c) {
    static const uint64_t ones[] = {[ZK_F32] = 0x3f800000,
                                    [ZK_F64] = 0x3ff0000000000000,
                                    [ZK_BF16] = 0x3f80,
                                    [ZK_F16] = 0x3c00};
    const zk_arg *y = c->a;
    uint64_t one = ones[y->dtype] ? ones[y->dtype] : 1;
    int64_t depth = y->dims[y->ndim - 1], size = zk_dtype_size(y->dtype);
    hot_job j = {c->p[0], ids_of(c, 1), depth, size, rows_per_task(depth * size), one};
    zk_parallel(c, zk_ceil(j.ids.n, j.per), hot_task, &j);
}

const zk_kernel ZK_TABLE(index)[] = {
    {"gather", gather, message_bytes},
    {"gather_grad", gather_grad, gather_grad_scratch},
    {"gather_grad_rows", gather_grad_rows, gather_grad_rows_scratch},
    {"sort_ids", sort_ids, sort_ids_scratch},
    {"one_hot", one_hot, NULL},
    {0}};
