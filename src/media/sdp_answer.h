/* sdp_answer.h - the answer that webrtcbin made, and the addresses that peers are told in it. */
#pragma once
#include "base/error.h"

typedef struct {
    char *address; /* IPv4 or IPv6, as text */
    int port;      /* 0: not said */
} RvSdpHost;

/* "192.0.2.7", "192.0.2.7:40123", "fd00::7", "[fd00::7]:40123". Clear host->address with g_free.
 * RV_ERROR_USAGE. */
bool rv_sdp_host_parse(const char *text, RvSdpHost *host, GError **error);

/* What makes a peer known, from an answer of our own. */
typedef struct {
    char *ufrag, *password;
    int port; /* of the candidate at 127.0.0.1 over UDP */
} RvSdpAgent;

bool rv_sdp_read_agent(const char *answer, RvSdpAgent *agent);
void rv_sdp_agent_clear(RvSdpAgent *agent);

/* The answer with these hosts over UDP for its candidates, the first preferred. Free with g_free. */
char *rv_sdp_replace_candidates(const char *answer, const RvSdpHost *hosts, gsize count);

/* The answer with a second line for each host candidate that names `address` instead: for servers behind a
 * port mapping. Free with g_free. */
char *rv_sdp_add_public_address(const char *answer, const char *address);
