/* osc.h - OSC 1.0 packets: messages and bundles of them, as TouchOSC, Max, Resolume and python-osc send.
 *
 * Arguments of types i f s T F are handed on (h, d and S too, as their nearest); others are stepped over.
 * Nothing is read outside the packet; a malformed packet hands on nothing after its first fault. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_OSC_MAX_ARGUMENTS 32
#define RV_OSC_MAX_DEPTH 8

typedef struct {
    char type;        /* 'i', 'f', 's', 'T', 'F' */
    gint64 integer;   /* of i, T (1) and F (0) */
    double number;    /* of all but s */
    const char *text; /* of s: UTF-8, in the packet */
} RvOscArgument;

typedef struct {
    const char *address; /* begins with '/'; in the packet */
    const RvOscArgument *arguments;
    int n_arguments;
} RvOscMessage;

typedef void (*RvOscFunc)(const RvOscMessage *message, void *user);

/* Calls `func` for each message in order; false when the packet is malformed. */
bool rv_osc_parse(const void *packet, gsize size, RvOscFunc func, void *user);
