/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse import flurdy: accounts of another mail system, from a dump or from its database. */
#include "appliance/app/admin.h"
#include "appliance/app/datadir.h"
#include "appliance/app/folder.h"
#include "appliance/app/import_commands.h"
#include "appliance/app/say.h"
#include "appliance/base/mem.h"
#include "appliance/directory/takeover.h"
#include "appliance/sql/sql_url.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS_SHOWN = 1000, SECRET_MAX = 1024 };

struct flurdy {
    const struct import_call *call;
    struct arena *m;
    json_t *rows;       /* what wasn't simply brought */
    uint64_t not_shown; /* beyond ROWS_SHOWN */
    bool drew;          /* a line of progress stands there */
    /* the source: one of them */
    struct str dump;
    struct sql_server server;
};

/* ---- the source, as who has typed the command */

static int map_dump(const char *path, struct str *out, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    void *p = MAP_FAILED;

    *out = STR("");
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (p != MAP_FAILED)
        *out = str_of(p, (size_t)st.st_size);
    else if (fd < 0)
        return ERR(err, ERR_PERM, "%s can't be read: %s", path, strerror(why));
    else
        return ERR(err, ERR_PERM, "%s is no file with a dump in it", path);
    if (str_starts(*out, STR("\x1f\x8b")))
        return ERR(err, ERR_PERM, "%s is compressed: gunzip it first", path);
    return 0;
}

/* The first line of a file, or of standard input for "-". */
static int read_secret(struct flurdy *f, const char *path, const char **out, struct err *err)
{
    char line[SECRET_MAX] = "";
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    bool ok = file && fgets(line, sizeof line, file);

    if (file && file != stdin)
        fclose(file);
    if (!ok)
        return ERR(err, ERR_PERM, "%s: no password can be read there", path);
    *out = arena_str(f->m, str_take(str_from(line), strcspn(line, "\r\n"))).p;
    explicit_bzero(line, sizeof line);
    return 0;
}

static int read_server(struct flurdy *f, const char *url, struct err *err)
{
    const char *password = import_option(f->call, "password-file");
    const char *tls = import_option(f->call, "tls");

    if (sql_server_parse(str_from(url), f->m, &f->server, err))
        return -1;
    if (!f->server.database)
        return ERR(err, ERR_PROTO, "the URL names no database");
    if (password && read_secret(f, password, &f->server.password, err))
        return -1;
    f->server.ca = import_option(f->call, "ca");
    f->server.unsafe = true; /* it is only read */
    if (tls && strcmp(tls, "off") == 0)
        f->server.tls = SQL_TLS_OFF;
    else if (tls && strcmp(tls, "required") == 0)
        f->server.tls = SQL_TLS_REQUIRED;
    else if (tls && strcmp(tls, "auto") != 0)
        return ERR(err, ERR_PROTO, "--tls is auto, required or off");
    return 0;
}

/* ---- telling */

static void clear_line(struct flurdy *f)
{
    if (f->drew)
        fputs("\r\033[K", stderr);
    f->drew = false;
}

static void on_progress(void *ctx, uint64_t rows, size_t done, size_t all)
{
    struct flurdy *f = ctx;

    if (!f->call->progress && !(isatty(2) && !f->call->json))
        return;
    bool terminal = isatty(2);
    fprintf(stderr, terminal ? "\r\033[K" : "");
    fprintf(stderr, "%llu rows", (unsigned long long)rows);
    if (all)
        fprintf(stderr, ", %u%% of the dump", (unsigned)(done * 100 / all));
    fputs(terminal ? "" : "\n", stderr);
    f->drew = terminal;
}

static void on_row(void *ctx, enum takeover_kind k, enum takeover_outcome o, struct str name,
                   const char *why)
{
    struct flurdy *f = ctx;

    if (o == TAKEOVER_ADDED || o == TAKEOVER_UPDATED)
        return;
    if (json_array_size(f->rows) == ROWS_SHOWN) {
        f->not_shown++;
        return;
    }
    json_t *row = json_pack("{ss so ss}", "kind", takeover_kind_name(k), "name", admin_str(name),
                            "outcome", takeover_outcome_name(o));
    if (why)
        json_object_set_new(row, "why", json_string(why));
    json_array_append_new(f->rows, row);
}

static json_t *counts_json(const struct flurdy *f, const struct takeover_report *r)
{
    json_t *out = json_pack("{sb}", "dry_run", import_option(f->call, "dry-run") != NULL);

    for (unsigned k = 0; k < TAKEOVER_KINDS; k++) {
        json_t *counts = json_object();
        for (unsigned o = 0; o < TAKEOVER_OUTCOMES; o++)
            json_object_set_new(counts, takeover_outcome_name((enum takeover_outcome)o),
                                json_integer((json_int_t)r->counts[k][o]));
        if (r->found[k])
            json_object_set_new(out, takeover_kind_name((enum takeover_kind)k), counts);
        else
            json_decref(counts);
    }
    return out;
}

static void show_text(const struct flurdy *f, const struct takeover_report *r)
{
    static const char *const plural[] = {"domains", "users",   "aliases",
                                         "moved",   "backups", "relays"};
    struct buf out, scratch;
    size_t i;
    json_t *row;

    buf_init(&out, 1 << 20);
    buf_init(&scratch, 4096);
    json_array_foreach(f->rows, i, row)
    {
        const char *why = json_string_value(json_object_get(row, "why"));
        struct str name = admin_cell(json_object_get(row, "name"), &scratch);
        buf_printf(&out, "%s " STR_FMT ": %s%s%s\n",
                   json_string_value(json_object_get(row, "kind")), STR_ARG(name),
                   strcmp(json_string_value(json_object_get(row, "outcome")), "left_alone") == 0
                       ? "left alone"
                       : json_string_value(json_object_get(row, "outcome")),
                   why ? ": " : "", why ? why : "");
    }
    if (f->not_shown)
        buf_printf(&out, "and %llu more\n", (unsigned long long)f->not_shown);
    for (unsigned k = 0; k < TAKEOVER_KINDS; k++)
        if (r->found[k]) {
            const uint64_t *n = r->counts[k];
            buf_printf(
                &out,
                "%s: %llu added, %llu updated, %llu unchanged, %llu left alone, %llu "
                "refused, %llu gone there\n",
                plural[k], (unsigned long long)n[TAKEOVER_ADDED],
                (unsigned long long)n[TAKEOVER_UPDATED], (unsigned long long)n[TAKEOVER_UNCHANGED],
                (unsigned long long)n[TAKEOVER_KEPT], (unsigned long long)n[TAKEOVER_REFUSED],
                (unsigned long long)n[TAKEOVER_GONE]);
        }
    if (import_option(f->call, "dry-run"))
        buf_add_z(&out, "nothing was written (--dry-run)\n");
    fwrite(out.p, 1, out.n, stdout);
    buf_fini(&scratch);
    buf_fini(&out);
}

static int show(struct flurdy *f, const struct takeover_report *r)
{
    uint64_t refused = 0;

    for (unsigned k = 0; k < TAKEOVER_KINDS; k++)
        refused += r->counts[k][TAKEOVER_REFUSED];
    clear_line(f);
    if (f->call->json) {
        json_t *out = counts_json(f, r);
        json_object_set(out, "rows", f->rows);
        json_object_set_new(out, "rows_not_shown", json_integer((json_int_t)f->not_shown));
        (void)say_json(out);
        json_decref(out);
    } else {
        show_text(f, r);
    }
    return refused ? ADMIN_REFUSED : ADMIN_OK;
}

/* ---- the run */

static int bring(struct flurdy *f, const char *data, const struct config *c,
                 struct takeover_report *report, struct err *err)
{
    const struct takeover_conf conf = {.dry_run = import_option(f->call, "dry-run") != NULL,
                                       .replace = import_option(f->call, "replace") != NULL,
                                       .ctx = f,
                                       .on_row = on_row,
                                       .progress = on_progress};
    struct takeover *t;
    bool any = false;

    if (takeover_open(data, &c->directory, &conf, &t, err))
        return -1;
    int rc = f->dump.p ? takeover_dump(t, f->dump, err) : takeover_server(t, &f->server, err);
    struct err end;
    if (takeover_end(t, report, rc ? &end : err)) /* what was brought before a mistake stays */
        rc = -1;
    takeover_close(&t);
    for (unsigned k = 0; k < TAKEOVER_KINDS; k++)
        any = any || report->found[k];
    if (rc == 0 && !any)
        return ERR(err, ERR_PERM, "there are no tables of Flurdy's guide or of PostfixAdmin in it");
    return rc;
}

static int into(struct flurdy *f, struct takeover_report *report, struct err *err)
{
    struct config *configured = NULL, defaults;
    const char *data = folder_find(f->call->data, f->call->config, &configured, err);
    struct datadir d;
    int rc = -1;

    if (data && folder_become_owner(data, err) == 0 && datadir_open(data, false, &d, err) == 0) {
        if (config_defaults(&defaults, err) == 0) {
            rc = bring(f, d.path, configured ? configured : &defaults, report, err);
            config_free(&defaults);
        }
        datadir_close(&d);
    }
    if (configured)
        config_unref(&configured);
    return rc;
}

static int flurdy_run(const struct import_call *call)
{
    struct flurdy f = {.call = call, .m = arena_new(0), .dump = STR_NULL};
    struct takeover_report report = {0};
    struct err err;
    const char *source = call->args[0];
    int code;

    f.rows = json_array();
    bool is_server = sql_url_is(str_from(source));
    if (is_server ? read_server(&f, source, &err) : map_dump(source, &f.dump, &err))
        code = import_refused(call, &err);
    else if (into(&f, &report, &err)) {
        clear_line(&f);
        code = import_refused(call, &err);
    } else
        code = show(&f, &report);
    json_decref(f.rows);
    arena_free(&f.m);
    return code;
}

static const char *const options[] = {"dry-run", "replace", "password-file=", "tls=", "ca=", NULL};
const struct import_command import_flurdy = {
    "import",
    "flurdy",
    "DUMP|mysql://USER@HOST/DATABASE",
    1,
    1,
    options,
    flurdy_run,
    "Bring the domains, users and aliases of a mail system set up by Flurdy's guide, or by "
    "PostfixAdmin, with their password hashes, from a mysqldump file or its database. Run again, "
    "it brings what has changed there since. What was changed or removed here is left alone and "
    "shown, value by value, also where it has changed there as well; --replace overwrites it. (A "
    "hash that a login here has renewed gives way to a new password there.) --dry-run writes "
    "nothing. --password-file=FILE has the database's password in "
    "its first line (-: standard input); --tls=auto|required|off, --ca=FILE."};
