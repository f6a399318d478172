/* Opens TLS connections for one request each, and counts them.
 *
 *     tls_client PORT full|resume SECONDS THREADS [PER_SECOND]
 *
 * Each thread connects, shakes hands, sends a GET that asks for the end of the connection, reads to that end and
 * begins again; with "resume" it brings the ticket that the connection before has got. PER_SECOND spreads that many
 * connections of all threads evenly over each second. Nothing is verified: that is the client's cost, and no server's.
 * Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 64

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct line {
    pthread_t thread;
    SSL_CTX *context;
    SSL_SESSION *session;   /* to resume, or NULL */
    double begin, end, pause;
    int port, resume;
    unsigned long done, resumed, failed;
};

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
    double left = when - now();
    if (left > 0) {
        struct timespec span = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        nanosleep(&span, NULL);
    }
}

/* OpenSSL has got a session of the connection; 1 says that it is ours now. */
static int new_session(SSL *ssl, SSL_SESSION *session)
{
    struct line *line = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0);
    SSL_SESSION_free(line->session);
    line->session = session;
    return 1;
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 10};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((unsigned short)port);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One connection with one request; 0 when it was answered. */
static int ask_once(struct line *line)
{
    char answer[4096];
    int got = 0, n, fd = connect_to(line->port);
    SSL *ssl = fd < 0 ? NULL : SSL_new(line->context);

    if (ssl && SSL_set_fd(ssl, fd) && SSL_set_tlsext_host_name(ssl, "localhost")) {
        if (line->resume && line->session)
            SSL_set_session(ssl, line->session);
        if (SSL_connect(ssl) == 1 && SSL_write(ssl, request, sizeof request - 1) > 0)
            while ((n = SSL_read(ssl, answer, sizeof answer)) > 0) {
                if (!got && (n < 12 || memcmp(answer, "HTTP/1.1 200", 12) != 0))
                    break;
                got += n;
            }
        line->resumed += SSL_session_reused(ssl) ? 1 : 0;
        SSL_shutdown(ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
    if (fd >= 0)
        close(fd);
    return got > 0 ? 0 : -1;
}

static void *run(void *argument)
{
    struct line *line = argument;
    double due = line->begin;

    while (now() < line->end) {
        if (line->pause > 0) {
            sleep_until(due);
            due += line->pause;
        }
        if (ask_once(line))
            line->failed++;
        else
            line->done++;
    }
    return NULL;
}

static SSL_CTX *make_context(struct line *line)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || !SSL_CTX_set_ex_data(context, 0, line)) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (line->resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, new_session);
    }
    return context;
}

int main(int argc, char **argv)
{
    static struct line lines[MOST_THREADS];
    unsigned long done = 0, resumed = 0, failed = 0;

    if (argc < 5 || atoi(argv[4]) < 1 || atoi(argv[4]) > MOST_THREADS) {
        fprintf(stderr, "usage: tls_client PORT full|resume SECONDS THREADS [PER_SECOND]\n");
        return 2;
    }
    int threads = atoi(argv[4]);
    double rate = argc > 5 ? atof(argv[5]) : 0, begin = now();
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < threads; i++) {
        struct line *line = &lines[i];
        line->port = atoi(argv[1]);
        line->resume = strcmp(argv[2], "resume") == 0;
        line->pause = rate > 0 ? threads / rate : 0;
        line->begin = begin + line->pause * i / threads;
        line->end = begin + atof(argv[3]);
        line->context = make_context(line);
        if (pthread_create(&line->thread, NULL, run, line)) {
            fprintf(stderr, "no thread could be started\n");
            return 1;
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(lines[i].thread, NULL);
        done += lines[i].done;
        resumed += lines[i].resumed;
        failed += lines[i].failed;
    }
    printf("{\"done\": %lu, \"resumed\": %lu, \"failed\": %lu, \"seconds\": %.3f}\n", done, resumed, failed,
           now() - begin);
    return 0;
}
