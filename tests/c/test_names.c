/* test_names.c - the table of known field names. */
#include "harness.h"
#include "http/names.h"

#include <ctype.h>

static const char TOKEN[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Looks it up in a block that ends where the name ends, so that reading past it is seen. */
static enum fw_name find(const char *name, size_t n)
{
    char *exact = malloc(n);
    CHECK(exact != NULL);
    memcpy(exact, name, n);
    enum fw_name found = fw_name_find(exact, n);
    free(exact);
    return found;
}

static void every_name_is_found_in_any_case(void)
{
    for (int i = 1; i < FW_NAME_COUNT; i++) {
        size_t n;
        const char *text = fw_name_text((enum fw_name)i, &n);
        char upper[64], mixed[64];
        CHECK(n > 0 && n < sizeof upper && strlen(text) == n);
        for (size_t k = 0; k < n; k++) {
            CHECK(text[k] == tolower((unsigned char)text[k]));
            upper[k] = (char)toupper((unsigned char)text[k]);
            mixed[k] = k % 2 == 0 ? upper[k] : text[k];
        }
        CHECK_INT(find(text, n), i);
        CHECK_INT(find(upper, n), i);
        CHECK_INT(find(mixed, n), i);
    }
}

static void no_other_token_passes_for_a_name(void)
{
    for (int i = 1; i < FW_NAME_COUNT; i++) {
        size_t n;
        const char *text = fw_name_text((enum fw_name)i, &n);
        char other[65];
        for (size_t k = 0; k < n; k++) {
            for (const char *c = TOKEN; *c != '\0'; c++) {
                memcpy(other, text, n);
                other[k] = *c;
                trying("%.*s", (int)n, other);
                if (tolower((unsigned char)*c) == text[k])
                    CHECK_INT(find(other, n), i);
                else
                    CHECK(find(other, n) != (enum fw_name)i);
            }
        }
        memcpy(other, text, n);
        other[n] = 's';
        CHECK(find(other, n + 1) != (enum fw_name)i);
        if (n > 1)
            CHECK(find(text, n - 1) != (enum fw_name)i);
    }
}

static void strangers_of_every_length_are_unknown(void)
{
    char name[200];
    memset(name, 'q', sizeof name);
    for (size_t n = 1; n <= sizeof name; n++)
        CHECK_INT(find(name, n), FW_NAME_UNKNOWN);
}

static void names_are_sorted_by_length(void)
{
    size_t before = 0;
    for (int i = 1; i < FW_NAME_COUNT; i++) {
        size_t n;
        fw_name_text((enum fw_name)i, &n);
        CHECK(n >= before);
        before = n;
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(every_name_is_found_in_any_case),
        T(no_other_token_passes_for_a_name),
        T(strangers_of_every_length_are_unknown),
        T(names_are_sorted_by_length),
    };
    return RUN_TESTS(TESTS);
}
