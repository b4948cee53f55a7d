/* Intel's MKL as the kernels see it: whether it can multiply matrices of this shape, and the call.
 * Whether it shall is an attribute of the product. */
#ifndef ZK_MKL_H
#define ZK_MKL_H
#include <stdint.h>

/* 1 when MKL has a product of this shape; whether it is loaded is not asked. */
int zk_mkl_takes(int64_t m, int64_t n, int64_t k);

/* A matrix in memory: rows `step` floats apart, to be read as it is or turned. */
typedef struct {
    const float *p;
    int64_t step;
    int turned;
} zk_matrix;

/* c(m, n) = a(m, k) b(k, n) + scale * c, on the calling thread; rows of c are `cstep` apart. */
void zk_mkl_multiply(int64_t m, int64_t n, int64_t k, zk_matrix a, zk_matrix b, float scale,
                     float *c, int64_t cstep);
#endif
