#include "server/framing.h"

#include <string.h>

static bool
is_called(const char *name, const char *wanted)
{
    gsize length = strlen(wanted);
    return g_ascii_strncasecmp(name, wanted, length) == 0 &&
           strspn(name + length, " \t") == strlen(name + length);
}

static bool
is_length(const char *text)
{
    gsize digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 15 && text[digits] == '\0';
}

const char *
rv_framing_problem(SoupMessageHeaders *request, guint *status)
{
    SoupMessageHeadersIter iter;
    const char *name, *value;
    int lengths = 0, hosts = 0;
    bool is_plain = true, is_encoded = false;
    soup_message_headers_iter_init(&iter, request);
    while (soup_message_headers_iter_next(&iter, &name, &value)) {
        is_encoded |= is_called(name, "Transfer-Encoding");
        hosts += is_called(name, "Host");
        if (is_called(name, "Content-Length")) {
            lengths++;
            is_plain &= is_length(value);
        }
    }
    *status = is_encoded ? 411 : 400;
    return is_encoded                 ? "say how long the body is (Content-Length)"
           : !is_plain || lengths > 1 ? "the length of the body is unclear"
           : hosts > 1                ? "the request names more than one host"
                                      : NULL;
}
