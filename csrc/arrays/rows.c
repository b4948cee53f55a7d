/* Batches of rows, outside any program: copies numbered rows of several arrays, each array's end to
 * end. Threads of the engine share the rows, and find them in their caches in the step that
 * follows. */
#include "kernel.h"
#include <string.h>

#define AHEAD 16 /* rows asked for before they are copied: a row lies anywhere in memory */
#define LINE 64
#define NEAR (8 * LINE)  /* of a longer row the hardware asks for the rest by itself */
#define TASK (64 * 1024) /* bytes copied by a thread at a time */

typedef struct {
    const zk_rows *tables;
    const int64_t *order;
    int64_t n, each; /* rows, and rows of a task */
    int count;
} batch;

static int order_fits(const zk_rows *t, const int64_t *order, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (order[i] < 0 || order[i] >= t->rows) return 0;
    return 1;
}

/* Into the second cache: the first has not the room for lines of many rows. */
static void ask_for(const char *row, int64_t bytes) {
    const char *end = row + (bytes < NEAR ? bytes : NEAR);
    for (const char *at = row - (uintptr_t)row % LINE; at < end; at += LINE)
        __builtin_prefetch(at, 0, 2);
}

/* Copies of a known size need no call of memcpy. */
#define COPY(size)                                                          \
    for (int64_t i = 0; i < n; i++) {                                       \
        if (i + AHEAD < n) ask_for(from + order[i + AHEAD] * (size), size); \
        memcpy(to + i * (size), from + order[i] * (size), (size_t)(size));  \
    }

static void gather(const zk_rows *t, const int64_t *order, int64_t first, int64_t n) {
    char *to = (char *)t->to + first * t->bytes;
    const char *from = t->source;
    order += first;
    switch (t->bytes) {
    case 1:
        COPY(1) break;
    case 4:
        COPY(4) break;
    case 8:
        COPY(8) break;
    default:
        COPY(t->bytes)
    }
}

static void task(void *ctx, int64_t number, int thread) {
    (void)thread;
    const batch *b = ctx;
    int64_t first = number * b->each, left = b->n - first;
    for (int k = 0; k < b->count; k++)
        gather(b->tables + k, b->order, first, left < b->each ? left : b->each);
}

int zk_gather_rows(const zk_rows *tables, int count, const int64_t *order, int64_t n, int threads) {
    int64_t bytes = 1;
    for (int k = 0; k < count; k++) {
        if (!order_fits(tables + k, order, n)) return k;
        bytes += tables[k].bytes;
    }
    int64_t each = TASK / bytes ? TASK / bytes : 1;
    batch b = {tables, order, n, each, count};
    zk_call c = {.threads = threads};
    zk_parallel(&c, (n + each - 1) / each, task, &b);
    return -1;
}
