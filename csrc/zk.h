/* The whole C interface of the engine: C includes this file and cffi reads it (lines that start
 * with # are dropped for cffi). A program is three flat arrays (instructions, arguments, attribute
 * numbers) over numbered memory spaces; it is checked once by zk_program_new and run by zk_run. */
#ifndef ZK_H
#define ZK_H
#include <stdint.h>

/* One argument of an instruction: a dense row-major array at spaces[space] + offset bytes. */
typedef struct {
    int32_t space;
    int32_t dtype; /* index in zk_dtype_name */
    int32_t ndim;
    int32_t unused;
    int64_t offset;
    int64_t dims[8];
} zk_arg;

/* One instruction: outputs first, then inputs, in rows arg0.. of the argument table. */
typedef struct {
    int32_t kernel; /* index in the kernel table; -1: the host runs it */
    int32_t nout;
    int32_t nin;
    int32_t arg0;
    int32_t attr0;
    int32_t nattr;
    int64_t scratch; /* bytes from the arena's start (space 0) */
} zk_instr;

typedef struct zk_program zk_program;

/* Why a run stopped: the instruction and a static message (NULL when all went well). */
typedef struct {
    int64_t instr;
    const char *message;
} zk_result;

/* Dtypes and kernels by number; names are NULL past the end. */
const char *zk_dtype_name(int index);
int64_t zk_dtype_size(int index);
const char *zk_kernel_name(int index);
const char *zk_tile_name(int index);

/* Instruction sets built in: the one in use, and switching (0 when done, -1 when unknown or not
 * supported by this CPU). Switch only while no program runs. */
const char *zk_isa(void);
int zk_set_isa(const char *name);
int zk_threads_online(void);

/* Bytes of scratch memory that an instruction wants for `threads` threads, or -1 and a message. */
int64_t zk_scratch_bytes(const zk_instr *instr, const zk_arg *args, const double *attrs,
                         int threads);

/* Copies and checks the tables. space_bytes[i] is the least size of space i. NULL and a message in
 * err when an index or a bound is wrong. */
zk_program *zk_program_new(const zk_instr *instrs, int64_t ninstr, const zk_arg *args,
                           int64_t nargs, const double *attrs, int64_t nattrs,
                           const int64_t *space_bytes, int nspaces, int threads, char *err,
                           int errlen);
void zk_program_free(zk_program *program);

/* Runs from instruction `from` to the end. Returns the number of instructions when done, the index
 * of an instruction that the host must run, or -1 with `result` filled in. seconds: NULL, or one
 * double for each instruction to which its time is added. */
int64_t zk_run(const zk_program *program, void *const *spaces, int64_t from, zk_result *result,
               double *seconds);

/* Runs one two-argument kernel over n elements outside any program: dst = kernel(dst, src). */
int zk_slice(const char *kernel, void *dst, const void *src, int64_t n, double number, int threads);

/* MKL, found and loaded at run time. path: libmkl_rt; 0 when loaded, -1 when not. */
int zk_mkl_load(const char *path);
int zk_mkl_loaded(void);
/* Who multiplies matrices: 0 the table decides, 1 MKL wherever it can, 2 own kernels only. */
void zk_set_gemm(int choice);
#endif
