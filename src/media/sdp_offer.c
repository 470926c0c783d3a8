#include "media/sdp_offer.h"

#include <string.h>

#include <gio/gio.h>
#include <gst/sdp/sdp.h>

#include "base/error.h"

#define MAX_LINES 1000

const char *
rv_video_codec_name(RvVideoCodec codec)
{
    return codec == RV_VIDEO_H264 ? "H264" : "VP8";
}

static bool
invalid(GError **error, const char *what)
{
    return rv_error_set(error, RV_ERROR_INVALID, NULL, "send a browser's offer unchanged",
                        "malformed WebRTC offer: %s", what);
}

static bool
unsupported(GError **error, const char *what)
{
    return rv_error_set(error, RV_ERROR_INVALID, NULL, "offer one video section, as docs/protocol.md says",
                        "this WebRTC offer cannot be answered: %s", what);
}

/* Printable ASCII and line ends, each line "x=...": the SDP parser itself lets nearly anything pass. */
static bool
check_text(const char *text, gsize size, GError **error)
{
    if (size == 0 || size > RV_SDP_MAX_BYTES)
        return invalid(error, "it is empty or longer than 64 KiB");
    if (!g_str_is_ascii(text))
        return invalid(error, "it is not ASCII");
    g_auto(GStrv) lines = g_strsplit(text, "\n", MAX_LINES + 1);
    if (g_strv_length(lines) > MAX_LINES)
        return invalid(error, "too many lines");
    for (int i = 0; lines[i] != NULL; i++) {
        g_strchomp(lines[i]);
        if (lines[i][0] == '\0')
            continue;
        if (!g_ascii_islower(lines[i][0]) || lines[i][1] != '=')
            return invalid(error, "a line is not of the form x=value");
        for (const char *c = lines[i]; *c != '\0'; c++)
            if (!g_ascii_isprint(*c) && *c != '\t')
                return invalid(error, "control characters");
    }
    return true;
}

/* Attributes may stand in the media section or, for all sections, before it. */
static const char *
attribute(const GstSDPMessage *message, const GstSDPMedia *media, const char *name)
{
    const char *value = gst_sdp_media_get_attribute_val(media, name);
    return value != NULL ? value : gst_sdp_message_get_attribute_val(message, name);
}

static bool
is_token(const char *text, gsize shortest, gsize longest)
{
    if (text == NULL || strlen(text) < shortest || strlen(text) > longest)
        return false;
    for (; *text != '\0'; text++)
        if (!g_ascii_isalnum(*text) && strchr("+/-_.", *text) == NULL)
            return false;
    return true;
}

/* "sha-256 AB:CD:..." */
static bool
is_fingerprint(const char *text)
{
    if (text == NULL || g_ascii_strncasecmp(text, "sha-256 ", 8) != 0 || strlen(text) != 8 + 32 * 3 - 1)
        return false;
    for (int i = 0; text[8 + i] != '\0'; i++)
        if (i % 3 == 2 ? text[8 + i] != ':' : !g_ascii_isxdigit(text[8 + i]))
            return false;
    return true;
}

static bool
check_transport(const GstSDPMessage *message, const GstSDPMedia *media, GError **error)
{
    const char *setup = attribute(message, media, "setup");
    const char *mid = gst_sdp_media_get_attribute_val(media, "mid");
    const char *group = gst_sdp_message_get_attribute_val(message, "group");
    if (!is_token(attribute(message, media, "ice-ufrag"), 4, 256) ||
        !is_token(attribute(message, media, "ice-pwd"), 22, 256))
        return invalid(error, "no ICE user fragment and password");
    if (!is_fingerprint(attribute(message, media, "fingerprint")))
        return invalid(error, "no SHA-256 fingerprint");
    if (setup == NULL || (strcmp(setup, "actpass") != 0 && strcmp(setup, "active") != 0))
        return invalid(error, "its DTLS setup is not actpass or active");
    if (!is_token(mid, 1, 16))
        return invalid(error, "no mid");
    g_autofree char *bundle = g_strconcat("BUNDLE ", mid, NULL);
    if (group != NULL && strcmp(group, bundle) != 0)
        return invalid(error, "its bundle group is not its video section");
    if (gst_sdp_media_get_attribute_val(media, "rtcp-mux") == NULL)
        return unsupported(error, "RTP and RTCP are not multiplexed");
    return true;
}

/* "96" from "96 VP8/90000" */
static bool
leading_number(const char *text, gint64 least, gint64 most, int *number, const char **rest)
{
    char *end;
    if (text == NULL || !g_ascii_isdigit(*text))
        return false;
    gint64 value = g_ascii_strtoll(text, &end, 10);
    if (value < least || value > most)
        return false;
    *number = (int)value;
    *rest = end;
    return true;
}

static const char *
format_parameters(const GstSDPMedia *media, int payload_type)
{
    for (guint i = 0; i < gst_sdp_media_attributes_len(media); i++) {
        const GstSDPAttribute *attribute_ = gst_sdp_media_get_attribute(media, i);
        const char *rest;
        int number;
        if (strcmp(attribute_->key, "fmtp") == 0 &&
            leading_number(attribute_->value, 0, 127, &number, &rest) && number == payload_type)
            return rest;
    }
    return "";
}

/* H.264 only where pictures may be cut into several packets, and as baseline: what every browser offers. */
static bool
speaks(const GstSDPMedia *media, const char *encoding, int payload_type, RvVideoCodec *codec)
{
    if (g_ascii_strncasecmp(encoding, " VP8/90000", 10) == 0) {
        *codec = RV_VIDEO_VP8;
        return true;
    }
    const char *parameters = format_parameters(media, payload_type);
    *codec = RV_VIDEO_H264;
    return g_ascii_strncasecmp(encoding, " H264/90000", 11) == 0 &&
           strstr(parameters, "packetization-mode=1") != NULL &&
           strstr(parameters, "profile-level-id=42") != NULL;
}

static bool
is_listed(const GstSDPMedia *media, int payload_type)
{
    for (guint i = 0; i < gst_sdp_media_formats_len(media); i++)
        if (g_ascii_strtoull(gst_sdp_media_get_format(media, i), NULL, 10) == (guint64)payload_type)
            return true;
    return false;
}

static bool
choose_codec(const GstSDPMedia *media, const char *wanted, RvSdpOffer *offer, GError **error)
{
    bool is_found = false;
    for (guint i = 0; i < gst_sdp_media_attributes_len(media); i++) {
        const GstSDPAttribute *entry = gst_sdp_media_get_attribute(media, i);
        const char *encoding;
        RvVideoCodec codec;
        int number;
        if (strcmp(entry->key, "rtpmap") != 0)
            continue;
        if (!leading_number(entry->value, 0, 127, &number, &encoding) || strchr(encoding, '/') == NULL)
            return invalid(error, "a malformed rtpmap");
        if (!is_listed(media, number) || !speaks(media, encoding, number, &codec))
            continue;
        bool is_wanted = wanted != NULL && g_ascii_strcasecmp(wanted, rv_video_codec_name(codec)) == 0;
        if (is_found && !is_wanted)
            continue;
        offer->codec = codec;
        offer->payload_type = number;
        is_found = true;
        if (is_wanted)
            break;
    }
    return is_found || unsupported(error, "neither VP8 nor baseline H.264");
}

static bool
read_extensions(const GstSDPMedia *media, RvSdpOffer *offer, GError **error)
{
    for (guint i = 0; i < gst_sdp_media_attributes_len(media); i++) {
        const GstSDPAttribute *entry = gst_sdp_media_get_attribute(media, i);
        const char *rest;
        int id;
        if (strcmp(entry->key, "extmap") != 0)
            continue;
        if (!leading_number(entry->value, 1, 255, &id, &rest) || *rest == '\0')
            return invalid(error, "a malformed extmap");
        if (id > 14) /* one-byte headers only */
            continue;
        rest = strchr(rest, ' ');
        if (rest == NULL)
            continue;
        if (strcmp(rest + 1, RV_RTP_TWCC) == 0)
            offer->twcc_id = id;
        else if (strcmp(rest + 1, RV_RTP_PLAYOUT_DELAY) == 0)
            offer->playout_delay_id = id;
        else if (strcmp(rest + 1, RV_RTP_COLOUR_SPACE) == 0)
            offer->colour_space_id = id;
    }
    return true;
}

static bool
read_direction(const GstSDPMedia *media, RvSdpOffer *offer, GError **error)
{
    bool send = gst_sdp_media_get_attribute_val(media, "sendonly") != NULL;
    bool receive = gst_sdp_media_get_attribute_val(media, "recvonly") != NULL;
    if (gst_sdp_media_get_attribute_val(media, "inactive") != NULL || (send && receive))
        return unsupported(error, "its video is inactive");
    offer->may_send = !send;
    offer->may_receive = !receive;
    return true;
}

static bool
read_video(const GstSDPMessage *message, const char *wanted, RvSdpOffer *offer, GError **error)
{
    if (gst_sdp_message_medias_len(message) != 1)
        return unsupported(error, "it has not exactly one section");
    const GstSDPMedia *media = gst_sdp_message_get_media(message, 0);
    if (g_strcmp0(gst_sdp_media_get_media(media), "video") != 0 ||
        g_strcmp0(gst_sdp_media_get_proto(media), "UDP/TLS/RTP/SAVPF") != 0 ||
        gst_sdp_media_get_port(media) == 0)
        return unsupported(error, "it has no video over UDP/TLS/RTP/SAVPF");
    return check_transport(message, media, error) && choose_codec(media, wanted, offer, error) &&
           read_extensions(media, offer, error) && read_direction(media, offer, error);
}

/* "candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ TYPE ..." with an address. Names (mDNS)
 * would be looked up, and are not needed: the peer's own checks tell where it is. */
static bool
is_plain_candidate(const char *value)
{
    g_auto(GStrv) words = g_strsplit(value, " ", 9);
    if (g_strv_length(words) < 8 || !is_token(words[0], 1, 48) || strcmp(words[6], "typ") != 0)
        return false;
    const char *rest;
    int port, component;
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(words[4]);
    return address != NULL && leading_number(words[1], 1, 2, &component, &rest) && *rest == '\0' &&
           leading_number(words[3], 0, G_MAXUINT32, &port, &rest) && *rest == '\0' &&
           leading_number(words[5], 1, 65535, &port, &rest) && *rest == '\0' &&
           (g_ascii_strcasecmp(words[2], "udp") == 0 || g_ascii_strcasecmp(words[2], "tcp") == 0);
}

/* webrtcbin sees only attributes that are checked here or that it merely copies. */
static bool
is_kept(const char *line)
{
    static const char *const known[] = { "group",       "mid",      "ice-ufrag", "ice-pwd",    "ice-options",
                                         "fingerprint", "setup",    "rtcp-mux",  "rtcp-rsize", "sendrecv",
                                         "sendonly",    "recvonly", "inactive",  "rtpmap",     "fmtp",
                                         "rtcp-fb",     "extmap",   "ssrc",      "ssrc-group", "msid" };
    if (g_str_has_prefix(line, "a=candidate:"))
        return is_plain_candidate(line + strlen("a=candidate:"));
    if (line[0] != 'a')
        return strchr("vostcm", line[0]) != NULL;
    gsize length = strcspn(line + 2, ":");
    for (gsize i = 0; i < G_N_ELEMENTS(known); i++)
        if (strlen(known[i]) == length && strncmp(line + 2, known[i], length) == 0)
            return true;
    return false;
}

static char *
keep_known_lines(const char *text)
{
    GString *kept = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i] != NULL; i++) {
        g_strchomp(lines[i]);
        if (lines[i][0] != '\0' && is_kept(lines[i]))
            g_string_append_printf(kept, "%s\r\n", lines[i]);
    }
    return g_string_free(kept, FALSE);
}

RvSdpOffer *
rv_sdp_offer_parse(const char *text, gsize size, const char *codec, GError **error)
{
    g_autofree char *copy = g_strndup(text, size);
    if (strlen(copy) != size) {
        invalid(error, "it holds NUL bytes");
        return NULL;
    }
    if (!check_text(copy, size, error))
        return NULL;
    g_autoptr(RvSdpOffer) offer = g_new0(RvSdpOffer, 1);
    offer->sdp = keep_known_lines(copy);
    GstSDPMessage *message;
    gst_sdp_message_new(&message);
    bool is_good = gst_sdp_message_parse_buffer((const guint8 *)offer->sdp, (guint)strlen(offer->sdp),
                                                message) == GST_SDP_OK
                       ? read_video(message, codec, offer, error)
                       : invalid(error, "it does not parse");
    gst_sdp_message_free(message);
    return is_good ? g_steal_pointer(&offer) : NULL;
}

void
rv_sdp_offer_free(RvSdpOffer *offer)
{
    if (offer == NULL)
        return;
    g_free(offer->sdp);
    g_free(offer);
}
