#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/console.h"

static const RvCommand commands[] = {
    { "txt2img", "draw pictures from text", rv_command_txt2img },
    { "img2img", "redraw a picture (with --mask: only a part of it)", rv_command_img2img },
    { "video", "redraw every frame of a film or of a folder of pictures", rv_command_video },
    { "serve", "live mirror, image studio and A1111's API, in a browser", rv_command_serve },
    { "users", "say who may log in to a server", rv_command_users },
    { "models", "list, inspect, verify, convert and download models", rv_command_models },
    { "tokenize", "show the tokens that a prompt becomes", rv_command_tokenize },
    { "bench", "measure frames, steps and loading on this machine", rv_command_bench },
};

static void
print_help(FILE *to)
{
    fprintf(to,
            "reverie %s - Stable Diffusion, in C: pictures from text, from pictures, from film.\n\n"
            "Usage: reverie COMMAND [OPTIONS]\n\nCommands:\n",
            REVERIE_VERSION);
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\nStart here (the built-in model needs no download):\n"
                "  reverie txt2img -p \"a red apple\" -o apple.png\n"
                "  reverie img2img -i photo.jpg -p \"a snowy forest\" --strength 0.5 -o forest.png\n\n"
                "`reverie COMMAND --help` explains a command. Exit codes: 0 done, 2 wrong usage, 3 a bad "
                "input file,\n"
                "4 no such device or out of memory, 5 cancelled, 1 anything else.\n");
}

/* A closed standard stream must not lend its number to an output file, which messages would then go into. */
static void
hold_standard_streams(void)
{
    int descriptor;
    do
        descriptor = open("/dev/null", O_RDONLY); /* writing to it fails, as it should */
    while (descriptor >= 0 && descriptor <= STDERR_FILENO);
    if (descriptor >= 0)
        close(descriptor);
}

/* Prompts are UTF-8; the plain C locale, which a bare machine has, would refuse all but ASCII. */
static void
set_locale(void)
{
    setlocale(LC_CTYPE, "");
    if (!g_get_charset(NULL))
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* libgomp's waiting threads spin for milliseconds by default, which is ruinous on a machine that has other
 * work (a browser, a second session): the waiting thread takes the time slice of the one it waits for. A
 * short spin keeps the speed of an idle machine. libgomp reads the setting when it is loaded, so the program
 * starts itself once more. */
static void
limit_spinning(char **argv)
{
    if (g_getenv("OMP_WAIT_POLICY") != NULL || g_getenv("GOMP_SPINCOUNT") != NULL)
        return;
    g_setenv("GOMP_SPINCOUNT", "5000", FALSE);
    execv("/proc/self/exe", argv);
}

int
main(int argc, char **argv)
{
    limit_spinning(argv);
    hold_standard_streams();
    set_locale();
    rv_console_init();
    g_set_prgname("reverie");
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return rv_console_finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("reverie " REVERIE_VERSION);
        return rv_console_finish(0);
    }
    char *asked[] = { argv[2], (char *)(guintptr) "--help", NULL };
    bool helps = strcmp(argv[1], "help") == 0; /* "help COMMAND" */
    if (helps)
        argv[1] = argv[2];
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            g_autofree char *name = g_strconcat("reverie ", commands[i].name, NULL);
            g_set_prgname(name);
            return rv_console_finish(helps ? commands[i].run(2, asked) : commands[i].run(argc - 1, argv + 1));
        }
    fprintf(stderr, "reverie: no such command (%s): see reverie --help\n", argv[1]);
    return 2;
}
