/* prompt.h - the grammar of prompts: what a user types, as runs of text with weights.
 *
 * The grammar is AUTOMATIC1111's web UI's, so that prompts from there mean the same here, plus compel's
 * blend. One prompt is
 *     parts      joined by AND, each guided on its own:  uncond + sum of weight * cfg * (cond - uncond)
 *     entries    what a part says until which step (prompt editing)
 *     members    blended: the encoder's outputs times their weights, added up
 *     runs       pieces of text with one weight each; each run is tokenised by itself
 * Two things differ from the web UI on purpose: BREAK works inside brackets too, and ":9" at the end of a
 * prompt without AND ("16:9") is text, not a weight.
 * A prompt without any of it is one part, one entry, one member and one run of weight 1.
 * Parsing takes time linear in the prompt; all functions may be called from any thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    /* Everything: (x) [x] (x:1.2) \( \) \[ \] \\ BREAK AND [from:to:when] [a|b] <lora:name:1> and blends. */
    RV_PROMPT_A1111,
    /* As diffusers reads a prompt, but for (text:1.2), BREAK and blends. All other brackets are text;
     * \( and \) are brackets that never begin or end a weight. */
    RV_PROMPT_EXPLICIT,
    /* The text as it is. */
    RV_PROMPT_PLAIN,
} RvPromptSyntax;

typedef struct {
    RvPromptSyntax syntax;
    int steps;        /* evaluations of the denoiser, at least 1 (a second-order sampler makes two a step) */
    int hires_steps;  /* > 0: this is the second pass of that many steps, after a first of `steps` */
    bool is_negative; /* AND is plain text */
    bool strip_comments; /* A1111 only: # to the end of the line is left out */
} RvPromptOptions;

typedef struct {
    char *text;    /* "" in a break */
    float weight;  /* 1.0 is no emphasis; any finite number */
    bool is_break; /* BREAK: what follows starts a new chunk */
} RvPromptRun;

typedef struct {
    float weight; /* as it is to be applied: a blend's weights add up to 1 unless it says "no_normalize" */
    GArray *runs; /* RvPromptRun, at least one */
} RvPromptMember;

typedef struct {
    int end_step;       /* used while step <= end_step, steps counted from 0: A1111's off-by-one is kept */
    char *text;         /* the entry before emphasis was parsed: equal texts have equal members */
    GPtrArray *members; /* RvPromptMember, at least one */
} RvPromptEntry;

typedef struct {
    float weight;
    GPtrArray *entries; /* RvPromptEntry by rising end_step; the last one ends at the last step */
} RvPromptPart;

/* <kind:name:...>: an extra network, such as a LoRA, that the prompt asks for. */
typedef struct {
    char *kind, *name;
    float text_weight, unet_weight; /* 1.0 unless stated; the first number sets both */
    char **arguments;               /* all of them, the name first, as written; NULL-terminated */
} RvPromptNetwork;

typedef struct {
    GPtrArray *parts;    /* RvPromptPart, at least one */
    GPtrArray *networks; /* RvPromptNetwork in the order of the text; empty unless RV_PROMPT_A1111 */
} RvPrompt;

#define RV_PROMPT_MAX_BYTES (256 << 10)
#define RV_PROMPT_MAX_STEPS 10000

/* NULL with RV_ERROR_USAGE: too long, a weight that is not finite, a blend with another number of weights
 * than texts or with weights that add up to 0, steps out of range. Text that is no valid construct is not
 * an error but text. */
RvPrompt *rv_prompt_parse(const char *text, const RvPromptOptions *options, GError **error);
void rv_prompt_free(RvPrompt *prompt); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvPrompt, rv_prompt_free)

/* The entry of `part` for evaluation `step` (from 0). */
const RvPromptEntry *rv_prompt_part_at(const RvPromptPart *part, int step);

/* Takes the <kind:name:...> tags out of `text`: returns the rest (a new string) and appends
 * RvPromptNetwork to `networks` (whose free function must be rv_prompt_network_free). */
char *rv_prompt_extract_networks(const char *text, GPtrArray *networks);
void rv_prompt_network_free(gpointer network);
