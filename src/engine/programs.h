/* programs.h - compiled programs by a key (their size), the least recently used given up first. */
#pragma once
#include "tensor/program.h"

typedef struct RvPrograms RvPrograms;

RvPrograms *rv_programs_new(int capacity);
void rv_programs_free(RvPrograms *programs); /* accepts NULL */
/* The program of the key, or NULL; it becomes the most recently used. Borrowed until the next add. */
RvProgram *rv_programs_find(RvPrograms *programs, const char *key);
/* Compiles and takes the program; on failure frees it and gives NULL. */
RvProgram *rv_programs_add(RvPrograms *programs, const char *key, RvProgram *program, GError **error);
