/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_imap_accounts.c - logins there, accounts here, passwords. */
#include "appliance/app/import_imap.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, LOGINS_MAX = 1000000 };

/* ---- Passwords. */

static int ask(char *line, size_t cap)
{
    struct termios old, quiet;
    char *got;

    if (!isatty(0))
        return fgets(line, (int)cap, stdin) ? 0 : -1;
    if (tcgetattr(0, &old) != 0)
        return -1;
    fputs("Password there: ", stderr);
    quiet = old;
    quiet.c_lflag &= (tcflag_t)~ECHO;
    tcsetattr(0, TCSAFLUSH, &quiet);
    got = fgets(line, (int)cap, stdin);
    tcsetattr(0, TCSAFLUSH, &old);
    fputc('\n', stderr);
    return got ? 0 : -1;
}

static int read_password(struct import_imap *j, const char **out, struct err *err)
{
    const char *path = import_option(j->call, "password-file");
    bool from_file = path && strcmp(path, "-") != 0;
    char line[LINE_BYTES];
    FILE *file = from_file ? fopen(path, "re") : NULL;
    int rc;

    if (from_file && !file)
        return ERR(err, ERR_PERM, "%s: %s", path, strerror(errno));
    rc = file ? (fgets(line, sizeof line, file) ? 0 : -1) : ask(line, sizeof line);
    if (file)
        fclose(file);
    if (rc == 0)
        *out = arena_str(j->mem, str_take(str_from(line), strcspn(line, "\r\n"))).p;
    explicit_bzero(line, sizeof line);
    return rc == 0 && **out
               ? 0
               : ERR(err, ERR_PERM, "%s: no password there", from_file ? path : "standard input");
}

/* ---- --all: a line a login: "LOGIN ACCOUNT [PASSWORD]". */

static const char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t");
    size_t n = strcspn(word, " \t");

    *at = word + n;
    if (**at)
        *(*at)++ = '\0';
    return word;
}

static int add_line(struct import_imap *j, char *line, size_t *cap, struct err *err)
{
    struct import_imap_login l;
    const char *login, *account;

    line[strcspn(line, "\r\n")] = '\0';
    login = next_word(&line);
    account = next_word(&line);
    line += strspn(line, " \t");
    if (!*login || *login == '#')
        return 0;
    if (!*account)
        return ERR(err, ERR_PERM, "%s: a line is LOGIN ACCOUNT [PASSWORD]", login);
    if (j->n_logins == LOGINS_MAX)
        return ERR(err, ERR_PERM, "more than %d lines", LOGINS_MAX);
    l = (struct import_imap_login){.user = arena_str(j->mem, str_from(login)).p,
                                   .account = arena_str(j->mem, str_from(account)).p,
                                   .password = *line ? arena_str(j->mem, str_from(line)).p : NULL};
    if (j->n_logins == *cap) {
        struct import_imap_login *more = ARENA_ARRAY(j->mem, struct import_imap_login, 2 * *cap);
        for (size_t i = 0; i < j->n_logins; i++)
            more[i] = j->logins[i];
        j->logins = more;
        *cap *= 2;
    }
    j->logins[j->n_logins++] = l;
    return 0;
}

static int read_list(struct import_imap *j, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    char line[LINE_BYTES];
    size_t cap = 64;
    int rc = 0;

    if (!file)
        return ERR(err, ERR_PERM, "%s: %s", path, strerror(errno));
    j->logins = ARENA_ARRAY(j->mem, struct import_imap_login, cap);
    while (rc == 0 && fgets(line, sizeof line, file)) {
        if (!strchr(line, '\n') && !feof(file))
            rc = ERR(err, ERR_PERM, "a line that is too long");
        else
            rc = add_line(j, line, &cap, err);
    }
    explicit_bzero(line, sizeof line);
    fclose(file);
    return rc == 0 ? 0 : err_context(err, "%s", path);
}

/* `login*master`, as Dovecot has it. */
static void add_master(struct import_imap *j)
{
    const char *master = import_option(j->call, "master");

    for (size_t i = 0; master && i < j->n_logins; i++)
        j->logins[i].user = arena_printf(j->mem, "%s*%s", j->logins[i].user, master).p;
}

int import_imap_logins(struct import_imap *j, struct err *err)
{
    const char *account = import_option(j->call, "account"), *all = import_option(j->call, "all");
    const char *password = NULL;

    if (!account == !all || (account && !j->user) || (all && j->user))
        return ERR(err, ERR_PROTO,
                   "say imap://USER@HOST with --account=ADDRESS, or imap://HOST with --all=FILE");
    if (account) {
        j->logins = ARENA_NEW(j->mem, struct import_imap_login);
        j->logins[0] = (struct import_imap_login){.user = j->user, .account = account};
        j->n_logins = 1;
    } else if (read_list(j, all, err) != 0)
        return -1;
    add_master(j);
    for (size_t i = 0; i < j->n_logins; i++) {
        if (j->logins[i].password)
            continue;
        if (!password && read_password(j, &password, err) != 0)
            return -1;
        j->logins[i].password = password;
    }
    return 0;
}
