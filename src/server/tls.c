#include "server/tls.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#define DAY (24 * 60 * 60)
#define LIFETIME (800 * DAY) /* Apple refuses more than 825 days */
#define RENEW (30 * DAY)

static bool
failed(int code, const char *what, GError **error)
{
    return code < 0 && !rv_error_set(error, RV_ERROR_FAILED, "TLS", "give --tls-cert and --tls-key", "%s: %s",
                                     what, gnutls_strerror(code));
}

static bool
is_still_good(const char *path)
{
    g_autofree char *text = NULL;
    gsize size;
    if (!g_file_get_contents(path, &text, &size, NULL))
        return false;
    gnutls_x509_crt_t cert;
    gnutls_datum_t pem = { (unsigned char *)text, (unsigned)size };
    if (gnutls_x509_crt_init(&cert) < 0)
        return false;
    bool good = gnutls_x509_crt_import(cert, &pem, GNUTLS_X509_FMT_PEM) >= 0 &&
                gnutls_x509_crt_get_expiration_time(cert) > time(NULL) + RENEW;
    gnutls_x509_crt_deinit(cert);
    return good;
}

static int
add_name(gnutls_x509_crt_t cert, const char *name)
{
    unsigned char address[16];
    unsigned size = 0;
    if (inet_pton(AF_INET, name, address) == 1)
        size = 4;
    else if (inet_pton(AF_INET6, name, address) == 1)
        size = 16;
    return size > 0 ? gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address, size,
                                                           GNUTLS_FSAN_APPEND)
                    : gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name,
                                                           (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

static int
fill(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *host)
{
    unsigned char serial[16], key_id[64];
    size_t id_size = sizeof key_id;
    g_autofree char *local = g_strconcat(g_get_host_name(), ".local", NULL);
    const char *const names[] = { "localhost", "127.0.0.1", "::1", g_get_host_name(), local, host };
    int code = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] &= 0x7f; /* positive */
    time_t now = time(NULL);
    const int steps[] = {
        code,
        gnutls_x509_crt_set_version(cert, 3),
        gnutls_x509_crt_set_serial(cert, serial, sizeof serial),
        gnutls_x509_crt_set_activation_time(cert, now - DAY),
        gnutls_x509_crt_set_expiration_time(cert, now + LIFETIME),
        gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, "reverie",
                                      (unsigned)strlen("reverie")),
        gnutls_x509_crt_set_key(cert, key),
        gnutls_x509_crt_set_basic_constraints(cert, 0, -1),
        gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE),
        gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0),
        gnutls_x509_crt_get_key_id(cert, 0, key_id, &id_size),
        gnutls_x509_crt_set_subject_key_id(cert, key_id, id_size),
    };
    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++)
        if (steps[i] < 0)
            return steps[i];
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if ((code = add_name(cert, names[i])) < 0)
            return code;
    return gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
}

static bool
save(const char *path, const gnutls_datum_t *pem, int mode, GError **error)
{
    g_autoptr(GError) wrong = NULL;
    if (!g_file_set_contents_full(path, (const char *)pem->data, (gssize)pem->size,
                                  G_FILE_SET_CONTENTS_CONSISTENT, mode, &wrong))
        return rv_error_set(error, RV_ERROR_IO, path, "check --data", "cannot keep the certificate: %s",
                            wrong->message);
    return true;
}

static bool
make(const char *cert_path, const char *key_path, const char *host, GError **error)
{
    gnutls_x509_crt_t cert = NULL;
    gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t cert_pem = { NULL, 0 }, key_pem = { NULL, 0 };
    bool ok = !failed(gnutls_x509_crt_init(&cert), "cannot make a certificate", error) &&
              !failed(gnutls_x509_privkey_init(&key), "cannot make a key", error) &&
              !failed(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                                   GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                      "cannot make a key", error) &&
              !failed(fill(cert, key, host), "cannot make a certificate", error) &&
              !failed(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem),
                      "cannot write a certificate", error) &&
              !failed(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                        &key_pem),
                      "cannot write a key", error) &&
              save(key_path, &key_pem, 0600, error) && save(cert_path, &cert_pem, 0644, error);
    if (cert != NULL)
        gnutls_x509_crt_deinit(cert);
    if (key != NULL)
        gnutls_x509_privkey_deinit(key);
    gnutls_free(cert_pem.data);
    if (key_pem.data != NULL)
        gnutls_memset(key_pem.data, 0, key_pem.size);
    gnutls_free(key_pem.data);
    return ok;
}

bool
rv_tls_ensure_self_signed(const char *cert_path, const char *key_path, const char *host, bool *is_new,
                          GError **error)
{
    *is_new = !is_still_good(cert_path) || !g_file_test(key_path, G_FILE_TEST_EXISTS);
    return !*is_new || make(cert_path, key_path, host, error);
}
