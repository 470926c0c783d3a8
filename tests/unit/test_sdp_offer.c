/* WebRTC offers: a browser's passes, whatever is missing or broken is refused before webrtcbin sees it. */
#include <string.h>

#include "base/error.h"
#include "media/sdp_answer.h"
#include "media/sdp_offer.h"

static char *
chrome_offer(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "sdp", "chrome-offer.sdp", NULL);
    char *text;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static RvSdpOffer *
parse(const char *text, const char *codec, GError **error)
{
    return rv_sdp_offer_parse(text, strlen(text), codec, error);
}

static void
test_chrome_offer(void)
{
    g_autofree char *text = chrome_offer();
    g_autoptr(RvSdpOffer) offer = parse(text, NULL, NULL);
    g_assert_nonnull(offer);
    g_assert_cmpint(offer->codec, ==, RV_VIDEO_VP8);
    g_assert_cmpint(offer->payload_type, ==, 96);
    g_assert_cmpint(offer->twcc_id, ==, 4);
    g_assert_cmpint(offer->playout_delay_id, ==, 5);
    g_assert_cmpint(offer->colour_space_id, ==, 8);
    g_assert_true(offer->may_send);
    g_assert_true(offer->may_receive);
    g_assert_null(strstr(offer->sdp, ".local"));
    g_assert_nonnull(strstr(offer->sdp, "a=ice-ufrag:"));
    g_autoptr(RvSdpOffer) h264 = parse(text, "h264", NULL);
    g_assert_cmpint(h264->codec, ==, RV_VIDEO_H264);
    g_assert_cmpint(h264->payload_type, ==, 102);
}

/* Only H.264 that fits: packetization mode 1, baseline. */
static void
test_codec_is_taken_only_when_we_speak_it(void)
{
    g_autofree char *text = chrome_offer();
    g_auto(GStrv) parts = g_strsplit(text, "VP8/90000", 2);
    g_autofree char *without = g_strjoin("XX8/90000", parts[0], parts[1], NULL);
    g_autoptr(RvSdpOffer) offer = parse(without, NULL, NULL);
    g_assert_cmpint(offer->payload_type, ==, 102);
    g_autoptr(GRegex) modes = g_regex_new("packetization-mode=1", 0, 0, NULL);
    g_autofree char *neither =
        g_regex_replace_literal(modes, without, -1, 0, "packetization-mode=0", 0, NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(parse(neither, "h264", &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
}

static void
test_every_missing_part_is_refused(void)
{
    static const char *const needed[] = { "a=ice-ufrag", "a=ice-pwd",  "a=fingerprint", "a=setup",
                                          "a=mid",       "a=rtcp-mux", "a=rtpmap",      "m=video" };
    g_autofree char *text = chrome_offer();
    for (gsize i = 0; i < G_N_ELEMENTS(needed); i++) {
        GString *without = g_string_new(NULL);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (int k = 0; lines[k] != NULL; k++)
            if (!g_str_has_prefix(lines[k], needed[i]))
                g_string_append_printf(without, "%s\n", lines[k]);
        g_autoptr(GError) error = NULL;
        g_assert_null(parse(without->str, NULL, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
        g_string_free(without, TRUE);
    }
}

static void
test_bad_values_are_refused(void)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        { "a=setup:actpass", "a=setup:passive" },
        { "a=mid:0", "a=mid:" },
        { "a=mid:0", "a=mid:1" },
        { "a=fingerprint:sha-256 ", "a=fingerprint:sha-256 Z" },
        { "a=fingerprint:sha-256 ", "a=fingerprint:md5 " },
        { "a=rtpmap:96 ", "a=rtpmap:9696 " },
        { "a=rtpmap:96 ", "a=rtpmap:x " },
        { "a=extmap:4 ", "a=extmap:0 " },
        { "a=extmap:4 ", "a=extmap:four " },
        { "UDP/TLS/RTP/SAVPF", "RTP/AVP" },
        { "m=video 9", "m=video 0" },
        { "m=video", "m=audio" },
        { "a=sendrecv", "a=inactive" },
        { "m=video", "m=audio 9 UDP/TLS/RTP/SAVPF 111\nm=video" },
        { "a=sendrecv", "a=sendrecv\001" },
        { "a=sendrecv", "sendrecv" },
        { "a=sendrecv", "a=s\303\266ndrecv" },
    };
    g_autofree char *text = chrome_offer();
    for (gsize i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_auto(GStrv) parts = g_strsplit(text, changes[i].from, 2);
        g_assert_nonnull(parts[1]);
        g_autofree char *changed = g_strjoin(changes[i].to, parts[0], parts[1], NULL);
        g_autoptr(GError) error = NULL;
        RvSdpOffer *offer = parse(changed, NULL, &error);
        if (offer != NULL)
            g_error("taken: %s", changes[i].to);
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

static void
test_sizes_are_bounded(void)
{
    g_autofree char *text = chrome_offer();
    g_autoptr(GError) error = NULL;
    g_assert_null(parse("", NULL, &error));
    g_clear_error(&error);
    g_assert_null(rv_sdp_offer_parse("v=0\0\n", 5, NULL, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    GString *longer = g_string_new(text);
    while (longer->len <= RV_SDP_MAX_BYTES)
        g_string_append(longer, "a=ssrc:1 cname:very-long-text-that-fills-the-offer-up\n");
    g_assert_null(parse(longer->str, NULL, NULL));
    g_string_free(longer, TRUE);
    /* Cut anywhere, it is refused or still whole enough, and nothing breaks. */
    for (gsize size = 0; size < strlen(text); size++)
        rv_sdp_offer_free(rv_sdp_offer_parse(text, size, NULL, NULL));
}

static void
test_only_plain_candidates_pass(void)
{
    static const char *const candidates[] = {
        "1 1 udp 2113937151 192.0.2.7 41646 typ host",
        "1 1 udp 2113937151 evil.example 41646 typ host",
        "1 9 udp 2113937151 192.0.2.8 41646 typ host",
        "1 1 sctp 2113937151 192.0.2.8 41646 typ host",
        "1 1 udp 2113937151 192.0.2.8 99999 typ host",
        "garbage",
        "",
    };
    g_autofree char *text = chrome_offer();
    GString *offered = g_string_new(text);
    for (gsize i = 0; i < G_N_ELEMENTS(candidates); i++)
        g_string_append_printf(offered, "a=candidate:%s\n", candidates[i]);
    g_autoptr(RvSdpOffer) offer = parse(offered->str, NULL, NULL);
    g_assert_nonnull(strstr(offer->sdp, "192.0.2.7"));
    g_assert_null(strstr(offer->sdp, "evil"));
    g_assert_null(strstr(offer->sdp, "192.0.2.8"));
    g_assert_null(strstr(offer->sdp, "garbage"));
    g_string_free(offered, TRUE);
}

static void
test_public_address_is_added(void)
{
    const char *answer = "v=0\r\n"
                         "a=candidate:1 1 UDP 2015363327 192.0.2.2 55624 typ host\r\n"
                         "a=candidate:4 1 UDP 2015363583 fd00::2 57849 typ host\r\n"
                         "a=candidate:7 1 UDP 100 203.0.113.9 57849 typ srflx raddr 192.0.2.2 rport 1\r\n"
                         "a=end-of-candidates\r\n";
    g_autofree char *text = rv_sdp_add_public_address(answer, "198.51.100.7");
    g_assert_cmpstr(text, ==,
                    "v=0\r\n"
                    "a=candidate:1 1 UDP 2015363327 192.0.2.2 55624 typ host\r\n"
                    "a=candidate:19 1 UDP 2015363326 198.51.100.7 55624 typ host\r\n"
                    "a=candidate:4 1 UDP 2015363583 fd00::2 57849 typ host\r\n"
                    "a=candidate:7 1 UDP 100 203.0.113.9 57849 typ srflx raddr 192.0.2.2 rport 1\r\n"
                    "a=end-of-candidates\r\n");
}

static const char own_answer[] = "v=0\r\n"
                                 "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
                                 "a=ice-ufrag:aB3+\r\n"
                                 "a=ice-pwd:VOkJxbRl1RmTxUkWvJxBtx\r\n"
                                 "a=candidate:1 1 UDP 2015363327 127.0.0.1 55624 typ host\r\n"
                                 "a=candidate:2 1 TCP 1015022079 127.0.0.1 9 typ host tcptype active\r\n"
                                 "a=end-of-candidates\r\n";

static void
test_candidates_are_replaced(void)
{
    const RvSdpHost hosts[] = { { (char *)"192.0.2.2", 7861 }, { (char *)"fd00::2", 40123 } };
    g_autofree char *text = rv_sdp_replace_candidates(own_answer, hosts, G_N_ELEMENTS(hosts));
    g_assert_null(strstr(text, "127.0.0.1"));
    g_assert_nonnull(strstr(text, "VOkJxbRl1RmTxUkWvJxBtx\r\n"
                                  "a=candidate:1 1 UDP 2130706431 192.0.2.2 7861 typ host\r\n"
                                  "a=candidate:2 1 UDP 2130706175 fd00::2 40123 typ host\r\n"
                                  "a=end-of-candidates\r\n"));
    g_autofree char *none = rv_sdp_replace_candidates(own_answer, NULL, 0);
    g_assert_null(strstr(none, "a=candidate"));
}

static void
test_agent_is_read(void)
{
    RvSdpAgent agent;
    g_assert_true(rv_sdp_read_agent(own_answer, &agent));
    g_assert_cmpstr(agent.ufrag, ==, "aB3+");
    g_assert_cmpstr(agent.password, ==, "VOkJxbRl1RmTxUkWvJxBtx");
    g_assert_cmpint(agent.port, ==, 55624);
    rv_sdp_agent_clear(&agent);
    static const char *const needed[] = { "a=ice-ufrag", "a=ice-pwd", "127.0.0.1 55624" };
    for (gsize i = 0; i < G_N_ELEMENTS(needed); i++) {
        g_auto(GStrv) parts = g_strsplit(own_answer, needed[i], 2);
        g_autofree char *without = g_strjoin("a=x", parts[0], parts[1], NULL);
        g_assert_false(rv_sdp_read_agent(without, &agent));
    }
}

static void
test_public_addresses_are_read(void)
{
    static const struct {
        const char *text, *address;
        int port;
    } good[] = { { "192.0.2.7", "192.0.2.7", 0 },
                 { "192.0.2.7:40123", "192.0.2.7", 40123 },
                 { "fd00::7", "fd00::7", 0 },
                 { "[fd00::7]", "fd00::7", 0 },
                 { "[fd00::7]:1", "fd00::7", 1 } };
    static const char *const bad[] = {
        "",         "host.example", "192.0.2.7:", "192.0.2.7:0", "192.0.2.7:65536", "192.0.2.7:1x",
        "[fd00::7", "[fd00::7]1",   "[]:1",       ":1",          "192.0.2.7 ",      "1.2.3.4\r\na=x"
    };
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        RvSdpHost host;
        g_assert_true(rv_sdp_host_parse(good[i].text, &host, NULL));
        g_assert_cmpstr(host.address, ==, good[i].address);
        g_assert_cmpint(host.port, ==, good[i].port);
        g_free(host.address);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        RvSdpHost host;
        g_autoptr(GError) error = NULL;
        g_assert_false(rv_sdp_host_parse(bad[i], &host, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sdp-offer/chrome", test_chrome_offer);
    g_test_add_func("/sdp-offer/codec", test_codec_is_taken_only_when_we_speak_it);
    g_test_add_func("/sdp-offer/missing", test_every_missing_part_is_refused);
    g_test_add_func("/sdp-offer/bad-values", test_bad_values_are_refused);
    g_test_add_func("/sdp-offer/sizes", test_sizes_are_bounded);
    g_test_add_func("/sdp-offer/candidates", test_only_plain_candidates_pass);
    g_test_add_func("/sdp-offer/public-address", test_public_address_is_added);
    g_test_add_func("/sdp-answer/replace-candidates", test_candidates_are_replaced);
    g_test_add_func("/sdp-answer/agent", test_agent_is_read);
    g_test_add_func("/sdp-answer/public-address", test_public_addresses_are_read);
    return g_test_run();
}
