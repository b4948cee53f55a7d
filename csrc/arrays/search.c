/* Places in a sorted sequence. */
#include "../engine/kernel.h"

#define PART 2048 /* values that a task looks for */

typedef struct {
    const float *sorted, *x;
    int32_t *y;
    int64_t n, count;
    int right;
} search_job;

/* 1 or 0, without a branch: these would be guessed wrong half of the time. NaN stands behind all
 * numbers, as numpy sorts it. */
static int32_t comes_before(float a, float b, int right) {
    const int nan = b != b;
    return right ? (a <= b) | nan : (a < b) | (nan & (a == a));
}

#define ABREAST 16 /* searches that do not wait for each other */

/* All searches halve alike, whatever they look for. */
static void search_some(const search_job *j, const float *x, int32_t *y, int right) {
    float look[ABREAST];
    int32_t at[ABREAST] = {0};
    memcpy(look, x, sizeof look);
    for (int64_t rest = j->n; rest > 0;) {
        const int32_t half = (int32_t)((rest + 1) / 2);
        for (int i = 0; i < ABREAST; i++)
            at[i] += half * comes_before(j->sorted[at[i] + half - 1], look[i], right);
        rest -= half;
    }
    memcpy(y, at, sizeof at);
}

static void search_task(void *ctx, int64_t task, int thread) {
    const search_job *j = ctx;
    const int64_t end = zk_min((task + 1) * PART, j->count);
    (void)thread;
    for (int64_t i = task * PART; i < end; i += ABREAST) {
        const int64_t n = zk_min(ABREAST, end - i);
        float x[ABREAST] = {0};
        int32_t y[ABREAST];
        memcpy(x, j->x + i, (size_t)n * 4);
        if (j->right) search_some(j, x, y, 1);
        else search_some(j, x, y, 0);
        memcpy(j->y + i, y, (size_t)n * 4);
    }
}

/* searchsorted: how many of the sorted numbers come before each value, its equals too if right.
 * out y(n)  in sorted(k), x(n)  attr right */
static void searchsorted(const zk_call *c) {
    search_job j = {c->p[1], c->p[2], c->p[0], zk_count(c->a + 1), zk_count(c->a + 2), 0};
    j.right = c->attr[0] != 0;
    zk_parallel(c, zk_ceil(j.count, PART), search_task, &j);
}

const zk_kernel ZK_TABLE(search)[] = {{"searchsorted", searchsorted, NULL}, {0}};
