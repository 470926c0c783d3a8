/* Any packet: nothing is read outside it, and what is handed on can be read. */
#include <stddef.h>
#include <stdint.h>

#include "server/osc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_message(const RvOscMessage *message, void *user)
{
    guint64 *sum = user;
    *sum += (guint64)(guchar)message->address[0];
    for (int i = 0; i < message->n_arguments; i++)
        if (message->arguments[i].type == 's')
            for (const char *c = message->arguments[i].text; *c != '\0'; c++)
                *sum += (guint64)(guchar)*c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guint64 sum = 0;
    rv_osc_parse(data, size, on_message, &sum);
    return 0;
}
