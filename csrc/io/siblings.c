/* siblings.c - the page of the workers: who is the best, and the bells. The rules are in siblings.h. */
#include "io/siblings.h"

#include <unistd.h>

#define FAIR 1 /* connections that a worker may have more than the best sibling and still take one */

_Static_assert(sizeof(fw_sibling) == 64 && sizeof(fw_siblings_page) == 64, "siblings.py makes and clears these");

size_t fw_siblings_size(unsigned slots)
{
    return sizeof(fw_siblings_page) + slots * sizeof(fw_sibling);
}

void fw_siblings_init(fw_siblings *s, fw_siblings_page *page, const int *bells, unsigned own)
{
    s->page = page;
    s->own = &page->slots[own];
    s->bells = bells;
    uint32_t top = atomic_load(&page->top);
    while (top <= own && !atomic_compare_exchange_weak(&page->top, &top, own + 1))
        ;
}

void fw_siblings_enter(fw_siblings *s)
{
    if (s->own == NULL)
        return;
    s->takes_part = true;
    atomic_store_explicit(&s->own->pid, (uint32_t)getpid(), memory_order_relaxed);
}

void fw_siblings_leave(fw_siblings *s)
{
    if (s->own == NULL)
        return;
    s->takes_part = false;
    atomic_store(&s->own->pid, 0);
}

/* How long, in ms, it has not heard its bell. */
static uint64_t silence(const fw_sibling *other, uint64_t now)
{
    const uint64_t since = atomic_load_explicit(&other->rung_at, memory_order_relaxed);
    return since != 0 && now > since ? now - since : 0;
}

/* What makes a sibling better is less: not away, not slow to hear, few connections. */
static uint64_t rank(const fw_sibling *other, uint64_t silent)
{
    const uint64_t away = atomic_load_explicit(&other->away, memory_order_relaxed) != 0;
    return away << 33 | (uint64_t)(silent >= FW_LEAVE_MS) << 32 |
           atomic_load_explicit(&other->connections, memory_order_relaxed);
}

int fw_siblings_choose(const fw_siblings *s, uint32_t connections, uint64_t now)
{
    const uint32_t top = atomic_load_explicit(&s->page->top, memory_order_relaxed);
    const uint64_t patience = fw_siblings_patience(s), away = fw_siblings_is_away(s);
    uint64_t least = UINT64_MAX;
    int best = -1;
    for (uint32_t i = 0; i < top; i++) {
        const fw_sibling *other = &s->page->slots[i];
        const uint64_t silent = silence(other, now);
        if (other == s->own || atomic_load_explicit(&other->pid, memory_order_relaxed) == 0 || silent >= patience)
            continue;
        const uint64_t its = rank(other, silent);
        if (its < least) {
            least = its;
            best = (int)i;
        }
    }
    if (best < 0 || least >> 33 > away)
        return -1;
    return least >> 33 < away || connections > (least & UINT32_MAX) + FAIR ? best : -1;
}

/* It has a free thread, and hears. */
static bool is_free(const fw_siblings *s, uint32_t i, uint64_t now)
{
    const fw_sibling *other = &s->page->slots[i];
    return other != s->own && atomic_load(&other->pid) != 0 && atomic_load(&other->away) == 0 && silence(other, now) < FW_LEAVE_MS;
}

bool fw_siblings_one_is_free(const fw_siblings *s, uint64_t now)
{
    const uint32_t top = atomic_load_explicit(&s->page->top, memory_order_relaxed);
    for (uint32_t i = 0; i < top; i++)
        if (is_free(s, i, now))
            return true;
    return false;
}

void fw_siblings_ring_free(fw_siblings *s, unsigned most, uint64_t now)
{
    const uint32_t top = atomic_load_explicit(&s->page->top, memory_order_relaxed);
    for (uint32_t i = 0; i < top && most > 0; i++) {
        if (!is_free(s, i, now))
            continue;
        fw_siblings_ring(s, (int)i, now);
        most--;
    }
}

int fw_siblings_heir(const fw_siblings *s, int after)
{
    const uint32_t top = atomic_load_explicit(&s->page->top, memory_order_relaxed);
    for (uint32_t n = 1; n <= top; n++) {
        const uint32_t i = (uint32_t)(after + (int)n) % top;
        const fw_sibling *other = &s->page->slots[i];
        if (other != s->own && atomic_load(&other->pid) != 0 && atomic_load(&s->page->ended[i & 1]) == 0)
            return (int)i;
    }
    return -1;
}

void fw_siblings_ring(fw_siblings *s, int slot, uint64_t now)
{
    const uint64_t one = 1; /* what an eventfd adds up; to a pipe it is as good as any bytes */
    uint64_t none = 0;
    atomic_compare_exchange_strong(&s->page->slots[slot].rung_at, &none, now);
    if (write(s->bells[slot], &one, sizeof one) < 0)
        return; /* it is full of rings */
}

/* The bell is emptied first: a ring in between is heard by another call, while a time that was noted in between and is
 * never taken back would make the worker deaf. */
void fw_siblings_hear(fw_siblings *s, int fd)
{
    char sink[256];
    if (read(fd, sink, sizeof sink) < 0)
        return;
    atomic_store(&s->own->rung_at, 0);
}
