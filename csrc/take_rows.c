/* Rows of an array of any dtype, gathered by number into a dense batch: what shuffled training does
 * before each step. Not a kernel of programs: the batch is made before one runs. */
#include "kernel.h"

enum {
    PIECE = 256, /* rows of a task */
    AHEAD = 16   /* rows fetched meanwhile: about the misses that a core keeps in flight */
};

typedef struct {
    char *to;
    const char *from;
    const int64_t *rows;
    int64_t count, bytes;
} gathering;

static void fetch(const char *row, int64_t bytes) {
    for (int64_t at = 0; at < bytes && at < 512; at += 64) __builtin_prefetch(row + at, 0, 0);
}

static void gather(void *context, int64_t task, int thread) {
    (void)thread;
    const gathering *g = context;
    const int64_t end = zk_min((task + 1) * PIECE, g->count);
    for (int64_t i = task * PIECE; i < end; i++) {
        if (i + AHEAD < end) fetch(g->from + g->rows[i + AHEAD] * g->bytes, g->bytes);
        memcpy(g->to + i * g->bytes, g->from + g->rows[i] * g->bytes, (size_t)g->bytes);
    }
}

void zk_take_rows(void *to, const void *from, const int64_t *rows, int64_t count, int64_t bytes,
                  int threads) {
    gathering g = {to, from, rows, count, bytes};
    zk_call call = {.threads = threads};
    zk_parallel(&call, zk_ceil(count, PIECE), gather, &g);
}
