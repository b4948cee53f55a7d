/* The whole C interface of the engine: C includes this file and cffi reads it (lines that start
 * with # are dropped for cffi). A program is three flat arrays (instructions, arguments, attribute
 * numbers) over numbered memory spaces; it is checked once by zk_program_new and run by zk_run. */
#ifndef ZK_H
#define ZK_H
#include <stdint.h>

/* ---- Numbers that Python and C share; Python reads them by these names. ---------------------- */

enum { ZK_DIMS = 8 };   /* axes of an array, at most */
enum { ZK_PANEL = 16 }; /* floats across a packed panel, in every instruction set */

/* Packed for tile registers: columns side by side and k of a step; bfloat16 numbers of both tiles.
 */
enum { ZK_TILE_COLUMNS = 32, ZK_TILE_STEP = 32, ZK_TILE_BOTH = 1024 };

/* Who multiplies matrices: chosen when a program is compiled, an attribute of its products. */
enum { ZK_OWN, ZK_MKL };

/* Activations that a kernel applies as it stores. From ZK_GELU on they are for matrix products
 * only, not for convolutions; those after ZK_SILU, and none of these three, for recurrent layers:
 * their derivative follows from their result. ZK_HARD_SIGMOID_FIFTH has Keras 2's slope, 1 / 5. */
enum {
    ZK_LINEAR,
    ZK_RELU,
    ZK_TANH,
    ZK_SIGMOID,
    ZK_RELU6,
    ZK_GELU,
    ZK_GELU_TANH,
    ZK_SILU,
    ZK_HARD_SIGMOID,
    ZK_HARD_SIGMOID_FIFTH,
    ZK_SPARSE_SIGMOID,
    ZK_HARD_TANH,
    ZK_LEAKY_RELU,
    ZK_ELU,
    ZK_SELU,
    ZK_SOFTPLUS,
    ZK_LOG_SIGMOID,
    ZK_SOFTSIGN,
    ZK_SPARSE_PLUS,
    ZK_EXPONENTIAL
};

/* Places of attributes: matmul, dense, dense_packed, dense_int8. */
enum { ZK_MATMUL_TRANSPOSE_A, ZK_MATMUL_TRANSPOSE_B, ZK_MATMUL_BY };
enum { ZK_DENSE_ACTIVATION, ZK_DENSE_BY };
enum { ZK_DENSE_PACKED_UNITS, ZK_DENSE_PACKED_ACTIVATION };
enum { ZK_DENSE_BF16_UNITS, ZK_DENSE_BF16_ACTIVATION, ZK_DENSE_BF16_TRANSPOSE_A };
enum { ZK_PACK_BF16_TRANSPOSE };
enum { ZK_DENSE_INT8_UNITS, ZK_DENSE_INT8_ACTIVATION, ZK_DENSE_INT8_SCALE };
enum { ZK_PACK_INT8_PARTS };

/* Of convolutions: numbers of the three axes from each of the first on, depth first. */
enum {
    ZK_CONV_STRIDES = 0,
    ZK_CONV_PADDING = 3, /* before the first cell */
    ZK_CONV_DILATION = 6,
    ZK_CONV_GROUPS = 9,
    ZK_CONV_ACTIVATION = 10,
    ZK_CONV_WINOGRAD = 11, /* outputs of Winograd's tile along an axis, or 0 */
    ZK_CONV_KERNEL = 12    /* packed weights: the kernel's cells */
};
/* Of convolutions in tiles (int8, bfloat16): numbers of two axes, rows first; whether the cells of
 * a row are one tap; and the scale of an int8 result, or 0. */
enum {
    ZK_CONV_TAPS_STRIDES = 0,
    ZK_CONV_TAPS_PADDING = 2, /* before the first cell */
    ZK_CONV_TAPS_DILATION = 4,
    ZK_CONV_TAPS_KERNEL = 6,
    ZK_CONV_TAPS_ACTIVATION = 8,
    ZK_CONV_TAPS_MERGED,
    ZK_CONV_TAPS_SCALE
};
enum { ZK_BATCH_NORM_EPSILON, ZK_BATCH_NORM_ROUNDS, ZK_BATCH_NORM_MOST };
enum { ZK_POOL_WINDOW = 0, ZK_POOL_STRIDES = 3, ZK_POOL_PADDING = 6 };
enum {
    ZK_ATTENTION_SCALE,
    ZK_ATTENTION_CAUSAL,
    ZK_ATTENTION_BLANK,
    ZK_ATTENTION_RATE,
    ZK_ATTENTION_SEED,
    ZK_ATTENTION_ROUNDS /* products round to bfloat16 */
};

/* Of recurrent layers; INNER is the activation of gates, ROUNDS to what products round. Flags:
 * which outputs are wanted, or which of the optional inputs behind the mask there are. */
enum { ZK_RNN_REVERSE, ZK_RNN_ACTIVATION, ZK_RNN_INNER, ZK_RNN_ROUNDS, ZK_RNN_MASK, ZK_RNN_FLAGS };
enum { ZK_RNN_FLOAT32, ZK_RNN_BFLOAT16, ZK_RNN_INT8 };

/* Winograd's points are 0, +-P/Q, +-Q/P and infinity for 4 outputs, 0, +-1 and infinity for 2. */
enum { ZK_WINOGRAD_P = 2, ZK_WINOGRAD_Q = 3 };

/* A chain: how many numbers, values in between and rows it has; (repeat, period) of each input;
 * the numbers' bits; then the rows: a tile function, the register it fills, those it reads. */
enum { ZK_CHAIN_NUMBERS, ZK_CHAIN_BETWEEN, ZK_CHAIN_ROWS, ZK_CHAIN_HEAD };
enum { ZK_CHAIN_TILE, ZK_CHAIN_TARGET, ZK_CHAIN_SOURCE, ZK_CHAIN_SOURCES = 3, ZK_CHAIN_ROW = 5 };
enum { ZK_CHAIN_MAX_REGISTERS = 256, ZK_CHAIN_MAX_ROWS = 200, ZK_CHAIN_MAX_INPUTS = 64 };

/* Optimizers, the first attribute of their kernels; at most so many numbers of one's own follow. */
enum {
    ZK_SGD,
    ZK_MOMENTUM,
    ZK_ADAM,
    ZK_AMSGRAD,
    ZK_ADAMAX,
    ZK_NADAM,
    ZK_RMSPROP,
    ZK_RMSPROP_MOMENTUM,
    ZK_RMSPROP_CENTERED,
    ZK_RMSPROP_CENTERED_MOMENTUM,
    ZK_ADAGRAD,
    ZK_ADADELTA,
    ZK_LION,
    ZK_FTRL
};
enum { ZK_OPTIMIZER_NUMBERS = 4 };

/* Columns of a table's notes, one row a step; and of the coefficients, one row for each lag. */
enum { ZK_NOTE_LR, ZK_NOTE_COUNT, ZK_NOTE_RATE, ZK_NOTE_ROOT, ZK_NOTE_KEPT, ZK_NOTE_WIDTH };
enum {
    ZK_LAG_A,
    ZK_LAG_B,
    ZK_LAG_C,
    ZK_LAG_CENTRE,
    ZK_LAG_M0,
    ZK_LAG_M2,
    ZK_LAG_M3,
    ZK_LAG_M4,
    ZK_LAG_WIDTH
};

/* Instructions that no kernel runs: the host's, and loops, whose body is another program that runs
 * once for each step. A loop's arguments are the last states and what steps put out; the first
 * states, sequences with a row for each step, and what every step reads whole. */
enum { ZK_HOST = -1, ZK_LOOP = -2 };

/* Attributes of a loop: the number of its body, how many inputs are states and sequences, its
 * steps, whether the last one comes first, bytes of the body's arena; then the argument that each
 * space of the body behind the arena is (outputs count first). */
enum {
    ZK_LOOP_BODY,
    ZK_LOOP_STATES,
    ZK_LOOP_SEQUENCES,
    ZK_LOOP_LENGTH,
    ZK_LOOP_REVERSE,
    ZK_LOOP_ARENA,
    ZK_LOOP_SPACES
};

/* int8: inputs side by side for each column of a panel, the largest magnitude, and 1 / epsilon:
 * 1e-7, which keeps the scale of zeros finite, as in Keras. */
enum { ZK_INT8_STEP = 4, ZK_INT8_MOST = 127, ZK_UINT8_MOST = 255, ZK_INT8_PER_EPSILON = 10000000 };

/* ---- Programs ----------------------------------------------------------------------------------
 */

/* One argument of an instruction: a dense row-major array at spaces[space] + offset bytes. */
typedef struct {
    int32_t space;
    int32_t dtype; /* index in zk_dtype_name */
    int32_t ndim;
    int32_t unused;
    int64_t offset;
    int64_t dims[ZK_DIMS];
} zk_arg;

/* One instruction: outputs first, then inputs, in rows arg0.. of the argument table. */
typedef struct {
    int32_t kernel; /* index in the kernel table, ZK_HOST or ZK_LOOP */
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
/* What the library was built from: a digest of the sources and flags, and the compiler. */
const char *zk_build(void);
const char *zk_compiler(void);

/* Instruction sets built in: the one in use, and switching (0 when done, -1 when unknown or not
 * supported by this CPU). Switch only while no program runs. */
const char *zk_isa(void);
const char *zk_isa_name(int index); /* of those that this CPU has, the widest first */
int zk_set_isa(const char *name);
/* AMX here: "present", "absent", "refused" by the system, or "emulated". */
const char *zk_amx_state(void);
int zk_threads_online(void);

/* Bytes of scratch memory that an instruction wants for `threads` threads, or -1 and a message. */
int64_t zk_scratch_bytes(const zk_instr *instr, const zk_arg *args, const double *attrs,
                         int threads);

/* Copies and checks the tables. space_bytes[i] is the least size of space i; bodies are those of
 * the loops, and must outlive the program. NULL and a message in err when an index or a bound is
 * wrong. */
zk_program *zk_program_new(const zk_instr *instrs, int64_t ninstr, const zk_arg *args,
                           int64_t nargs, const double *attrs, int64_t nattrs,
                           const int64_t *space_bytes, int nspaces, const zk_program *const *bodies,
                           int nbodies, int threads, char *err, int errlen);
void zk_program_free(zk_program *program);

/* Runs from instruction `from` to the end. Returns the number of instructions when done, the index
 * of an instruction that the host must run, or -1 with `result` filled in. seconds: NULL, or one
 * double for each instruction to which its time is added. */
int64_t zk_run(const zk_program *program, void *const *spaces, int64_t from, zk_result *result,
               double *seconds);

/* Runs one two-argument kernel over n elements outside any program: dst = kernel(dst, src). */
int zk_slice(const char *kernel, void *dst, const void *src, int64_t n, double number, int threads);

/* An array's rows of `bytes` bytes, and the room for those that are gathered. */
typedef struct {
    void *to;
    const void *source;
    int64_t rows, bytes;
} zk_rows;

/* Rows order[0..n-1] of each of `count` tables. */
typedef struct {
    const zk_rows *tables;
    const int64_t *order;
    int64_t n, each; /* rows, and rows of a task */
    int count, promised;
} zk_batch;

/* Sets `each` and `promised`. -1, or the number of the first table that has not all these rows: do
 * not go on then. ahead: threads that are idle may begin to copy, until zk_gather_rows; what the
 * batch points to must stay in place. */
int zk_gather_begin(zk_batch *b, int ahead, int threads);

/* Copies what is not copied yet. To be called once after zk_gather_begin. */
void zk_gather_rows(zk_batch *b, int threads);

/* order = the numbers 0..n-1, each order of them equally likely. seed: four words, not all 0.
 * scratch: n bytes. */
void zk_permutation(int64_t *order, int64_t n, const uint64_t *seed, uint8_t *scratch, int threads);

/* MKL, found and loaded at run time. path: libmkl_rt; 0 when loaded, -1 when not. */
int zk_mkl_load(const char *path);
int zk_mkl_loaded(void);
#endif
