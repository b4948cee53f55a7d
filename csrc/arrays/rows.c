/* Batches of rows, outside any program: copies numbered rows of several arrays, each array's end to
 * end, while other threads of the engine compute or when asked for; and orders of all rows. */
#include "kernel.h"
#include <string.h>

#define AHEAD 32 /* rows asked for before they are copied: a row lies anywhere in memory */
#define LINE 64
#define PIECE 16
#define NEAR (8 * LINE)  /* of a longer row the hardware asks for the rest by itself */
#define TASK (32 * 1024) /* bytes copied by a thread at a time */

/* Whether 0 <= order[i] < rows: then neither difference has a sign. No comparison and no early end,
 * so that the compiler checks many at once. */
static int order_fits(int64_t rows, const int64_t *order, int64_t n) {
    uint64_t signs = 0;
    for (int64_t i = 0; i < n; i++)
        signs |= (uint64_t)order[i] | ((uint64_t)rows - 1 - (uint64_t)order[i]);
    return !(signs >> 63);
}

/* The first array that lacks rows of the order, or -1. */
static int first_short(const zk_batch *b) {
    int64_t least = b->tables[0].rows;
    for (int k = 1; k < b->count; k++)
        if (b->tables[k].rows < least) least = b->tables[k].rows;
    if (order_fits(least, b->order, b->n)) return -1;
    int k = 0;
    while (order_fits(b->tables[k].rows, b->order, b->n)) k++;
    return k;
}

/* Into the second cache: the first has not the room for lines of many rows. */
ZK_INLINE void ask_for(const char *row, int64_t bytes) {
    int64_t near = bytes < NEAR ? bytes : NEAR;
    for (int64_t at = 0; at < near; at += LINE) __builtin_prefetch(row + at, 0, 2);
    __builtin_prefetch(row + near - 1, 0, 2);
}

/* A row of PIECE..NEAR bytes: the last piece lies over the end of the one before. */
ZK_INLINE void copy_pieces(char *to, const char *from, int64_t bytes) {
    for (int64_t at = 0; at < bytes - PIECE; at += PIECE) memcpy(to + at, from + at, PIECE);
    memcpy(to + bytes - PIECE, from + bytes - PIECE, PIECE);
}

/* Copies of a known size need no call of memcpy. */
#define COPY(size, copy)                                                 \
    for (int64_t i = 0; i < n; i++) {                                    \
        if (i < ask) ask_for(from + order[i + AHEAD] * (size), size);    \
        copy(to + i * (size), from + order[i] * (size), (size_t)(size)); \
    }

/* n rows from `first` on; `left`: of the batch, so that the next task's first rows are asked for.
 */
static void gather(const zk_rows *t, const int64_t *order, int64_t first, int64_t n, int64_t left) {
    const int64_t bytes = t->bytes, ask = left - AHEAD;
    char *to = (char *)t->to + first * bytes;
    const char *from = t->source;
    order += first;
    if (bytes == 0) return;
    if (bytes == 1) COPY(1, memcpy)
    else if (bytes == 4) COPY(4, memcpy)
    else if (bytes == 8) COPY(8, memcpy)
    else if (bytes >= PIECE && bytes <= NEAR) COPY(bytes, copy_pieces)
    else COPY(bytes, memcpy)
}

static void task(void *ctx, int64_t number, int thread) {
    (void)thread;
    const zk_batch *b = ctx;
    int64_t first = number * b->each, left = b->n - first;
    for (int k = 0; k < b->count; k++)
        gather(b->tables + k, b->order, first, left < b->each ? left : b->each, left);
}

static int64_t tasks(const zk_batch *b) { return (b->n + b->each - 1) / b->each; }

int zk_gather_begin(zk_batch *b, int ahead, int threads) {
    int64_t bytes = 1;
    int wrong = b->count ? first_short(b) : -1;
    if (wrong >= 0) return wrong;
    for (int k = 0; k < b->count; k++) bytes += b->tables[k].bytes;
    b->each = TASK / bytes ? TASK / bytes : 1;
    b->promised = ahead && zk_promise(threads, tasks(b), task, b);
    return -1;
}

void zk_gather_rows(zk_batch *b, int threads) {
    zk_call c = {.threads = threads};
    if (b->promised) zk_fulfil();
    else zk_parallel(&c, tasks(b), task, b);
    b->promised = 0;
}

/* ---- orders -------------------------------------------------------------------------------- */

#define HEAPS 256
#define NEXT 8 /* numbers in a line */

/* xoshiro256++ (Blackman and Vigna 2018). */
static uint64_t draw(uint64_t *s) {
    uint64_t sum = s[0] + s[3], found = (sum << 23 | sum >> 41) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return found;
}

/* A number below m, each equally likely (Lemire 2019). */
static uint64_t below(uint64_t *s, uint64_t m) {
    unsigned __int128 p = (unsigned __int128)draw(s) * m;
    if ((uint64_t)p < m)
        for (uint64_t least = -m % m; (uint64_t)p < least;) p = (unsigned __int128)draw(s) * m;
    return (uint64_t)(p >> 64);
}

static void shuffle(int64_t *a, int64_t n, uint64_t *s) {
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)below(s, (uint64_t)i + 1), kept = a[i];
        a[i] = a[j];
        a[j] = kept;
    }
}

typedef struct {
    int64_t *order, end[HEAPS];
    uint64_t state[HEAPS][4];
} heaps;

static void shuffle_heap(void *ctx, int64_t number, int thread) {
    (void)thread;
    heaps *h = ctx;
    int64_t from = number ? h->end[number - 1] : 0;
    shuffle(h->order + from, h->end[number] - from, h->state[number]);
}

/* Rao and Sandelius (1961): each number goes to any heap, then each heap is shuffled by itself,
 * within a cache and by any thread. Swaps all over memory take much longer. */
void zk_permutation(int64_t *order, int64_t n, const uint64_t *seed, uint8_t *heap_of,
                    int threads) {
    heaps h = {.order = order};
    uint64_t s[4];
    memcpy(s, seed, sizeof s);
    int64_t *place = h.end, first = 0;
    for (int64_t i = 0; i < n; i += 8) {
        uint64_t word = draw(s);
        memcpy(heap_of + i, &word, n - i < 8 ? (size_t)(n - i) : 8);
    }
    for (int64_t i = 0; i < n; i++) place[heap_of[i]]++;
    for (int k = 0; k < HEAPS; k++) {
        int64_t count = place[k];
        place[k] = first;
        first += count;
        for (int w = 0; w < 4; w++) h.state[k][w] = draw(s);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t at = place[heap_of[i]]++;
        __builtin_prefetch(order + at + NEXT, 1); /* else each heap waits for its next line */
        order[at] = i;
    }
    zk_call c = {.threads = threads};
    zk_parallel(&c, HEAPS, shuffle_heap, &h);
}
