/* Hammers the thread pool by itself: argv[1] parallel regions of a few tiny tasks from each of two
 * callers at once, each with a job for later that one of them holds, then the same in a forked
 * child. Every task must run exactly once, with the context of its own region; each thread begins
 * with its own part. Prints what is wrong and returns 1, else returns 0. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "kernel.h"

enum { TASKS = 9, THREADS = 3 };
static long regions;

/* One region: how often each task has run. */
typedef struct {
    int n, length; /* tasks, and the work of each */
    _Atomic int runs[TASKS];
    _Atomic int strangers; /* tasks with a number or thread that this region does not have */
} region;

static void task(void *ctx, int64_t i, int thread) {
    region *r = ctx;
    for (volatile int k = 0; k < r->length; k++) continue;
    if (i >= r->n || thread < 0 || thread >= THREADS) atomic_fetch_add(&r->strangers, 1);
    else atomic_fetch_add(&r->runs[i], 1);
}

static int wrong(const region *r) {
    for (int i = 0; i < TASKS; i++)
        if (r->runs[i] != (i < r->n)) return 1;
    return r->strangers != 0;
}

static void check(const region *r, long k) {
    if (!wrong(r)) return;
    printf("region %ld of %d tasks: a task was lost, repeated or misplaced\n", k, r->n);
    exit(1);
}

static void *caller(void *seed) {
    unsigned random = (unsigned)(uintptr_t)seed;
    for (long k = 0; k < regions; k++) {
        region r = {.n = 2 + rand_r(&random) % (TASKS - 1), .length = k % 3 * 100};
        region later = {.n = 1 + rand_r(&random) % TASKS, .length = k % 5 * 50};
        zk_call c = {.threads = 2 + rand_r(&random) % (THREADS - 1)};
        const int promised = zk_promise(c.threads, later.n, task, &later);
        zk_parallel(&c, r.n, task, &r);
        check(&r, k);
        if (promised) {
            zk_fulfil();
            check(&later, k);
        }
        if (k % 1000 == 0) usleep(300); /* the workers fall asleep */
    }
    return NULL;
}

static void hammer(void) {
    pthread_t other;
    pthread_create(&other, NULL, caller, (void *)7);
    caller((void *)1);
    pthread_join(other, NULL);
}

/* One task for each part, which ends once all have begun: so no thread can do another's. */
typedef struct {
    _Atomic int begun, strangers;
} meeting;

static void meet(void *ctx, int64_t i, int thread) {
    meeting *m = ctx;
    if (thread != i) atomic_fetch_add(&m->strangers, 1);
    atomic_fetch_add(&m->begun, 1);
    while (atomic_load(&m->begun) < THREADS) sched_yield();
}

static void check_parts(void) {
    zk_call c = {.threads = THREADS};
    for (int k = 0; k < 100; k++) {
        meeting m = {0};
        zk_parallel(&c, THREADS, meet, &m);
        if (!m.strangers) continue;
        printf("%d threads began with a part that is not theirs\n", m.strangers);
        exit(1);
    }
}

int main(int argc, char **argv) {
    regions = argc > 1 ? atol(argv[1]) : 1000;
    setvbuf(stdout, NULL, _IONBF, 0);
    check_parts();
    hammer();
    pid_t child = fork();
    if (child == 0) {
        hammer();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) printf("the forked child ended with status %d\n", status);
    hammer();
    return status != 0;
}
