#include "media/stun.h"

#include <string.h>

#define HEADER 20
#define BINDING_REQUEST 0x0001
#define COOKIE 0x2112a442u
#define USERNAME 0x0006
#define MESSAGE_INTEGRITY 0x0008
#define HMAC_BYTES 20
#define USERNAME_MAX 513 /* bytes: RFC 8489, 14.3 */

static guint
read_16(const guint8 *data)
{
    return (guint)data[0] << 8 | data[1];
}

static bool
is_binding_request(const guint8 *data, gsize size)
{
    return size >= HEADER && size <= G_MAXUINT16 && size % 4 == 0 && read_16(data) == BINDING_REQUEST &&
           read_16(data + 2) == size - HEADER && (read_16(data + 4) << 16 | read_16(data + 6)) == COOKIE;
}

static bool
is_ice_char(guint8 c)
{
    return g_ascii_isalnum((char)c) || c == '+' || c == '/';
}

/* "OURS:THEIRS", RFC 8445, 7.2.2. Theirs is not ours to check. */
static bool
read_username(const guint8 *value, gsize size, RvStunRequest *request)
{
    const guint8 *colon = size > USERNAME_MAX ? NULL : memchr(value, ':', size);
    if (colon == NULL || colon == value || colon - value > RV_STUN_UFRAG_MAX || colon + 1 == value + size)
        return false;
    for (const guint8 *c = value; c < colon; c++)
        if (!is_ice_char(*c))
            return false;
    memcpy(request->ufrag, value, (gsize)(colon - value));
    request->ufrag[colon - value] = '\0';
    return true;
}

bool
rv_stun_read_request(const guint8 *data, gsize size, RvStunRequest *request)
{
    bool has_username = false;
    if (!is_binding_request(data, size))
        return false;
    for (gsize at = HEADER; at + 4 <= size;) {
        guint type = read_16(data + at);
        gsize length = read_16(data + at + 2), padded = (length + 3) & ~(gsize)3;
        if (padded > size - at - 4)
            return false;
        if (type == MESSAGE_INTEGRITY) { /* what comes after it is not protected by it */
            request->integrity_at = at;
            return length == HMAC_BYTES && has_username;
        }
        if (type == USERNAME && !has_username) {
            if (!read_username(data + at + 4, length, request))
                return false;
            has_username = true;
        }
        at += 4 + padded;
    }
    return false;
}

/* The HMAC is that of a message which ends with the attribute itself, and its length says so. */
bool
rv_stun_check_integrity(const guint8 *data, const RvStunRequest *request, const char *password)
{
    gsize length = request->integrity_at + 4 + HMAC_BYTES - HEADER;
    const guint8 start[4] = { data[0], data[1], (guint8)(length >> 8), (guint8)length };
    guint8 digest[HMAC_BYTES], differences = 0;
    gsize digest_size = sizeof digest;
    g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guint8 *)password, strlen(password));
    g_hmac_update(hmac, start, sizeof start);
    g_hmac_update(hmac, data + sizeof start, (gssize)(request->integrity_at - sizeof start));
    g_hmac_get_digest(hmac, digest, &digest_size);
    for (gsize i = 0; i < sizeof digest; i++) /* takes as long wherever they differ */
        differences |= digest[i] ^ data[request->integrity_at + 4 + i];
    return differences == 0;
}
