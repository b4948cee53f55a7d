/* Lists of ids, int32 or int64, and the check that they name rows of a table. */
#ifndef ZK_IDS_H
#define ZK_IDS_H
#include "vec.h"
#include <stdio.h>

#define MESSAGE 256 /* bytes at the start of the scratch memory for the error message */
#define TASK_BYTES (64 * 1024)

typedef int64_t wide_id __attribute__((may_alias, aligned(4)));
typedef struct {
    const void *p;
    int64_t n;
    int wide;
} id_list;

ZK_INLINE id_list ids_of(const zk_call *c, int arg) {
    return (id_list){c->p[arg], zk_count(c->a + arg), c->a[arg].dtype == ZK_I64};
}

ZK_INLINE int64_t id_at(const id_list *ids, int64_t i) {
    return ids->wide ? ((const wide_id *)ids->p)[i] : ((const int32_t *)ids->p)[i];
}

/* Whether all ids are in [low, rows); else the run fails with the first one that is not. */
static int ids_fit(const zk_call *c, const id_list *ids, int64_t low, int64_t rows) {
    int64_t wrong = 0, i = 0;
    if (ids->wide)
        for (i = 0; i < ids->n; i++) wrong |= id_at(ids, i) < low || id_at(ids, i) >= rows;
    else
        for (i = 0; i < ids->n; i++) {
            int32_t id = ((const int32_t *)ids->p)[i];
            wrong |= id < low || id >= rows;
        }
    if (!wrong) return 1;
    for (i = 0; id_at(ids, i) >= low && id_at(ids, i) < rows;) i++;
    snprintf(c->scratch, MESSAGE,
             "id out of range at position %lld: ids must be at least 0 and below %lld, the number "
             "of rows. Received: %lld. Correct the id or use a larger table.",
             (long long)i, (long long)rows, (long long)id_at(ids, i));
    zk_fail(c, c->scratch);
    return 0;
}

/* Floats of a row of an array whose first `lead` axes are counted by ids. */
ZK_INLINE int64_t row_length(const zk_arg *a, int lead) { return zk_span(a, lead, a->ndim); }

ZK_INLINE int64_t rows_per_task(int64_t row_bytes) {
    return zk_max(TASK_BYTES / zk_max(row_bytes, 1), 1);
}

ZK_INLINE void add_row(float *restrict y, const float *restrict g, int64_t d) {
    for (int64_t k = 0; k < d; k++) y[k] += g[k];
}
#endif
