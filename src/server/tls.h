/* tls.h - a certificate for https without any other program. */
#pragma once
#include "base/error.h"

/* Makes sure that `cert_path` and `key_path` hold a self-signed certificate (ECDSA P-256; localhost, this
 * machine's names, `host`) that is good for another month; makes a new one otherwise. The key is readable
 * by its owner only. `*is_new` says whether one was made. */
bool rv_tls_ensure_self_signed(const char *cert_path, const char *key_path, const char *host, bool *is_new,
                               GError **error);
