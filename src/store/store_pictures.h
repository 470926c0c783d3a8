/* store_pictures.h - rows of pictures, for the store's own files. */
#pragma once
#include "store/store_internal.h"

/* In the store's thread; sets the row's id. */
bool rv_store_insert_picture(sqlite3 *db, RvPictureRow *row, GError **error);
