/* Batches of rows, outside any program: copies numbered rows of several arrays, each array's end to
 * end. It runs in the caller's thread alone, so that the threads of a step that runs beside it stay
 * with the step. */
#include "zk.h"
#include <string.h>

#define AHEAD 16 /* rows asked for before they are copied: a row lies anywhere in memory */
#define LINE 64

static int order_fits(const zk_rows *t, const int64_t *order, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (order[i] < 0 || order[i] >= t->rows) return 0;
    return 1;
}

static void ask_for(const zk_rows *t, int64_t row) {
    const char *from = (const char *)t->source + row * t->bytes;
    int64_t end = t->bytes < 8 * LINE ? t->bytes : 8 * LINE; /* the hardware goes on by itself */
    for (int64_t at = 0; at < end; at += LINE) __builtin_prefetch(from + at);
    if (end) __builtin_prefetch(from + end - 1);
}

/* Copies of a known size need no call of memcpy. */
#define COPY(size)                                                         \
    for (; i < n; i++) {                                                   \
        if (i + AHEAD < n) ask_for(t, order[i + AHEAD]);                   \
        memcpy(to + i * (size), from + order[i] * (size), (size_t)(size)); \
    }

static void gather(const zk_rows *t, const int64_t *order, int64_t n) {
    char *to = t->to;
    const char *from = t->source;
    int64_t i = 0;
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

int zk_gather_rows(const zk_rows *tables, int count, const int64_t *order, int64_t n) {
    for (int k = 0; k < count; k++)
        if (!order_fits(tables + k, order, n)) return k;
    for (int k = 0; k < count; k++) gather(tables + k, order, n);
    return -1;
}
