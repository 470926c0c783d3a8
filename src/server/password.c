#include "server/password.h"

#include <crypt.h>
#include <string.h>

#include "server/auth.h"

#define MAX_PASSWORD 512

char *
rv_password_hash(const char *password, GError **error)
{
    struct crypt_data data = { 0 };
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *hash = NULL;
    if (strlen(password) <= MAX_PASSWORD &&
        crypt_gensalt_rn(NULL, 0, NULL, 0, setting, sizeof setting) != NULL)
        hash = crypt_r(password, setting, &data);
    if (hash == NULL || *hash != '$') {
        rv_error_set(error, RV_ERROR_FAILED, NULL, "use a shorter one", "the password cannot be hashed");
        return NULL;
    }
    return g_strdup(hash);
}

bool
rv_password_is_hash(const char *kept)
{
    return *kept == '$' && strchr(kept + 1, '$') != NULL;
}

bool
rv_password_verify(const char *kept, const char *password)
{
    struct crypt_data data = { 0 };
    if (!rv_password_is_hash(kept))
        return rv_equal_in_constant_time(kept, password);
    const char *hash = strlen(password) <= MAX_PASSWORD ? crypt_r(password, kept, &data) : NULL;
    return hash != NULL && *hash == '$' && rv_equal_in_constant_time(hash, kept);
}

const char *
rv_password_none(void)
{
    static char *hash;
    if (g_once_init_enter(&hash)) {
        g_autofree char *random = g_uuid_string_random();
        char *made = rv_password_hash(random, NULL);
        g_once_init_leave(&hash, made != NULL ? made : g_strdup("$none$"));
    }
    return hash;
}
