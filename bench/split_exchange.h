/* split_exchange.h - two GPUs that reach each other's memory, and what chains of exchanges between them take
 * inside captured graphs, launched from a thread each. Nothing computes meanwhile.
 * The calling thread is left with the first GPU as its current one. */
#pragma once
#include "base/error.h"

typedef struct SplitPair SplitPair;

typedef enum {
    SPLIT_STORES, /* a kernel stores into the other GPU's memory, sets a flag there and waits for its own */
    SPLIT_COPIES, /* a copy between the GPUs, then a kernel that only sets the flag and waits */
    SPLIT_ALONE,  /* as SPLIT_STORES, each GPU with itself: what remains are launches and local memory */
    SPLIT_WAYS,
} SplitWay;

typedef struct {
    double median, p99, slowest; /* microseconds of the chain, of the slower GPU */
} SplitTimes;

/* RV_ERROR_DEVICE, saying what is missing, unless both are there and reach each other. */
SplitPair *split_pair_open(int first, int second, GError **error);
void split_pair_close(SplitPair *pair); /* accepts NULL */
const char *split_pair_name(const SplitPair *pair, int side);

/* A chain of exchanges, each GPU sending bytes[i] in the i-th, runs times, after runs that warm up; what
 * arrived is compared before and after. RV_ERROR_FAILED when a GPU waited for a second in vain or bytes are
 * wrong. */
bool split_pair_measure(SplitPair *pair, SplitWay way, const gsize *bytes, int count, int runs,
                        SplitTimes *times, GError **error);
