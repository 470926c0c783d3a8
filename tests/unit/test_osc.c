/* OSC packets, byte by byte after the specification; and no packet, cut anywhere, reads outside itself. */
#include <string.h>

#include "server/osc.h"

typedef struct {
    int count;
    char address[32], text[32], types[40];
    gint64 integer;
    double number;
} Seen;

static void
on_message(const RvOscMessage *message, void *user)
{
    Seen *seen = user;
    seen->count++;
    g_strlcpy(seen->address, message->address, sizeof seen->address);
    for (int i = 0; i < message->n_arguments; i++) {
        const RvOscArgument *argument = &message->arguments[i];
        seen->types[i] = argument->type;
        seen->types[i + 1] = '\0';
        if (argument->type == 's')
            g_strlcpy(seen->text, argument->text, sizeof seen->text);
        else
            seen->number = argument->number;
        if (argument->type != 'f')
            seen->integer = argument->integer;
    }
}

#define PACKET(bytes) (bytes), sizeof(bytes) - 1

static bool
parse(const char *bytes, gsize size, Seen *seen)
{
    memset(seen, 0, sizeof *seen);
    g_autofree char *exact = g_memdup2(bytes, size); /* so that a sanitizer sees a read behind it */
    return rv_osc_parse(exact, size, on_message, seen);
}

static void
test_types(void)
{
    Seen seen;
    g_assert_true(parse(PACKET("/seed\0\0\0,i\0\0\xff\xff\xff\xfe"), &seen));
    g_assert_cmpstr(seen.address, ==, "/seed");
    g_assert_cmpint(seen.integer, ==, -2);
    g_assert_true(parse(PACKET("/x\0\0,f\0\0\x3e\x80\0\0"), &seen));
    g_assert_cmpfloat(seen.number, ==, 0.25);
    g_assert_true(parse(PACKET("/x\0\0,sTF\0\0\0\0abc\0"), &seen));
    g_assert_cmpstr(seen.types, ==, "sTF");
    g_assert_cmpstr(seen.text, ==, "abc");
    g_assert_true(parse(PACKET("/x\0\0,hd\0\0\0\0\1\0\0\0\0\x3f\xe0\0\0\0\0\0\0"), &seen));
    g_assert_cmpstr(seen.types, ==, "if");
    g_assert_cmpint(seen.integer, ==, 1LL << 32);
    g_assert_cmpfloat(seen.number, ==, 0.5);
    g_assert_true(parse(PACKET("/x\0\0,bi\0\0\0\0\5hello\0\0\0\0\0\0\7"), &seen));
    g_assert_cmpstr(seen.types, ==, "i"); /* the blob is stepped over */
    g_assert_cmpint(seen.integer, ==, 7);
    g_assert_true(parse(PACKET("/x\0\0"), &seen)); /* no list of types */
    g_assert_cmpint(seen.count, ==, 1);
}

static void
test_bundles(void)
{
    Seen seen;
    g_assert_true(
        parse(PACKET("#bundle\0\0\0\0\0\0\0\0\1\0\0\0\4/a\0\0\0\0\0\14/b\0\0,i\0\0\0\0\0\3"), &seen));
    g_assert_cmpint(seen.count, ==, 2);
    g_assert_cmpstr(seen.address, ==, "/b");
    g_assert_true(parse(PACKET("#bundle\0\0\0\0\0\0\0\0\1"), &seen)); /* empty */
    g_assert_cmpint(seen.count, ==, 0);
    g_assert_false(
        parse(PACKET("#bundle\0\0\0\0\0\0\0\0\1\0\0\0\4/a\0\0\0\0\0\20/b\0\0"), &seen)); /* too long */
    g_assert_cmpint(seen.count, ==, 1);
}

static void
test_depth(void)
{
    GByteArray *packet = g_byte_array_new();
    g_byte_array_append(packet, (const guint8 *)"/a\0\0", 4);
    for (int depth = 1; depth <= 12; depth++) {
        guint8 head[20] = "#bundle";
        guint32 size = GUINT32_TO_BE(packet->len);
        memcpy(head + 16, &size, 4);
        g_byte_array_prepend(packet, head, sizeof head);
        Seen seen;
        bool ok = parse((const char *)packet->data, packet->len, &seen);
        g_assert_cmpint(ok, ==, depth <= RV_OSC_MAX_DEPTH);
        g_assert_cmpint(seen.count, ==, ok);
    }
    g_byte_array_unref(packet);
}

static void
test_malformed(void)
{
    Seen seen;
    const struct {
        const char *bytes;
        gsize size;
    } cases[] = {
        { PACKET("") },                                        /* nothing */
        { PACKET("/x\0") },                                    /* no multiple of 4 */
        { PACKET("x\0\0\0") },                                 /* no address */
        { PACKET("/xyz") },                                    /* no end of the address */
        { PACKET("/x\0\0i\0\0\0") },                           /* types without a comma */
        { PACKET("/x\0\0,i\0\0") },                            /* no argument */
        { PACKET("/x\0\0,s\0\0abcd") },                        /* no end of the text */
        { PACKET("/x\0\0,s\0\0\xc3\x28\0\0") },                /* no UTF-8 */
        { PACKET("/x\0\0,f\0\0\x7f\xc0\0\0") },                /* not a number */
        { PACKET("/x\0\0,d\0\0\x7f\xf0\0\0\0\0\0\0") },        /* infinite */
        { PACKET("/x\0\0,b\0\0\xff\xff\xff\xff") },            /* a blob of 4 GB */
        { PACKET("/x\0\0,b\0\0\0\0\0\5abcd") },                /* a blob that is cut off */
        { PACKET("/x\0\0,q\0\0") },                            /* an unknown type */
        { PACKET("/x\0\0,i\0\0\0\0\0\1\0\0\0\0") },            /* more than was announced */
        { PACKET("#bundle\0\0\0\0\0") },                       /* a bundle without time */
        { PACKET("#bundle\0\0\0\0\0\0\0\0\1\0\0\0\3/a\0\0") }, /* an element of no multiple of 4 */
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %zu", i);
        g_assert_false(parse(cases[i].bytes, cases[i].size, &seen));
        g_assert_cmpint(seen.count, ==, 0);
    }
}

/* Every beginning of a packet is refused: none of them is a whole one. */
static void
test_cut_anywhere(void)
{
    static const char whole[] = "/blend\0\0,ssf\0\0\0\0first\0\0\0second\0\0\x3f\0\0\0";
    Seen seen;
    g_assert_true(parse(whole, sizeof whole - 1, &seen));
    for (gsize size = 0; size < sizeof whole - 1; size++)
        if (size != 8) /* "/blend" alone is a message without arguments */
            g_assert_false(parse(whole, size, &seen));
}

static void
test_too_many_arguments(void)
{
    char packet[4 + 40 + 4] = "/x\0\0,";
    memset(packet + 5, 'T', RV_OSC_MAX_ARGUMENTS);
    Seen seen;
    g_assert_true(parse(packet, 4 + 36, &seen));
    packet[5 + RV_OSC_MAX_ARGUMENTS] = 'T';
    g_assert_false(parse(packet, 4 + 36, &seen));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/osc/types", test_types);
    g_test_add_func("/osc/bundles", test_bundles);
    g_test_add_func("/osc/depth-is-bounded", test_depth);
    g_test_add_func("/osc/malformed", test_malformed);
    g_test_add_func("/osc/cut-anywhere", test_cut_anywhere);
    g_test_add_func("/osc/too-many-arguments", test_too_many_arguments);
    return g_test_run();
}
