/* fuzz.h - what the fuzz targets share: a check whose failure keeps the input, and the input as a tape of decisions. */
#ifndef FUZZ_H
#define FUZZ_H

#include "harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libFuzzer keeps the input of an abort. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The input, taken from the front; when it is used up every decision is 0. */
typedef struct tape {
    const uint8_t *at, *end;
} tape;

static inline size_t tape_left(const tape *t)
{
    return (size_t)(t->end - t->at);
}

static inline unsigned tape_byte(tape *t)
{
    return t->at < t->end ? *t->at++ : 0;
}

static inline unsigned tape_word(tape *t)
{
    const unsigned high = tape_byte(t);
    return high << 8 | tape_byte(t);
}

/* Up to `n` bytes as they are; their number in `*got`. */
static inline const char *tape_bytes(tape *t, size_t n, size_t *got)
{
    const char *bytes = (const char *)t->at;
    *got = n < tape_left(t) ? n : tape_left(t);
    t->at += *got;
    return bytes;
}

#endif
