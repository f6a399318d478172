/* apps.h - stub applications whose responses are too large for one send; their state is loop_fixture.data. */
#ifndef APPS_H
#define APPS_H

#include "loop_fixture.h"

#define APP_BLOCK 16384
#define APP_BLOCKS 16
#define APP_LARGE (APP_BLOCK * APP_BLOCKS)

typedef struct app_state {
    int owned;   /* references that the queue holds */
    int file;    /* app_file: what it sends */
    int blocks;  /* app_stream: yielded so far */
    size_t left; /* app_stream: the most that was queued still when it was resumed */
    int token;   /* app_stream: conn->user points to it while suspended */
    int client;  /* app_write: read from it while waiting, unless negative */
    int rc;      /* app_write: what the last wait said */
    int turns;   /* app_write: how often it waited */
    bool give_up;  /* app_write: stop waiting when woken, as when a signal handler raises inside write() */
    bool talks_on; /* ... and go on sending */
} app_state;

extern char app_bytes[APP_LARGE]; /* what they all send */

void app_large(loop_fixture *s, fw_conn *c);  /* queues everything and finishes */
void app_file(loop_fixture *s, fw_conn *c);   /* the same, from a file */
void app_stream(loop_fixture *s, fw_conn *c); /* block by block, suspended while the client is slow */
void app_write(loop_fixture *s, fw_conn *c);  /* waits inside the application while the client is slow */

#endif
