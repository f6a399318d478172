/* test_llhttp.c - finding llhttp's functions, and the self-check against interfaces that differ. */
#include "harness.h"
#include "http/llhttp.h"

#include <dlfcn.h>

/* What the altered functions below stand in front of. */
static const fw_llhttp_api *real;

static void the_installed_parser_is_proved(void)
{
    CHECK(fw_llhttp_check(parser()) == NULL);
}

static void a_module_that_is_not_loaded_is_named(void)
{
    fw_llhttp_api api;
    const char *missing = NULL;
    static const char PATH[] = "/nonexistent/parser.so";
    CHECK_INT(fw_llhttp_load(&api, PATH, &missing), -ENOENT);
    CHECK(missing == PATH);
}

static void a_module_without_llhttp_is_told_by_the_function(void)
{
    fw_llhttp_api api;
    const char *missing = NULL;
    if (dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD) == NULL)
        return; /* another C library than glibc */
    CHECK_INT(fw_llhttp_load(&api, "libc.so.6", &missing), -ENOSYS);
    CHECK_BYTES(missing, strlen(missing), "llhttp_init");
}

/* ---- interfaces that differ ------------------------------------------------------------------------------------ */

static void init_too_large(fw_llhttp *h, int type, const fw_llhttp_settings *s)
{
    real->init(h, type, s);
    memset((char *)h + FW_LLHTTP_BLOCK, 0, 8);
}

static int execute_too_large(fw_llhttp *h, const char *data, size_t n)
{
    int code = real->execute(h, data, n);
    ((char *)h)[FW_LLHTTP_BLOCK + 3] = 0;
    return code;
}

/* The callbacks one place further on, as if a member had been put in front. */
static void init_shifted(fw_llhttp *h, int type, const fw_llhttp_settings *s)
{
    static fw_llhttp_settings shifted;
    memset(&shifted, 0, sizeof shifted);
    memcpy((char *)&shifted + sizeof(void *), s, sizeof shifted - sizeof(void *));
    real->init(h, type, &shifted);
}

/* The callbacks of the body one place further on: a head looks right, a chunked body does not. */
static void init_without_body(fw_llhttp *h, int type, const fw_llhttp_settings *s)
{
    static fw_llhttp_settings less;
    less = *s;
    less.on_body = NULL;
    real->init(h, type, &less);
}

static void init_for_responses(fw_llhttp *h, int type, const fw_llhttp_settings *s)
{
    real->init(h, type + 1, s);
}

static int execute_other_pause(fw_llhttp *h, const char *data, size_t n)
{
    const int code = real->execute(h, data, n);
    return code == FW_HPE_PAUSED ? FW_HPE_PAUSED + 1 : code;
}

static int execute_other_errors(fw_llhttp *h, const char *data, size_t n)
{
    const int code = real->execute(h, data, n);
    return code == FW_HPE_OK || code == FW_HPE_PAUSED ? code : code + 1;
}

static int errno_of_another_field(const fw_llhttp *h)
{
    (void)h;
    return 0;
}

static const char *position_one_off(const fw_llhttp *h)
{
    return real->get_error_pos(h) + 1;
}

static const char *no_reason(const fw_llhttp *h)
{
    (void)h;
    return NULL;
}

static uint8_t another_method(const fw_llhttp *h)
{
    return (uint8_t)(real->get_method(h) + 1);
}

static const char *another_method_name(int method)
{
    return real->method_name(method == FW_METHOD_HEAD ? FW_METHOD_GET : method);
}

static const char *no_method_name(int method)
{
    (void)method;
    return NULL;
}

static uint8_t another_version(const fw_llhttp *h)
{
    (void)h;
    return 0;
}

static void an_interface_that_differs_is_found(void)
{
    real = parser();
    fw_llhttp_api api[14];
    for (size_t i = 0; i < COUNT(api); i++)
        api[i] = *real;
    api[0].init = init_too_large;
    api[1].execute = execute_too_large;
    api[2].init = init_shifted;
    api[3].init = init_without_body;
    api[4].init = init_for_responses;
    api[5].execute = execute_other_pause;
    api[6].execute = execute_other_errors;
    api[7].get_errno = errno_of_another_field;
    api[8].get_error_pos = position_one_off;
    api[9].get_error_reason = no_reason;
    api[10].get_method = another_method;
    api[11].method_name = another_method_name;
    api[12].get_http_major = another_version;
    api[13].method_name = no_method_name;
    for (size_t i = 0; i < COUNT(api); i++) {
        trying("interface %zu", i);
        const char *fault = fw_llhttp_check(&api[i]);
        CHECK(fault != NULL && strstr(fault, "llhttp") != NULL);
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(the_installed_parser_is_proved),
        T(a_module_that_is_not_loaded_is_named),
        T(a_module_without_llhttp_is_told_by_the_function),
        T(an_interface_that_differs_is_found),
    };
    return RUN_TESTS(TESTS);
}
