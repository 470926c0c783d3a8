/* part.h - the parts that a model is made of. */
#pragma once

typedef enum {
    RV_PART_TEXT,  /* text_encoder */
    RV_PART_TEXT2, /* text_encoder_2 */
    RV_PART_UNET,
    RV_PART_VAE,   /* AutoencoderKL */
    RV_PART_TAESD, /* AutoencoderTiny */
    RV_PART_CONTROLNET,
    RV_PARTS,
    RV_PART_NONE = RV_PARTS,
} RvPart;

/* The diffusers folder's name of a part: "text_encoder". */
const char *rv_part_name(RvPart part);
