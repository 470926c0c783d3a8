/* password.h - passwords as they are kept: hashes of libcrypt's preferred method (yescrypt), "$y$...". */
#pragma once
#include "base/error.h"

/* Free with g_free. RV_ERROR_FAILED when the library cannot. */
char *rv_password_hash(const char *password, GError **error);
/* Is `kept` such a hash? Other text is a password in the clear. */
bool rv_password_is_hash(const char *kept);
/* Takes a few milliseconds for a hash, on purpose. `kept` may also be a password in the clear. */
bool rv_password_verify(const char *kept, const char *password);
/* A hash that no password has, of the usual cost: for names that do not exist. */
const char *rv_password_none(void);
