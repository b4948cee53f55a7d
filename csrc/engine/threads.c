/* Own thread pool: tasks of one job are claimed one by one from a counter. Threads spin for a
 * moment and then sleep. They compute in the caller's float mode. A forked child starts with an
 * empty pool (pthread_atfork), so a process that forks workers, as Spark does, is safe. One job at
 * a time; a second caller runs inline. Beside it one job may lie ready for later: threads take its
 * tasks while they would be idle. */
#define _GNU_SOURCE
#include "float_mode.h"
#include "kernel.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define MAX_THREADS 256
#define SPINS 4000 /* about 40 us: longer than the gap between two kernels of one program */

typedef struct {
    /* generation << 32 | next task: claiming succeeds only while the generation is current, so a
     * late thread can never run a task of a job whose fields it did not read */
    _Atomic uint64_t ticket;
    _Atomic int64_t done;
    zk_task fn;
    void *ctx;
    int64_t n;
    uint64_t mode; /* of floats, the caller's */
    int threads;
} job;

static struct {
    job now, later;
    _Atomic int promised; /* whether `later` has not ended */
    int workers;          /* started so far */
    _Atomic int sleepers;
    pthread_mutex_t busy, sleep;
    pthread_cond_t wake;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER,
          .sleep = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Claims and runs one task of a job; 0 when none is left for this thread. */
static int run_one(job *j, int thread) {
    for (;;) {
        uint64_t t = atomic_load_explicit(&j->ticket, memory_order_acquire);
        int64_t task = (int64_t)(t & 0xffffffffu);
        zk_task fn = __atomic_load_n(&j->fn, __ATOMIC_RELAXED);
        void *ctx = __atomic_load_n(&j->ctx, __ATOMIC_RELAXED);
        uint64_t mode = __atomic_load_n(&j->mode, __ATOMIC_RELAXED);
        if (task >= __atomic_load_n(&j->n, __ATOMIC_RELAXED)) return 0;
        if (thread >= __atomic_load_n(&j->threads, __ATOMIC_RELAXED)) return 0;
        atomic_thread_fence(memory_order_acquire); /* with the fence in publish */
        if (!atomic_compare_exchange_weak(&j->ticket, &t, t + 1)) continue;
        if (thread) set_float_mode(mode);
        fn(ctx, task, thread);
        atomic_fetch_add_explicit(&j->done, 1, memory_order_acq_rel);
        return 1;
    }
}

static int changed(uint64_t seen) { return atomic_load(&pool.now.ticket) >> 32 != seen >> 32; }

/* Whether tasks of the later job are left. What it says may be old, which harms no one. */
static int has_later(int thread) {
    int64_t next = (int64_t)(atomic_load(&pool.later.ticket) & 0xffffffffu);
    return next < __atomic_load_n(&pool.later.n, __ATOMIC_RELAXED) &&
           thread < __atomic_load_n(&pool.later.threads, __ATOMIC_RELAXED);
}

static void wait_for_job(uint64_t seen, int thread) {
    for (;;) {
        for (int i = 0; i < SPINS; i++) {
            if (changed(seen)) return;
            if (run_one(&pool.later, thread)) i = 0;
            pause_cpu();
        }
        pthread_mutex_lock(&pool.sleep);
        atomic_fetch_add(&pool.sleepers, 1);
        while (!changed(seen) && !has_later(thread)) pthread_cond_wait(&pool.wake, &pool.sleep);
        atomic_fetch_sub(&pool.sleepers, 1);
        pthread_mutex_unlock(&pool.sleep);
    }
}

static void *worker(void *arg) {
    int thread = (int)(intptr_t)arg;
    uint64_t seen = 0; /* generation 0 is never published */
    for (;;) {
        wait_for_job(seen, thread);
        seen = atomic_load_explicit(&pool.now.ticket, memory_order_acquire);
        while (run_one(&pool.now, thread)) continue;
    }
    return NULL;
}

/* The parent's workers do not exist in the child, and any of its locks may be held. */
static void child_starts_empty(void) {
    pool.workers = 0;
    atomic_store(&pool.now.ticket, 0);
    if (!atomic_load(&pool.promised)) pool.later.n = 0;
    atomic_store(&pool.later.ticket, 0); /* tasks that were begun are done anew, by who ends it */
    atomic_store(&pool.later.done, 0);
    atomic_store(&pool.sleepers, 0);
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
}

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, child_starts_empty);
}

static void start_workers(int wanted) {
    if (pool.workers >= wanted) return;
    sigset_t all, old;
    sigfillset(&all); /* signals belong to the threads of Python */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.workers < wanted) {
        pthread_t id;
        if (pthread_create(&id, NULL, worker, (void *)(intptr_t)(pool.workers + 1))) break;
        pthread_detach(id);
        pool.workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void publish(job *j, int threads, int64_t n, zk_task fn, void *ctx) {
    uint64_t generation = (atomic_load(&j->ticket) >> 32) + 1;
    /* no task can be claimed while the fields change: the old job's counter stands at its n, and
     * the largest counter value bars a thread that has read the new n already */
    atomic_store(&j->ticket, generation << 32 | 0xffffffffu);
    atomic_thread_fence(memory_order_release); /* who reads a new field cannot claim the old way */
    __atomic_store_n(&j->fn, fn, __ATOMIC_RELAXED);
    __atomic_store_n(&j->ctx, ctx, __ATOMIC_RELAXED);
    __atomic_store_n(&j->n, n, __ATOMIC_RELAXED);
    __atomic_store_n(&j->mode, float_mode(), __ATOMIC_RELAXED);
    __atomic_store_n(&j->threads, threads, __ATOMIC_RELAXED);
    atomic_store(&j->done, 0);
    atomic_store_explicit(&j->ticket, (generation + 1) << 32, memory_order_seq_cst);
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep);
    }
}

static void wait_until_done(job *j, int64_t n) {
    for (int i = 0; atomic_load_explicit(&j->done, memory_order_acquire) < n; i++)
        if (i < SPINS) pause_cpu();
        else sched_yield();
}

void zk_parallel(const zk_call *c, int64_t n, zk_task fn, void *ctx) {
    int threads = c->threads < MAX_THREADS ? c->threads : MAX_THREADS;
    if (threads < 2 || n < 2 || pthread_mutex_trylock(&pool.busy)) {
        for (int64_t i = 0; i < n; i++) fn(ctx, i, 0);
        return;
    }
    start_workers(threads - 1);
    publish(&pool.now, threads, n, fn, ctx);
    while (run_one(&pool.now, 0)) continue;
    wait_until_done(&pool.now, n);
    pthread_mutex_unlock(&pool.busy);
}

int zk_promise(int threads, int64_t n, zk_task fn, void *ctx) {
    if (threads < 2 || atomic_exchange(&pool.promised, 1)) return 0;
    if (!pthread_mutex_trylock(&pool.busy)) { /* else the pool is at work: it has its threads */
        start_workers((threads < MAX_THREADS ? threads : MAX_THREADS) - 1);
        pthread_mutex_unlock(&pool.busy);
    }
    publish(&pool.later, threads, n, fn, ctx);
    return 1;
}

void zk_fulfil(void) {
    while (run_one(&pool.later, 0)) continue;
    wait_until_done(&pool.later, pool.later.n);
    atomic_store(&pool.promised, 0);
}
