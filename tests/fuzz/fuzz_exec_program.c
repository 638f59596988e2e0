/* room: filters */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* A line with a program's command, one with its exits; then what it has printed. */
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "filters/exec_program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_settings(struct str command, struct str exits)
{
    struct exec_program p = {.name = str_dup_z(STR("fuzz"))};
    struct runner_program asked;
    struct err err = {0};

    CHECK(settings_defaults(exec_program_settings, &p, &err) == 0);
    if (settings_set(exec_program_settings, &p, STR("command"), command, &err) == 0 &&
        settings_set(exec_program_settings, &p, STR("exits"), exits, &err) == 0 &&
        exec_program_check(&p, &err) == 0) {
        for (size_t i = 0; i < EXEC_CODES; i++)
            CHECK(p.verdict[i] >= EXEC_FAILS && p.verdict[i] < PH_VERDICTS);
        CHECK(p.argv[0][0] == '/');
        exec_program_request(&p, 1, &asked);
        CHECK(exec_program_is(&p, &asked, 1));
    }
    exec_program_fini(&p);
}

static void check_output(struct str printed)
{
    struct exec_output o;
    struct buf variable;
    char reply[256];

    exec_output_parse(printed, &o);
    CHECK(strlen(o.text) <= EXEC_TEXT_MAX && o.n_fields <= EXEC_FIELDS_MAX);
    for (size_t i = 0; i < o.n_fields; i++)
        CHECK(o.fields[i].name.n > 2 && o.fields[i].value.n &&
              !memchr(o.fields[i].value.p, '\n', o.fields[i].value.n));
    exec_reply(PH_REJECT, o.text, reply, sizeof reply);
    CHECK(!o.text[0] || reply[0] == '5');
    buf_init(&variable, EXEC_VALUE_MAX + 64);
    exec_put_variable(&variable, "HELO", printed);
    CHECK(buf_ok(&variable) && !memchr(variable.p, '\0', variable.n));
    buf_fini(&variable);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of(data, size), command, exits;

    str_cut(rest, '\n', &command, &rest);
    str_cut(rest, '\n', &exits, &rest);
    if (!memchr(command.p ? command.p : "", '\0', command.n) &&
        !memchr(exits.p ? exits.p : "", '\0', exits.n))
        check_settings(command, exits);
    check_output(rest);
    return 0;
}
