/* SPDX-License-Identifier: Apache-2.0 */
/* The program with one command, for machines without the libraries that the others take. */
#include "cli.h"

int serve_main(int argc, char **argv)
{
    (void)argc;
    return cli_usage_error(argv[0], "not in this build");
}

int dump_main(int argc, char **argv)
{
    (void)argc;
    return cli_usage_error(argv[0], "not in this build");
}

int check_main(int argc, char **argv)
{
    (void)argc;
    return cli_usage_error(argv[0], "not in this build");
}

int list_main(int argc, char **argv)
{
    (void)argc;
    return cli_usage_error(argv[0], "not in this build");
}
