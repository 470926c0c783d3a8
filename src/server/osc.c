/* osc.c - after the Open Sound Control 1.0 specification: everything big-endian and in units of 4 bytes. */
#include "server/osc.h"

#include <math.h>
#include <string.h>

typedef struct {
    const guint8 *at, *end;
} Reader;

static bool
take_u32(Reader *r, guint32 *value)
{
    if (r->end - r->at < 4)
        return false;
    memcpy(value, r->at, sizeof *value);
    *value = GUINT32_FROM_BE(*value);
    r->at += 4;
    return true;
}

static bool
take_u64(Reader *r, guint64 *value)
{
    guint32 high, low;
    if (!take_u32(r, &high) || !take_u32(r, &low))
        return false;
    *value = (guint64)high << 32 | low;
    return true;
}

/* Zero-terminated and padded with zeros to the next unit; NULL when it does not end inside the packet. */
static const char *
take_string(Reader *r)
{
    const guint8 *zero = r->at < r->end ? memchr(r->at, 0, (gsize)(r->end - r->at)) : NULL;
    if (zero == NULL)
        return NULL;
    const char *text = (const char *)r->at;
    gsize padded = ((gsize)(zero - r->at) + 4) & ~(gsize)3;
    if (padded > (gsize)(r->end - r->at))
        return NULL;
    r->at += padded;
    return text;
}

static bool
skip_blob(Reader *r)
{
    guint32 size;
    if (!take_u32(r, &size) || size > (gsize)(r->end - r->at))
        return false;
    gsize padded = ((gsize)size + 3) & ~(gsize)3;
    if (padded > (gsize)(r->end - r->at))
        return false;
    r->at += padded;
    return true;
}

static bool
take_float(Reader *r, bool is_double, double *number)
{
    guint64 wide;
    guint32 bits;
    float single;
    if (is_double) {
        if (!take_u64(r, &wide))
            return false;
        memcpy(number, &wide, sizeof *number);
    } else {
        if (!take_u32(r, &bits))
            return false;
        memcpy(&single, &bits, sizeof single);
        *number = (double)single;
    }
    return isfinite(*number);
}

/* `*is_kept` says whether there is something to hand on. */
static bool
take_argument(Reader *r, char type, RvOscArgument *argument, bool *is_kept)
{
    guint32 word;
    guint64 wide;
    *argument = (RvOscArgument) { .type = type };
    *is_kept = true;
    switch (type) {
    case 'i':
        if (!take_u32(r, &word))
            return false;
        argument->integer = (gint32)word;
        break;
    case 'h':
        if (!take_u64(r, &wide))
            return false;
        argument->type = 'i';
        argument->integer = (gint64)wide;
        break;
    case 'f':
    case 'd':
        argument->type = 'f';
        return take_float(r, type == 'd', &argument->number);
    case 's':
    case 'S':
        argument->type = 's';
        argument->text = take_string(r);
        return argument->text != NULL && g_utf8_validate(argument->text, -1, NULL);
    case 'T':
    case 'F':
        argument->integer = type == 'T';
        break;
    default:
        *is_kept = false;
        if (type == 'b')
            return skip_blob(r);
        if (type == 'c' || type == 'r' || type == 'm')
            return take_u32(r, &word);
        if (type == 't')
            return take_u64(r, &wide);
        return strchr("NI[]", type) != NULL;
    }
    argument->number = (double)argument->integer;
    return true;
}

static bool
parse_message(Reader *r, RvOscFunc func, void *user)
{
    RvOscArgument arguments[RV_OSC_MAX_ARGUMENTS];
    RvOscMessage message = { .arguments = arguments };
    message.address = take_string(r);
    if (message.address == NULL || *message.address != '/' || !g_utf8_validate(message.address, -1, NULL))
        return false;
    if (r->at < r->end) { /* old senders leave an empty list of types out */
        const char *types = take_string(r);
        if (types == NULL || *types != ',')
            return false;
        for (const char *type = types + 1; *type != '\0'; type++) {
            RvOscArgument argument;
            bool is_kept;
            if (!take_argument(r, *type, &argument, &is_kept) ||
                (is_kept && message.n_arguments == RV_OSC_MAX_ARGUMENTS))
                return false;
            if (is_kept)
                arguments[message.n_arguments++] = argument;
        }
    }
    if (r->at != r->end)
        return false;
    func(&message, user);
    return true;
}

static bool
parse(Reader *r, int depth, RvOscFunc func, void *user)
{
    static const char bundle[8] = "#bundle";
    gsize size = (gsize)(r->end - r->at);
    if (size == 0 || size % 4 != 0)
        return false;
    if (size < sizeof bundle || memcmp(r->at, bundle, sizeof bundle) != 0)
        return parse_message(r, func, user);
    guint64 time_tag; /* what is due later is done now: a fader that waits is worse than one that is early */
    r->at += sizeof bundle;
    if (depth >= RV_OSC_MAX_DEPTH || !take_u64(r, &time_tag))
        return false;
    while (r->at < r->end) {
        guint32 length;
        if (!take_u32(r, &length) || length > (gsize)(r->end - r->at))
            return false;
        Reader element = { r->at, r->at + length };
        if (!parse(&element, depth + 1, func, user))
            return false;
        r->at += length;
    }
    return true;
}

bool
rv_osc_parse(const void *packet, gsize size, RvOscFunc func, void *user)
{
    Reader reader = { packet, (const guint8 *)packet + size };
    return parse(&reader, 0, func, user);
}
