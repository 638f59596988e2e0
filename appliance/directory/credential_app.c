/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* credential_app.c - app passwords: "abcde-fghij-kmnpq-rstuv", of which "salt mac" is stored. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/rand.h"
#include "appliance/base/text.h"
#include "appliance/directory/credential.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { SALT = 16, MAC = 32, STORED_MAX = 80, GROUP = 5 };

/* 32 of them, 5 bits each; none that looks like another. */
static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";

bool app_password_read(struct str text, char out[APP_PASSWORD_LETTERS])
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = ascii_lower(text.p[i]);
        if (c == '-' || c == ' ')
            continue;
        if (n == APP_PASSWORD_LETTERS || c == 0 || !strchr(letters, c))
            return false;
        out[n++] = c;
    }
    return n == APP_PASSWORD_LETTERS;
}

static bool mac_of(const unsigned char salt[SALT], const char password[APP_PASSWORD_LETTERS],
                   unsigned char out[MAC])
{
    unsigned n = 0;
    return HMAC(EVP_sha256(), salt, SALT, (const unsigned char *)password, APP_PASSWORD_LETTERS,
                out, &n) != NULL &&
           n == MAC;
}

static bool store(const char password[APP_PASSWORD_LETTERS], struct buf *out)
{
    unsigned char salt[SALT], mac[MAC];
    rand_bytes(salt, sizeof salt);
    bool good = mac_of(salt, password, mac);
    text_base64_encode(str_of(salt, sizeof salt), out);
    buf_add_char(out, ' ');
    text_base64_encode(str_of(mac, sizeof mac), out);
    return good && buf_ok(out);
}

static bool fits(const char password[APP_PASSWORD_LETTERS], struct str stored)
{
    unsigned char mac[MAC];
    struct str salt_text, mac_text;
    struct buf salt, want;
    buf_init(&salt, SALT);
    buf_init(&want, MAC);
    bool same = str_cut(stored, ' ', &salt_text, &mac_text) &&
                text_base64_decode(salt_text, &salt) == 0 && salt.n == SALT &&
                text_base64_decode(mac_text, &want) == 0 && want.n == MAC &&
                mac_of((const unsigned char *)salt.p, password, mac) &&
                CRYPTO_memcmp(mac, want.p, MAC) == 0;
    buf_fini(&salt);
    buf_fini(&want);
    return same;
}

static int prepare(struct sql *db, const char *text, struct str account, struct sql_stmt **out,
                   struct err *err)
{
    if (sql_prepare(db, text, out, err) < 0)
        return -1;
    sql_bind_text(*out, 1, account);
    sql_bind_int(*out, 2, CREDENTIAL_APP);
    return 0;
}

int credential_app_find(struct sql *db, struct arena *m, struct str account, struct str password,
                        struct credential_app *out, struct str *data_out, struct err *err)
{
    char plain[APP_PASSWORD_LETTERS];
    struct sql_stmt *st;
    int r;
    *out = (struct credential_app){{NULL, 0}, 0, 0};
    if (!app_password_read(password, plain))
        return 0;
    if (prepare(db,
                "SELECT label, created, used, data FROM credential WHERE account = ? AND kind = ?",
                account, &st, err) < 0)
        return -1;
    while ((r = sql_step(st, err)) == 1) { /* all of them: the time doesn't tell which */
        if (!fits(plain, sql_text(st, 3)))
            continue;
        out->label = arena_str(m, sql_text(st, 0));
        out->created = sql_int(st, 1);
        out->used = sql_int(st, 2);
        *data_out = arena_str(m, sql_text(st, 3));
    }
    sql_reset(st);
    explicit_bzero(plain, sizeof plain);
    return r < 0 ? -1 : 0;
}

static int count(struct sql *db, struct str account, int64_t *out, struct err *err)
{
    struct sql_stmt *st;
    if (prepare(db, "SELECT COUNT(*) FROM credential WHERE account = ? AND kind = ?", account, &st,
                err) < 0)
        return -1;
    int r = sql_step(st, err);
    if (r == 1)
        *out = sql_int(st, 0);
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int insert(struct sql *db, struct str account, struct str label, struct str data,
                  struct err *err)
{
    struct sql_stmt *st;
    if (prepare(db,
                "INSERT INTO credential (account, kind, label, data, created, used) VALUES (?, ?, "
                "?, ?, ?, 0)",
                account, &st, err) < 0)
        return -1;
    sql_bind_text(st, 3, label);
    sql_bind_text(st, 4, data);
    sql_bind_int(st, 5, clock_wall_ms() / 1000);
    if (sql_run(st, err) == 0)
        return 0;
    if (err->why == ERR_WHY_EXISTS)
        err_set(err, ERR_PERM, ERR_WHY_EXISTS, "there is an app password named \"" STR_FMT "\"",
                STR_ARG(label));
    return -1;
}

static int check_label(struct str label, struct err *err)
{
    bool good = label.n > 0 && label.n <= CREDENTIAL_LABEL_MAX && text_utf8_valid(label);
    for (size_t i = 0; good && i < label.n; i++)
        good = (unsigned char)label.p[i] >= ' ' && label.p[i] != 0x7f;
    return good ? 0
                : ERR(err, ERR_PERM, "a name is 1 to %d octets of UTF-8 in one line",
                      CREDENTIAL_LABEL_MAX);
}

int credential_app_add(struct sql *db, struct str account, struct str label,
                       char text[APP_PASSWORD_TEXT], struct err *err)
{
    char password[APP_PASSWORD_LETTERS];
    unsigned char random[APP_PASSWORD_LETTERS];
    int64_t n = 0;
    struct buf data;
    if (check_label(label, err) < 0 || count(db, account, &n, err) < 0)
        return -1;
    if (n >= CREDENTIAL_APP_MOST)
        return ERR_WHY(err, ERR_PERM, ERR_WHY_LIMIT, "there are %d app passwords already",
                       CREDENTIAL_APP_MOST);
    rand_bytes(random, sizeof random);
    for (size_t i = 0; i < APP_PASSWORD_LETTERS; i++) {
        password[i] = letters[random[i] & 31];
        if (i && i % GROUP == 0)
            *text++ = '-';
        *text++ = password[i];
    }
    *text = '\0';
    buf_init(&data, STORED_MAX);
    int r = store(password, &data) ? insert(db, account, label, buf_str(&data), err)
                                   : ERR(err, ERR_TEMP, "no hash could be made");
    buf_fini(&data);
    explicit_bzero(password, sizeof password);
    explicit_bzero(random, sizeof random);
    return r;
}

int credential_app_list(struct sql *db, struct arena *m, struct str account,
                        struct credential_app **out, size_t *n_out, struct err *err)
{
    struct credential_app *list = ARENA_ARRAY(m, struct credential_app, CREDENTIAL_APP_MOST);
    struct sql_stmt *st;
    size_t n = 0;
    int r;
    if (prepare(db,
                "SELECT label, created, used FROM credential WHERE account = ? AND kind = ? ORDER "
                "BY label",
                account, &st, err) < 0)
        return -1;
    while (n < CREDENTIAL_APP_MOST && (r = sql_step(st, err)) == 1)
        list[n++] =
            (struct credential_app){arena_str(m, sql_text(st, 0)), sql_int(st, 1), sql_int(st, 2)};
    sql_reset(st);
    *out = list;
    *n_out = n;
    return r < 0 ? -1 : 0;
}

int credential_app_used(struct sql *db, struct str account, struct str label, int64_t when,
                        struct err *err)
{
    struct sql_stmt *st;
    if (sql_prepare(db,
                    "UPDATE credential SET used = ? WHERE account = ? AND kind = ? AND label = ?",
                    &st, err) < 0)
        return -1;
    sql_bind_int(st, 1, when);
    sql_bind_text(st, 2, account);
    sql_bind_int(st, 3, CREDENTIAL_APP);
    sql_bind_text(st, 4, label);
    return sql_run(st, err);
}

int credential_app_remove(struct sql *db, struct str account, struct str label,
                          uint64_t *removed_out, struct err *err)
{
    struct sql_stmt *st;
    const char *text = label.p
                           ? "DELETE FROM credential WHERE account = ? AND kind = ? AND label = ?"
                           : "DELETE FROM credential WHERE account = ? AND kind = ?";
    if (prepare(db, text, account, &st, err) < 0)
        return -1;
    if (label.p)
        sql_bind_text(st, 3, label);
    if (sql_run(st, err) < 0)
        return -1;
    *removed_out = (uint64_t)sql_changes(db);
    return 0;
}
