/* Offers of any bytes: what is let through to webrtcbin, and rewriting of answers. */
#include <stdint.h>
#include <string.h>

#include "media/sdp_answer.h"
#include "media/sdp_offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const codecs[] = { NULL, "vp8", "h264" };
    RvSdpOffer *offer = rv_sdp_offer_parse((const char *)data, size, codecs[size % 3], NULL);
    if (offer != NULL) {
        g_free(rv_sdp_add_public_address(offer->sdp, "198.51.100.7"));
        g_assert(offer->payload_type >= 0 && offer->payload_type <= 127 && offer->twcc_id <= 14);
    }
    rv_sdp_offer_free(offer);
    char *text = g_strndup((const char *)data, size);
    g_free(rv_sdp_add_public_address(text, "198.51.100.7"));
    RvSdpAgent agent;
    if (rv_sdp_read_agent(text, &agent))
        rv_sdp_agent_clear(&agent);
    RvSdpHost host;
    if (rv_sdp_host_parse(text, &host, NULL)) {
        g_free(rv_sdp_replace_candidates(text, &host, 1));
        g_free(host.address);
    }
    g_free(text);
    return 0;
}
