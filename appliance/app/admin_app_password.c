/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* app-password: one for each device, which can be taken back without the others. */
#include "appliance/app/admin.h"
#include "appliance/base/mem.h"
#include "appliance/directory/directory_apps.h"
#include "appliance/mail/address.h"

enum { FOLDED_MAX = 512 };

static int begin(struct admin_call *c, struct directory_apps **out)
{
    return directory_apps_open(c->dir, c->directory, out, &c->err);
}

static struct str arg(const struct admin_call *c, size_t i)
{
    return i < c->n_args ? str_from(c->args[i]) : STR_NULL;
}

static int add(struct admin_call *c)
{
    char text[DIRECTORY_APP_TEXT];
    struct directory_apps *a;

    if (begin(c, &a))
        return -1;
    int rc = directory_app_add(a, arg(c, 0), arg(c, 1), text, &c->err);
    if (rc == 0)
        c->result = json_pack("{so so ss}", "account", admin_str(arg(c, 0)), "name",
                              admin_str(arg(c, 1)), "password", text);
    explicit_bzero(text, sizeof text);
    directory_apps_close(&a);
    return rc;
}

static int list(struct admin_call *c)
{
    struct arena *m = arena_new(0);
    struct directory_apps *a = NULL;
    struct directory_app *apps;
    size_t n;
    int rc = begin(c, &a) ? -1 : directory_app_list(a, m, arg(c, 0), &apps, &n, &c->err);

    c->result = rc ? NULL : json_array();
    for (size_t i = 0; rc == 0 && i < n; i++)
        json_array_append_new(c->result, json_pack("{so so so}", "name", admin_str(apps[i].name),
                                                   "created", admin_moment(apps[i].created), "used",
                                                   admin_moment(apps[i].used)));
    directory_apps_close(&a);
    arena_free(&m);
    return rc;
}

/* Sessions of the account end: which of them came with this password isn't known. */
static void revoke(struct admin_call *c)
{
    struct buf folded;
    struct err err;

    buf_init(&folded, FOLDED_MAX);
    if (address_fold(arg(c, 0), &folded, &err) == 0)
        c->revoked = str_dup_z(buf_str(&folded));
    buf_fini(&folded);
}

static int remove_app(struct admin_call *c)
{
    bool all = admin_option(c, "all") != NULL;
    struct directory_apps *a;
    uint64_t removed = 0;

    if (all == (c->n_args == 2))
        return ERR(&c->err, ERR_PROTO, "say the name of the app password, or --all");
    if (begin(c, &a))
        return -1;
    int rc = directory_app_remove(a, arg(c, 0), all ? STR_NULL : arg(c, 1), &removed, &c->err);
    directory_apps_close(&a);
    if (rc == 0 && removed)
        revoke(c);
    if (rc == 0 && all)
        c->result = json_pack("{sI}", "removed", (json_int_t)removed);
    return rc;
}

static const char *const remove_options[] = {"all", NULL};
const struct admin_command admin_app_password_commands[] = {
    {"app-password", "add", "ADDRESS NAME", 2, 2, NULL, false, add,
     "Make a password for one device, and show it: it can't be shown again. It does where a "
     "password is sent, not with SCRAM."},
    {"app-password", "list", "ADDRESS", 1, 1, NULL, false, list,
     "List them, and when each was last used (to ten minutes)."},
    {"app-password", "remove", "ADDRESS [NAME]", 1, 2, remove_options, false, remove_app,
     "Take one back, or all of them, and end the account's sessions."},
    {.group = NULL}};
