/* Places in a sorted sequence. */
#include "../engine/kernel.h"

#define PART 2048 /* values that a task looks for */

typedef struct {
    const float *sorted, *x;
    int32_t *y;
    int64_t n, count;
    int right;
} search_job;

/* NaN stands behind all numbers, as numpy sorts it. */
static int comes_before(float a, float b, int right) {
    return right ? !(b < a) && !(a != a && b == b) : a < b || (b != b && a == a);
}

static void search_task(void *ctx, int64_t task, int thread) {
    const search_job *j = ctx;
    (void)thread;
    for (int64_t i = task * PART; i < zk_min((task + 1) * PART, j->count); i++) {
        const float *low = j->sorted;
        for (int64_t rest = j->n; rest > 0;) { /* no branch depends on the values */
            const int64_t half = (rest + 1) / 2;
            low += comes_before(low[half - 1], j->x[i], j->right) ? half : 0;
            rest = rest - half;
        }
        j->y[i] = (int32_t)(low - j->sorted);
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
