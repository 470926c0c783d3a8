/* store_pictures.h - rows of pictures, for the store's own files. */
#pragma once
#include "store/store_internal.h"

/* In the store's thread; sets the row's id. */
bool rv_store_insert_picture(sqlite3 *db, RvPictureRow *row, GError **error);
/* Nothing is due of the job any more; 0: of none. */
bool rv_store_settle(sqlite3 *db, gint64 job, GError **error);
