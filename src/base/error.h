/* error.h - the one error convention: bool or pointer, plus GError **.
 *
 * A code says what the caller should do about it, not which library failed.
 * The text is one line, "WHAT (WHERE): WHAT TO DO", written where the fault is seen;
 * layers above pass it on and add nothing. Host memory exhaustion in small allocations
 * aborts (GLib); large allocations fail with RV_ERROR_NO_MEMORY. Bugs are g_assert. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    RV_ERROR_FAILED,      /* anything else; exit 1, HTTP 500 */
    RV_ERROR_USAGE,       /* an argument is wrong; exit 2, HTTP 400 */
    RV_ERROR_INVALID,     /* an input file is malformed; exit 3, HTTP 400 */
    RV_ERROR_NOT_FOUND,   /* an input file or name does not exist; exit 3, HTTP 404 */
    RV_ERROR_UNSUPPORTED, /* well formed, but not something we do; exit 3, HTTP 501 */
    RV_ERROR_NO_MEMORY,   /* of the host or the device: evict, retry once; exit 4, HTTP 503 */
    RV_ERROR_DEVICE,      /* no such device, or it was lost: restart its worker; exit 4, HTTP 503 */
    RV_ERROR_CANCELLED,   /* the user asked; exit 5 */
    RV_ERROR_BUSY,        /* try again later; exit 1, HTTP 429 */
    RV_ERROR_IO,          /* reading or writing failed (disk full ...); exit 1, HTTP 500 */
} RvError;

#define RV_ERROR (rv_error_quark())
GQuark rv_error_quark(void);

/* Sets *error (if error is not NULL) to "WHAT (WHERE): WHAT TO DO"; `where` and `todo` may be NULL.
 * Always returns false, so that a failing function can `return rv_error_set(...)`. */
bool rv_error_set(GError **error, RvError code, const char *where, const char *todo, const char *what_format,
                  ...) G_GNUC_PRINTF(5, 6);

/* The code for an input file that could not be opened, from errno: NOT_FOUND where the name, or the
 * permission to read it, is what has to be put right; else IO. */
RvError rv_error_of_open(int number);

/* The process exit code of an error (interface.md): 0 for NULL. */
int rv_error_exit_code(const GError *error);
