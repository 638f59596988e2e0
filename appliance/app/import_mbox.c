/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse import mbox: which files, into which mailboxes. */
#include "appliance/app/import_mbox.h"
#include "appliance/app/import_commands.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 10000, DEPTH_MAX = 16, NAME_BYTES = 4096, ADDRESS_BYTES = 512 };

struct mbox_file {
    struct str path; /* below the folder */
    struct str name; /* of its mailbox */
};
struct mbox_job {
    struct import_run *run;
    const struct import_call *call;
    struct arena *a;
    struct str account;
    struct mbox_file *list;
    size_t n;
};

/* ---- A folder of them. */

static struct str without(struct str name, struct str suffix)
{
    return str_iends(name, suffix) && name.n > suffix.n ? str_take(name, name.n - suffix.n) : name;
}

/* What mail programs keep beside their mbox files. */
static bool is_other(struct str name)
{
    static const char *const ends[] = {".msf", ".dat", ".lock", ".html", ".json", ".sqlite"};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (str_iends(name, str_from(ends[i])))
            return true;
    return name.n == 0 || name.p[0] == '.';
}

static struct str utf8(struct arena *a, struct str name)
{
    struct buf b;
    struct str out = name;

    if (text_utf8_valid(name))
        return name;
    buf_init(&b, NAME_BYTES);
    if (text_to_utf8(STR("iso-8859-1"), name, &b) == 0)
        out = arena_str(a, buf_str(&b));
    buf_fini(&b);
    return out;
}

static void add(struct mbox_job *j, struct str path, struct str name)
{
    struct str box = utf8(j->a, without(without(name, STR(".mbox")), STR(".mbx")));

    if (str_ieq(box, STR("inbox")) || str_ieq(box, STR("mbox")))
        box = STR("INBOX");
    if (j->n == FILES_MAX)
        import_run_failed(j->run, path.p, "too many files");
    else
        j->list[j->n++] = (struct mbox_file){path, box};
}

/* Closes fd. The folder of mailboxes below Lists is Lists, or Lists.sbd (Mozilla's). */
static void scan(struct mbox_job *j, int fd, struct str path, struct str name, unsigned depth)
{
    DIR *dir = fdopendir(fd);
    struct stat st;

    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        struct str own = str_from(e->d_name);
        if (is_other(own) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        struct str below =
            path.n ? arena_printf(j->a, "%s/%s", path.p, e->d_name) : arena_str(j->a, own);
        if (S_ISREG(st.st_mode)) {
            add(j, below,
                name.n ? arena_printf(j->a, "%s/%s", name.p, e->d_name) : arena_str(j->a, own));
        } else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            own = arena_str(j->a, without(own, STR(".sbd")));
            if (sub >= 0)
                scan(j, sub, below, name.n ? arena_printf(j->a, "%s/%s", name.p, own.p) : own,
                     depth + 1);
        } else
            import_run_failed(j->run, below.p, "neither a file nor a folder");
    }
    closedir(dir);
}

static int import_folder(struct mbox_job *j, int fd)
{
    const char *top = j->call->args[0];
    enum mailbox_special *specials;
    struct str *names, *places;
    int rc = 0;

    j->list = ARENA_ARRAY(j->a, struct mbox_file, FILES_MAX);
    scan(j, fd, STR(""), STR(""), 0);
    names = ARENA_ARRAY(j->a, struct str, j->n + 1);
    places = ARENA_ARRAY(j->a, struct str, j->n + 1);
    specials = ARENA_ARRAY(j->a, enum mailbox_special, j->n + 1);
    for (size_t i = 0; i < j->n; i++)
        names[i] = j->list[i].name;
    import_names_map(names, j->n, places, specials);
    for (size_t i = 0; i < j->n && rc == 0; i++) {
        struct import_target t = {.account = j->account,
                                  .mailbox = places[i],
                                  .source = arena_printf(j->a, "mbox:%s", j->list[i].path.p),
                                  .special = specials[i],
                                  .subscribe = true};
        struct str path = arena_printf(j->a, "%s/%s", top, j->list[i].path.p);
        int file = open(path.p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        rc = import_mbox_messages(j->run, file, path.p, &t);
    }
    return rc;
}

static int import_file(struct mbox_job *j, int fd)
{
    const char *path = j->call->args[0], *mailbox = import_option(j->call, "mailbox");
    struct str file = str_from(path);
    size_t at;

    if (str_rchr(file, '/', &at))
        file = str_skip(file, at + 1);
    struct import_target t = {.account = j->account,
                              .mailbox = mailbox ? str_from(mailbox) : STR("INBOX"),
                              .source = arena_printf(j->a, "mbox:" STR_FMT, STR_ARG(file)),
                              .subscribe = true};
    return import_mbox_messages(j->run, fd, path, &t);
}

static int begin(struct mbox_job *j, struct err *err)
{
    const char *path = j->call->args[0];
    struct buf account;
    struct stat st;
    int fd, rc;

    buf_init(&account, ADDRESS_BYTES);
    rc = import_run_account(j->run, str_from(import_option(j->call, "account")), &account, err);
    j->account = arena_str(j->a, buf_str(&account));
    buf_fini(&account);
    if (rc != 0)
        return -1;
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = ERR(err, ERR_PERM, "cannot open %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (!S_ISDIR(st.st_mode))
        return import_file(j, fd);
    if (import_option(j->call, "mailbox")) {
        close(fd);
        return ERR(err, ERR_PROTO,
                   "--mailbox is for a single file; the files of a folder are "
                   "mailboxes by their names");
    }
    return import_folder(j, fd);
}

static int run(const struct import_call *call)
{
    struct mbox_job j = {.call = call};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};

    if (!import_option(call, "account")) {
        err_set(&err, ERR_PROTO, ERR_WHY_OTHER, "say --account=ADDRESS");
        return import_refused(call, &err);
    }
    if (import_run_open(call, &j.run, &err) != 0)
        return import_refused(call, &err);
    j.a = arena_new(0);
    if (begin(&j, &err) != 0)
        import_run_give_up(j.run, &err);
    arena_free(&j.a);
    return import_run_close(&j.run);
}

static const char *const options[] = {"account=", "mailbox=", "delete", "new-account", NULL};
const struct import_command import_mbox = {
    "import",
    "mbox",
    "FILE|FOLDER",
    1,
    1,
    options,
    run,
    "Bring the messages of an mbox file (mboxo, mboxrd, mboxcl) to INBOX of the account ADDRESS, "
    "or to --mailbox; or of a folder of such files, each to the mailbox of its name. Flags, "
    "keywords and UIDs are those of Status, X-Status, X-Keywords, X-UID and X-Mozilla-Status "
    "fields. Nobody may write to the file meanwhile. Again: only what changed comes; --delete also "
    "expunges what has come from a file of this name and is gone in it."};
