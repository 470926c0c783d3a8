#include "models/check.h"

bool
rv_check_field(RvProgram *p, const char *field, int value, int min, int max)
{
    if (value >= min && value <= max)
        return true;
    rv_program_enter(p, "config");
    rv_program_fail(p, RV_ERROR_INVALID, "%s is %d, not within %d to %d", field, value, min, max);
    rv_program_leave(p);
    return false;
}
