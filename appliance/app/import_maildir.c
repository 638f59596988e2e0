/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse import maildir: which Maildirs, for whom. */
#include "appliance/app/import_maildir.h"
#include "appliance/app/admin.h"
#include "appliance/app/import_commands.h"
#include "appliance/base/mem.h"
#include "appliance/mail/maildir.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, NAME_BYTES = 4096, ADDRESS_BYTES = 512 };

struct maildir_job {
    struct import_run *run;
    const struct import_call *call;
    enum maildir_layout layout;
    bool keep_names;
};

/* ---- Subscriptions. */

struct subscriptions {
    struct maildir_job *job;
    struct str account;
    char separator;
    const struct maildir_folder *folders;
    const struct str *places;
    size_t n;
    int rc;
};

static void on_subscription(void *ctx, struct str line)
{
    struct subscriptions *s = ctx;
    struct buf name;

    buf_init(&name, NAME_BYTES);
    if (s->rc == 0 && maildir_subscription(line, s->separator, &name)) {
        struct str place = buf_str(&name);
        for (size_t i = 0; i < s->n; i++)
            if (str_eq(s->folders[i].name, place)) {
                place = s->places[i];
                break;
            }
        s->rc = import_run_subscribe(s->job->run, s->account, place);
    }
    buf_fini(&name);
}

static int subscribe(struct maildir_job *j, const char *root, struct subscriptions *s)
{
    int fd = import_maildir_open(root, STR(""));

    s->job = j;
    s->separator = j->layout == MAILDIR_FS ? '/' : '.';
    for (size_t i = 0; i < s->n && j->layout == MAILDIR_AUTO; i++)
        if (s->folders[i].path.n && s->folders[i].path.p[0] != '.')
            s->separator = '/';
    if (fd < 0)
        return 0;
    (void)import_maildir_lines(fd, "subscriptions", on_subscription, s);
    (void)import_maildir_lines(fd, "courierimapsubscribed", on_subscription, s);
    close(fd);
    return s->rc;
}

/* ---- One Maildir. */

static int import_one(struct maildir_job *j, const char *root, struct str account, struct err *err)
{
    struct arena *a = arena_new(0);
    struct maildir_folder *folders;
    enum mailbox_special *specials;
    struct str *names, *places;
    size_t n;
    int rc = import_maildir_folders(j->run, root, j->layout, a, &folders, &n, err);

    if (rc != 0) {
        arena_free(&a);
        import_run_failed(j->run, root, err->text);
        return 0;
    }
    names = ARENA_ARRAY(a, struct str, n);
    places = ARENA_ARRAY(a, struct str, n);
    specials = ARENA_ARRAY(a, enum mailbox_special, n);
    for (size_t i = 0; i < n; i++)
        names[i] = places[i] = folders[i].name;
    if (!j->keep_names)
        import_names_map(names, n, places, specials);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct import_target t = {.account = account,
                                  .mailbox = places[i],
                                  .source =
                                      arena_printf(a, "maildir:" STR_FMT, STR_ARG(folders[i].path)),
                                  .special = specials[i]};
        rc = import_maildir_messages(j->run, root, folders[i].path, &t);
    }
    if (rc == 0) {
        struct subscriptions s = {.account = account, .folders = folders, .places = places, .n = n};
        rc = subscribe(j, root, &s);
    }
    arena_free(&a);
    return rc;
}

/* ---- Many of them. */

/* %d domain, %n local part, %u the address, %% a percent sign. */
static int expand(const char *pattern, struct str address, struct buf *out, struct err *err)
{
    struct str local, domain;

    str_cut(address, '@', &local, &domain);
    if (str_chr(address, '/', &(size_t){0}) || str_starts(address, STR(".")))
        return ERR(err, ERR_PERM, "an address that is no name of a folder");
    for (const char *p = pattern; *p; p++) {
        if (*p != '%') {
            buf_add_char(out, *p);
            continue;
        }
        switch (*++p) {
        case 'd':
            buf_add_str(out, domain);
            break;
        case 'n':
            buf_add_str(out, local);
            break;
        case 'u':
            buf_add_str(out, address);
            break;
        case '%':
            buf_add_char(out, '%');
            break;
        default:
            return ERR(err, ERR_PROTO, "%s: only %%d, %%n, %%u and %%%% are known", pattern);
        }
    }
    return buf_ok(out) ? 0 : ERR(err, ERR_PERM, "a path that is too long");
}

/* BASE, then home and maildir of the user's row. */
static int flurdy_path(const char *base, json_t *user, struct buf *out, struct err *err)
{
    const char *home = json_string_value(json_object_get(user, "home"));
    const char *maildir = json_string_value(json_object_get(user, "maildir"));

    if (!maildir || !maildir[0])
        return ERR(err, ERR_PERM, "its row names no maildir");
    buf_add_z(out, base);
    if (maildir[0] != '/')
        buf_printf(out, "/%s", home ? home : "");
    buf_printf(out, "/%s", maildir);
    return buf_ok(out) ? 0 : ERR(err, ERR_PERM, "a path that is too long");
}

static int import_user(struct maildir_job *j, json_t *user, const char *all, const char *flurdy,
                       struct err *err)
{
    const char *address = json_string_value(json_object_get(user, "address"));
    struct buf path;
    struct stat st;
    int rc;

    if (!address)
        return 0;
    buf_init(&path, PATH_BYTES);
    rc = all ? expand(all, str_from(address), &path, err) : flurdy_path(flurdy, user, &path, err);
    if (rc != 0 && err->kind == ERR_PERM) {
        import_run_failed(j->run, address, err->text);
        rc = 0;
    } else if (rc == 0 && stat(buf_z(&path), &st) != 0 && errno == ENOENT) {
        import_run_without(j->run); /* who never had mail has no Maildir */
    } else if (rc == 0)
        rc = import_one(j, buf_z(&path), str_from(address), err);
    buf_fini(&path);
    return rc;
}

static int import_users(struct maildir_job *j, const char *all, const char *flurdy, struct err *err)
{
    json_t *users, *user;
    size_t i;
    int rc = import_run_users(j->run, &users, err);

    json_array_foreach(users, i, user)
    {
        if (rc == 0)
            rc = import_user(j, user, all, flurdy, err);
    }
    json_decref(users);
    return rc;
}

static int read_options(struct maildir_job *j, struct err *err)
{
    const char *layout = import_option(j->call, "layout");
    bool one = import_option(j->call, "account") != NULL, all = import_option(j->call, "all"),
         flurdy = import_option(j->call, "flurdy");

    j->keep_names = import_option(j->call, "keep-names") != NULL;
    if (one + all + flurdy != 1 || (j->call->n_args == 1) != one)
        return ERR(err, ERR_PROTO,
                   "say PATH with --account=ADDRESS, or --all=TEMPLATE, or --flurdy=BASE");
    if (!layout || strcmp(layout, "auto") == 0)
        j->layout = MAILDIR_AUTO;
    else if (strcmp(layout, "maildir++") == 0)
        j->layout = MAILDIR_PLUS;
    else if (strcmp(layout, "fs") == 0)
        j->layout = MAILDIR_FS;
    else
        return ERR(err, ERR_PROTO, "--layout is auto, maildir++ or fs");
    return 0;
}

static int import_named(struct maildir_job *j, struct err *err)
{
    struct buf account;
    int rc;

    buf_init(&account, ADDRESS_BYTES);
    rc = import_run_account(j->run, str_from(import_option(j->call, "account")), &account, err);
    if (rc == 0)
        rc = import_one(j, j->call->args[0], buf_str(&account), err);
    buf_fini(&account);
    return rc;
}

static int run(const struct import_call *call)
{
    struct maildir_job j = {.call = call};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    int rc;

    if (read_options(&j, &err) != 0 || import_run_open(call, &j.run, &err) != 0)
        return import_refused(call, &err);
    if (import_option(call, "account"))
        rc = import_named(&j, &err);
    else
        rc = import_users(&j, import_option(call, "all"), import_option(call, "flurdy"), &err);
    if (rc != 0)
        import_run_give_up(j.run, &err);
    return import_run_close(&j.run);
}

static const char *const options[] = {
    "account=", "all=", "flurdy=", "layout=", "delete", "keep-names", "new-account", NULL};
const struct import_command import_maildir = {
    "import",
    "maildir",
    "[PATH]",
    0,
    1,
    options,
    run,
    "Bring the mail of a Maildir (Dovecot's, Courier's), which may be in use, to the account "
    "ADDRESS: folders, flags, keywords, dates, subscriptions, and UIDs where the mailbox here was "
    "never used. --all: of every user, TEMPLATE with %d domain, %n local part, %u address. "
    "--flurdy: of every user, from BASE/home/maildir of their rows (BASE: / or where the old disk "
    "is). Again: only what changed comes; --delete also expunges messages that are gone there. "
    "Folders for sent mail, drafts, junk, trash and archive go to ours, unless --keep-names. "
    "--layout is auto, maildir++ or fs. Quotas don't bind it."};
