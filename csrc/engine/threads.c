/* Own thread pool. A job's tasks are shared out by number: each thread takes the tasks of its own
 * part, in order, and then what others have left of theirs. So a thread finds in its caches what it
 * wrote itself when the job before was cut alike. Threads spin for a moment and then sleep. They
 * compute in the caller's float mode. A forked child starts with an empty pool (pthread_atfork), so
 * a process that forks workers, as Spark does, is safe. One job at a time; a second caller runs
 * inline. Beside it one job may lie ready for later: threads take its tasks while they would be
 * idle. */
#define _GNU_SOURCE
#include "float_mode.h"
#include "kernel.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define MAX_THREADS 256
#define SPINS 4000 /* about 40 us: longer than the gap between two kernels of one program */

#define OWN_LINE __attribute__((aligned(64)))

/* What a job is, as a thread saw it. Parts of its tasks: [0, parts). */
typedef struct {
    uint32_t number;
    int threads, parts;
    zk_task fn;
    void *ctx;
    int64_t n;
    uint64_t mode; /* of floats, the caller's */
} order;

typedef struct {
    _Atomic uint32_t number; /* of the job; odd while its fields change */
    order now;
    OWN_LINE _Atomic int64_t done;
    /* For each part: number of the job << 32 | next task. A part of which nothing was taken still
     * has the number of the job before, so that who gives a job need not touch all of them. */
    struct {
        OWN_LINE _Atomic uint64_t next;
    } part[MAX_THREADS];
} job;

static struct {
    job now, later;
    _Atomic int promised; /* whether `later` has not ended */
    int workers;          /* started so far */
    _Atomic int sleepers;
    pthread_mutex_t busy, sleep;
    pthread_cond_t wake;
} pool OWN_LINE = {.busy = PTHREAD_MUTEX_INITIALIZER,
                   .sleep = PTHREAD_MUTEX_INITIALIZER,
                   .wake = PTHREAD_COND_INITIALIZER};

static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static int64_t first_task(const order *o, int part) { return o->n * part / o->parts; }

/* The job as it stands; 0 while it changes, or where this thread has no business. */
static int look(job *j, int thread, order *o) {
    o->number = atomic_load(&j->number);
    o->fn = __atomic_load_n(&j->now.fn, __ATOMIC_RELAXED);
    o->ctx = __atomic_load_n(&j->now.ctx, __ATOMIC_RELAXED);
    o->n = __atomic_load_n(&j->now.n, __ATOMIC_RELAXED);
    o->mode = __atomic_load_n(&j->now.mode, __ATOMIC_RELAXED);
    o->threads = __atomic_load_n(&j->now.threads, __ATOMIC_RELAXED);
    o->parts = __atomic_load_n(&j->now.parts, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_acquire); /* with the fence in publish */
    return o->number % 2 == 0 && atomic_load(&j->number) == o->number && thread < o->threads;
}

/* The next task of a part given what stands there, or -1: all are taken, or the job is over. While
 * it is not, a part has its number or the one before; once it is, none of its parts has a task
 * left, so that a late thread takes nothing. */
static int64_t next_task(const order *o, int part, uint64_t next) {
    const uint32_t number = (uint32_t)(next >> 32);
    int64_t task = -1;
    if (number == o->number) task = (int64_t)(next & 0xffffffffu);
    else if (number == o->number - 2) task = first_task(o, part);
    return task < first_task(o, part + 1) ? task : -1;
}

/* Takes a task, of its own part while there is one; -1 when none is left. */
static int64_t take(job *j, const order *o, int thread) {
    for (int i = 0; i < o->parts; i++) {
        const int part = (thread + i) % o->parts;
        uint64_t next = atomic_load(&j->part[part].next);
        for (int64_t task; (task = next_task(o, part, next)) >= 0;)
            if (atomic_compare_exchange_weak(&j->part[part].next, &next,
                                             (uint64_t)o->number << 32 | (uint64_t)(task + 1)))
                return task;
    }
    return -1;
}

/* Runs at most so many tasks of a job; how many it were. */
static int64_t run(job *j, int thread, int64_t most) {
    order o;
    int64_t ran = 0;
    if (!look(j, thread, &o)) return 0;
    for (int64_t task; ran < most && (task = take(j, &o, thread)) >= 0; ran++) {
        if (thread && !ran) set_float_mode(o.mode);
        o.fn(o.ctx, task, thread);
    }
    if (ran) atomic_fetch_add_explicit(&j->done, ran, memory_order_acq_rel);
    return ran;
}

static int changed(uint32_t seen) { return atomic_load(&pool.now.number) != seen; }

/* Whether all tasks have been run: a look that costs threads that spin nothing. */
static int is_over(job *j) {
    return atomic_load(&j->done) >= __atomic_load_n(&j->now.n, __ATOMIC_RELAXED);
}

/* Whether tasks of the later job are left. What it says may be old, which harms no one. */
static int has_later(int thread) {
    order o;
    if (is_over(&pool.later) || !look(&pool.later, thread, &o)) return 0;
    for (int i = 0; i < o.parts; i++)
        if (next_task(&o, i, atomic_load(&pool.later.part[i].next)) >= 0) return 1;
    return 0;
}

static void wait_for_job(uint32_t seen, int thread) {
    for (;;) {
        for (int i = 0; i < SPINS; i++) {
            if (changed(seen)) return;
            if (!is_over(&pool.later) && run(&pool.later, thread, 1)) i = 0;
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
    uint32_t seen = 0; /* no job has the number 0 */
    for (;;) {
        wait_for_job(seen, thread);
        seen = atomic_load_explicit(&pool.now.number, memory_order_acquire);
        run(&pool.now, thread, INT64_MAX);
    }
    return NULL;
}

/* In a child: a job that is kept has all of its tasks before it, another one none. A job that was
 * over belongs to no one any more, whatever another thread of the parent was about to promise. */
static void restore(job *j, int kept) {
    const uint32_t was = atomic_load(&j->number), number = was + was % 2;
    kept = kept && number == was && !is_over(j);
    if (!kept) j->now.n = 0;
    for (int i = 0; i < j->now.parts; i++)
        atomic_store(&j->part[i].next, (uint64_t)(kept ? number - 2 : number) << 32);
    atomic_store(&j->done, 0);
    atomic_store(&j->number, number);
}

/* The parent's workers do not exist in the child, and any of its locks may be held. */
static void child_starts_empty(void) {
    pool.workers = 0;
    restore(&pool.now, 0);
    restore(&pool.later, atomic_load(&pool.promised)); /* who ends it does anew what was begun */
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
    const uint32_t number = atomic_load(&j->number);
    const int most = threads < MAX_THREADS ? threads : MAX_THREADS, before = j->now.parts;
    const int parts = n < most ? (int)n : most;
    atomic_store(&j->number, number + 1);
    atomic_thread_fence(memory_order_release); /* who reads a new field sees that they change */
    __atomic_store_n(&j->now.fn, fn, __ATOMIC_RELAXED);
    __atomic_store_n(&j->now.ctx, ctx, __ATOMIC_RELAXED);
    __atomic_store_n(&j->now.n, n, __ATOMIC_RELAXED);
    __atomic_store_n(&j->now.mode, float_mode(), __ATOMIC_RELAXED);
    __atomic_store_n(&j->now.threads, most, __ATOMIC_RELAXED);
    __atomic_store_n(&j->now.parts, parts, __ATOMIC_RELAXED);
    for (int i = before; i < parts; i++) atomic_store(&j->part[i].next, (uint64_t)number << 32);
    atomic_store(&j->done, 0);
    atomic_store(&j->number, number + 2);
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
    run(&pool.now, 0, INT64_MAX);
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
    run(&pool.later, 0, INT64_MAX);
    wait_until_done(&pool.later, pool.later.now.n);
    atomic_store(&pool.promised, 0);
}
