/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* doctor_accounts.c - how accounts log in; and the command `doctor accounts` that counts them where
 * the tables are. */
#include "appliance/app/admin.h"
#include "appliance/app/doctor.h"
#include "appliance/directory/directory_apps.h"

static json_t *census_json(const struct directory_census *c)
{
    json_t *schemes = json_array();

    for (size_t i = 0; i < c->n_schemes; i++)
        json_array_append_new(schemes,
                              json_pack("{ss sb sI}", "scheme", c->schemes[i].name, "weak",
                                        c->schemes[i].weak, "users", (json_int_t)c->schemes[i].n));
    return json_pack("{sI sI sI so}", "users", (json_int_t)c->users, "can_log_in",
                     (json_int_t)c->accounts, "without_scram", (json_int_t)c->missing, "schemes",
                     schemes);
}

static int accounts(struct admin_call *c)
{
    struct directory_apps *a;
    struct directory_census census;

    if (directory_apps_open(c->dir, c->directory, &a, &c->err))
        return -1;
    int rc = directory_census(a, &census, &c->err);
    directory_apps_close(&a);
    if (rc == 0)
        c->result = census_json(&census);
    return rc;
}

const struct admin_command admin_doctor_commands[] = {
    {"doctor", "accounts", "", 0, 0, NULL, false, accounts,
     "Count the users who can log in, those without a SCRAM verifier, and how passwords are "
     "stored. "
     "`posthouse doctor` alone looks at everything."},
    {.group = NULL}};

static json_int_t number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static void say_schemes(struct doctor *d, const json_t *schemes)
{
    const json_t *s;
    size_t i;

    json_array_foreach(schemes, i, s)
    {
        const char *name = json_string_value(json_object_get(s, "scheme"));
        json_int_t n = number(s, "users");
        if (json_is_true(json_object_get(s, "weak")))
            doctor_say(
                d, DOCTOR_WARN, "a login replaces it (directory.upgrade_hashes), or a new password",
                "%lld passwords are stored as %s, which is quickly guessed", (long long)n, name);
        else if (strcmp(name, "unknown") == 0)
            doctor_say(d, DOCTOR_BAD, "set new passwords", "%lld stored passwords can't be read",
                       (long long)n);
    }
}

void doctor_accounts(struct doctor *d)
{
    static const char *const words[] = {"doctor", "accounts", NULL};
    json_t *census = doctor_ask(d, words, NULL);
    if (!census)
        return;
    long long users = (long long)number(census, "users"),
              can = (long long)number(census, "can_log_in"),
              missing = (long long)number(census, "without_scram");

    if (users == 0)
        doctor_say(d, DOCTOR_WARN, "posthouse domain add, posthouse user add",
                   "there are no users");
    else if (missing == 0)
        doctor_say(d, DOCTOR_OK, "", "%lld users, %lld can log in, all by SCRAM too", users, can);
    else
        doctor_say(d, DOCTOR_WARN,
                   "set their passwords again, or let them log in once with the password",
                   "%lld of %lld users who can log in have no SCRAM verifier: it isn't offered",
                   missing, can);
    say_schemes(d, json_object_get(census, "schemes"));
    json_decref(census);
}
