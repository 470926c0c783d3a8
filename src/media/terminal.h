/* terminal.h - shows a picture in the terminal, as well as the terminal can. */
#pragma once
#include <stdio.h>

#include "media/picture.h"

typedef enum {
    RV_TERMINAL_NONE,      /* no picture */
    RV_TERMINAL_BLOCKS256, /* half blocks in the 216 colours of the xterm palette */
    RV_TERMINAL_BLOCKS,    /* half blocks in 24-bit colour */
    RV_TERMINAL_SIXEL,     /* DEC sixel, 216 colours, dithered */
    RV_TERMINAL_KITTY,     /* kitty graphics protocol: a PNG, inline */
} RvTerminalProtocol;

typedef struct {
    int columns, rows;             /* character cells */
    int pixel_width, pixel_height; /* of the whole terminal; 0 when it does not say */
} RvTerminalSize;

/* "auto" (what the environment says: TERM, TERM_PROGRAM, KITTY_WINDOW_ID, COLORTERM ...), "none",
 * "blocks256", "blocks", "sixel" or "kitty"; another name fails with RV_ERROR_USAGE. */
bool rv_terminal_from_name(const char *name, RvTerminalProtocol *protocol, GError **error);
RvTerminalProtocol rv_terminal_from_environment(void);
/* RV_TERMINAL_NONE unless `descriptor` is a terminal. */
RvTerminalProtocol rv_terminal_detect(int descriptor);
/* 80 x 24 cells of unknown pixel size when `descriptor` is no terminal. */
RvTerminalSize rv_terminal_get_size(int descriptor);

/* The escape sequences that draw the picture at the cursor, ending with a new line. Never enlarges; shrinks
 * to the width of the terminal and to its height less two rows. Transparent parts are drawn over black. */
GString *rv_terminal_render(const RvPicture *picture, RvTerminalProtocol protocol, RvTerminalSize size,
                            GError **error);
/* Renders for the size of `stream` and writes it out. */
bool rv_terminal_show(FILE *stream, const RvPicture *picture, RvTerminalProtocol protocol, GError **error);
