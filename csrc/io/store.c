/* store.c - the threads that do jobs on files of request bodies. The rules are in store.h. */
#include "io/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* All files are on one disk, so more threads write no faster where it is quick; beside a loop that shares a core with them
 * each takes a part of its time. Two, so that a call that hangs does not stop every upload. */
#define THREADS 2
#define LEFT_BEHIND_S 1 /* how long the end waits for jobs under way */

struct fw_store {
    fw_store_done *done; /* not to be called once `gone` */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t work, ended;
    fw_job *head, *tail;
    unsigned queued, waiting, threads;
    unsigned inside; /* threads that are in `done` */
    bool quit;       /* no further job is begun */
    bool gone;       /* what `done` works on may be freed */
    char dir[];      /* of temporary files: a thread that is left behind may still want it */
};

/* ---- threads --------------------------------------------------------------------------------------------------- */

static void destroy(fw_store *s)
{
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Does a job; the store's lock is given up meanwhile. */
static void handle(fw_store *s, fw_job *j)
{
    pthread_mutex_unlock(&s->lock);
    if (!atomic_load(&j->dropped))
        fw_job_run(j);
    pthread_mutex_lock(&s->lock);
    if (s->gone) {
        pthread_mutex_unlock(&s->lock);
        fw_job_close(j);
        pthread_mutex_lock(&s->lock);
        return;
    }
    s->inside++;
    pthread_mutex_unlock(&s->lock);
    s->done(s->arg, j);
    pthread_mutex_lock(&s->lock);
    s->inside--;
}

static fw_job *take(fw_store *s)
{
    while (s->head == NULL && !s->quit) {
        s->waiting++;
        pthread_cond_wait(&s->work, &s->lock);
        s->waiting--;
    }
    if (s->quit)
        return NULL;
    fw_job *j = s->head;
    s->head = j->next;
    s->queued--;
    return j;
}

static void *run(void *arg)
{
    fw_store *s = arg;
    pthread_mutex_lock(&s->lock);
    for (fw_job *j; (j = take(s)) != NULL;)
        handle(s, j);
    const bool last = --s->threads == 0 && s->gone;
    pthread_cond_broadcast(&s->ended);
    pthread_mutex_unlock(&s->lock);
    if (last)
        destroy(s);
    return NULL;
}

/* Under the store's lock. */
static bool start_thread(fw_store *s)
{
    pthread_attr_t how;
    pthread_t id;
    sigset_t all, before;
    if (pthread_attr_init(&how) != 0)
        return false;
    sigfillset(&all);
    pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the application's threads' */
    const bool started = pthread_create(&id, &how, run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&how);
    s->threads += started;
    return started;
}

/* ---- for the loop ---------------------------------------------------------------------------------------------- */

bool fw_store_put(fw_store *s, fw_job *j)
{
    pthread_mutex_lock(&s->lock);
    if (s->waiting <= s->queued && s->threads < THREADS)
        start_thread(s);
    const bool taken = s->threads != 0 && !s->quit;
    if (taken) {
        j->dir = s->dir;
        j->next = NULL;
        if (s->head != NULL)
            s->tail->next = j;
        else
            s->head = j;
        s->tail = j;
        s->queued++;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}

void fw_store_release(fw_store *s, int fd)
{
    fw_job *j = fw_job_open(fd, NULL);
    if (j == NULL) {
        close(fd);
        return;
    }
    fw_job_disown(j);
    if (!fw_store_put(s, j))
        fw_job_close(j);
}

fw_store *fw_store_open(const char *dir, fw_store_done *done, void *arg)
{
    const size_t n = strlen(dir) + 1;
    fw_store *s = calloc(1, sizeof *s + n);
    if (s == NULL)
        return NULL;
    memcpy(s->dir, dir, n);
    s->done = done;
    s->arg = arg;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->ended, NULL);
    return s;
}

void fw_store_stop(fw_store *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LEFT_BEHIND_S;
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_broadcast(&s->work);
    while (s->threads != 0 && pthread_cond_timedwait(&s->ended, &s->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&s->lock);
}

void fw_store_close(fw_store *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->inside != 0)
        pthread_cond_wait(&s->ended, &s->lock);
    s->gone = true;
    fw_job *jobs = s->head;
    const bool last = s->threads == 0;
    pthread_mutex_unlock(&s->lock);
    while (jobs != NULL) {
        fw_job *j = jobs;
        jobs = j->next;
        fw_job_close(j);
    }
    if (last)
        destroy(s);
}
