#include "base/json_check.h"
#include <string.h>

/* Outside of strings: blanks, signs, digits and the letters of words and exponents. */
static bool
is_json_character(char c)
{
    return g_ascii_isalnum(c) || (c != '\0' && strchr(" \t\r\n{}[],:+-.", c) != NULL);
}

bool
rv_json_is_shallow(const char *text, gsize size)
{
    int depth = 0;
    bool in_string = false;
    for (gsize i = 0; i < size; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (!is_json_character(text[i])) {
            return false;
        } else if (text[i] == '[' || text[i] == '{') {
            if (++depth > RV_JSON_MAX_DEPTH)
                return false;
        } else if (text[i] == ']' || text[i] == '}') {
            depth--;
        }
    }
    return true;
}
