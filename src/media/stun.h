/* stun.h - reads the STUN binding requests by which ICE peers make themselves known (RFC 8489, RFC 8445).
 * Reads bytes of anybody: nothing is assumed of them. No state, any thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_STUN_UFRAG_MAX 256 /* bytes of a user fragment: RFC 8445, 5.3 */

typedef struct {
    char ufrag[RV_STUN_UFRAG_MAX + 1]; /* of the one who is asked: USERNAME up to its colon */
    gsize integrity_at;                /* where the attribute MESSAGE-INTEGRITY begins */
} RvStunRequest;

/* Whether the datagram is a whole binding request with a user name of ICE's form and a message integrity
 * (whose value is not looked at). */
bool rv_stun_read_request(const guint8 *data, gsize size, RvStunRequest *request);
/* Whether the sender knew the password: the request's HMAC-SHA1 (RFC 8489, 14.5) fits. */
bool rv_stun_check_integrity(const guint8 *data, const RvStunRequest *request, const char *password);
