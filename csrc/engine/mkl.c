/* Finds and loads MKL's single library at run time; the only file that knows MKL. In: the path of
 * libmkl_rt, matrices. Out: products on the calling thread: MKL's own threads are never used, so
 * that no second thread pool lives beside ours. */
#define _GNU_SOURCE
#include "mkl.h"
#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>
#include "zk.h"

enum { SEQUENTIAL = 1, LP64 = 0, ROW_MAJOR = 101, AS_IS = 111, TURNED = 112 };

typedef int (*setter)(int);
typedef void (*sgemm_call)(int layout, int turn_a, int turn_b, int m, int n, int k, float alpha,
                           const float *a, int lda, const float *b, int ldb, float beta, float *c,
                           int ldc);

static sgemm_call sgemm;
static setter set_threads; /* of the calling thread; returns the number before */

int zk_mkl_loaded(void) { return sgemm != NULL; }

int zk_mkl_load(const char *path) {
    if (sgemm) return 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return -1;
    setter interface = (setter)dlsym(library, "MKL_Set_Interface_Layer");
    setter layer = (setter)dlsym(library, "MKL_Set_Threading_Layer");
    set_threads = (setter)dlsym(library, "MKL_Set_Num_Threads_Local");
    sgemm_call found = (sgemm_call)dlsym(library, "cblas_sgemm");
    if (!interface || !layer || !set_threads || !found) return -1;
    interface(LP64);
    layer(SEQUENTIAL);
    sgemm = found;
    return 0;
}

int zk_mkl_takes(int64_t m, int64_t n, int64_t k) {
    return m && n && k && m <= INT_MAX && n <= INT_MAX && k <= INT_MAX;
}

void zk_mkl_multiply(int64_t m, int64_t n, int64_t k, zk_matrix a, zk_matrix b, float scale,
                     float *c, int64_t cstep) {
    const int before = set_threads(1); /* in case the user made MKL threaded before us */
    sgemm(ROW_MAJOR, a.turned ? TURNED : AS_IS, b.turned ? TURNED : AS_IS, (int)m, (int)n, (int)k,
          1, a.p, (int)a.step, b.p, (int)b.step, scale, c, (int)cstep);
    set_threads(before);
}
