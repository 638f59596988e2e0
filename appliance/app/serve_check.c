/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What posthouse refuses to start with. */
#include "appliance/app/serve.h"
#include "appliance/base/text.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_full_name(const char *name)
{
    struct buf out;

    buf_init(&out, 256);
    bool ok = text_domain(str_from(name), &out) == 0 && strchr(name, '.') &&
              strspn(name, "0123456789.") != strlen(name) &&
              !str_iends(str_from(name), STR(".localdomain")) &&
              !str_iends(str_from(name), STR(".localhost"));
    buf_fini(&out);
    return ok;
}

static void set_name(const char **field, const char *name)
{
    char *old = (char *)(uintptr_t)*field;

    *field = str_dup_z(str_from(name));
    mem_free(old);
}

/* Other hosts refuse mail from a server that greets with a name that isn't one in DNS. */
static int check_hostname(struct config *c, struct err *err)
{
    char system[256] = "";

    if (!c->smtp.hostname[0] && gethostname(system, sizeof system - 1) == 0)
        set_name(&c->smtp.hostname, system);
    if (!c->imap.hostname[0])
        set_name(&c->imap.hostname, c->smtp.hostname);
    if (!is_full_name(c->smtp.hostname))
        return ERR(err, ERR_PERM,
                   "'%.60s' is not the full name of a host: set main { hostname = mail.example.com "
                   "} to the name that DNS has for this one",
                   c->smtp.hostname);
    return 0;
}

int serve_check(struct config *c, struct err *err)
{
    size_t open = 0;

    if (c->main.data[0] != '/')
        return ERR(err, ERR_PERM, "main.data: '%.60s' is not an absolute path", c->main.data);
    if (c->main.socket[0] && c->main.socket[0] != '/')
        return ERR(err, ERR_PERM, "main.socket: '%.60s' is not an absolute path", c->main.socket);
    for (size_t i = 0; i < c->n_ports; i++)
        open += c->ports[i].enabled;
    if (!open)
        return ERR(err, ERR_PERM, "every listener is switched off");
    return check_hostname(c, err);
}

int serve_check_data(const struct config *c, const struct service_user *u, struct err *err)
{
    const char *path = c->main.data;
    struct stat st;

    if (stat(path, &st) != 0 && errno == ENOENT)
        return 0; /* it will be made */
    if (stat(path, &st) != 0)
        return ERR(err, ERR_PERM, "cannot look at the data folder %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return ERR(err, ERR_PERM, "the data folder %s is not a folder", path);
    if (st.st_uid != u->uid)
        return ERR(err, ERR_PERM, "the data folder %s belongs to another user; run: chown -R %s %s",
                   path, u->name[0] ? u->name : "the user of posthouse", path);
    if (st.st_mode & S_IRWXO)
        return ERR(err, ERR_PERM, "everybody can look into the data folder %s; run: chmod o= %s",
                   path, path);
    return 0;
}
