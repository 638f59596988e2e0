/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/credential.h"

#include "appliance/base/clock.h"
#include "appliance/base/rand.h"
#include "appliance/base/text.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { DATA_MAX = 1000, DIGEST_TEXT = 44 };

static int ask(struct sql *db, const char *text, struct str account, enum credential_kind kind,
               struct sql_stmt **out, struct err *err)
{
    if (sql_prepare(db, text, out, err) < 0)
        return -1;
    sql_bind_text(*out, 1, account);
    sql_bind_int(*out, 2, kind);
    return 0;
}

static int insert(struct sql *db, struct str account, enum credential_kind kind, struct str label,
                  struct str data, struct err *err)
{
    struct sql_stmt *st;
    if (ask(db,
            "INSERT INTO credential (account, kind, label, data, created, used) VALUES (?, ?, ?, "
            "?, ?, 0)",
            account, kind, &st, err) < 0)
        return -1;
    sql_bind_text(st, 3, label);
    sql_bind_text(st, 4, data);
    sql_bind_int(st, 5, clock_wall_ms() / 1000);
    return sql_run(st, err);
}

/* ---- the secret */

static int read_secret(struct sql *db, unsigned char out[SCRAM_HASH], bool *found_out,
                       struct err *err)
{
    struct sql_stmt *st;
    struct buf b;
    *found_out = false;
    if (ask(db, "SELECT data FROM credential WHERE account = ? AND kind = ? AND label = 'salts'",
            STR(""), CREDENTIAL_SECRET, &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    if (r == 1) {
        buf_init(&b, SCRAM_HASH);
        if (text_hex_decode(sql_text(st, 0), &b) == 0 && b.n == SCRAM_HASH) {
            memcpy(out, b.p, SCRAM_HASH);
            *found_out = true;
        } else {
            r = ERR(err, ERR_PERM, "the secret in table credential isn't one: delete that row");
        }
        buf_fini(&b);
    }
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

int credential_secret(struct sql *db, unsigned char out[SCRAM_HASH], struct err *err)
{
    unsigned char fresh[SCRAM_HASH];
    struct buf hex;
    bool found;
    if (read_secret(db, out, &found, err) < 0)
        return -1;
    if (found)
        return 0;
    rand_bytes(fresh, sizeof fresh);
    buf_init(&hex, 2 * SCRAM_HASH);
    text_hex_encode(fresh, sizeof fresh, &hex);
    int r = insert(db, STR(""), CREDENTIAL_SECRET, STR("salts"), buf_str(&hex), err);
    buf_fini(&hex);
    if (r < 0 && err->why != ERR_WHY_EXISTS) /* another process may have been faster */
        return -1;
    if (read_secret(db, out, &found, err) < 0)
        return -1;
    return found ? 0 : ERR(err, ERR_TEMP, "the secret in table credential can't be read");
}

/* ---- verifiers */

/* Which stored password a verifier is of. Salted, so that it tells less than what is stored. */
static bool digest(const struct scram_verifier *v, struct str stored, struct buf *out)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!HMAC(EVP_sha256(), v->salt, (int)v->n_salt, (const unsigned char *)stored.p, stored.n, md,
              &n))
        return false;
    text_base64_encode(str_of(md, n), out);
    return buf_ok(out);
}

/* "VERIFIER DIGEST" */
static bool read_verifier(struct str data, struct str stored, struct scram_verifier *out)
{
    struct str text, of;
    struct buf b;
    if (!str_cut(data, ' ', &text, &of) || !scram_parse(text, out))
        return false;
    buf_init(&b, DIGEST_TEXT);
    bool same = digest(out, stored, &b) && b.n == of.n && CRYPTO_memcmp(b.p, of.p, b.n) == 0;
    buf_fini(&b);
    return same;
}

int credential_verifier(struct sql *db, struct str account, struct str stored,
                        struct scram_verifier *out, bool *found_out, struct err *err)
{
    struct sql_stmt *st;
    *found_out = false;
    if (ask(db, "SELECT data FROM credential WHERE account = ? AND kind = ? AND label = ''",
            account, CREDENTIAL_SCRAM, &st, err) < 0)
        return -1;
    int r = sql_step(st, err);
    if (r == 1)
        *found_out = stored.n > 0 && read_verifier(sql_text(st, 0), stored, out);
    sql_reset(st);
    if (r >= 0 && !*found_out)
        *found_out = scram_parse_hash(stored, out);
    return r < 0 ? -1 : 0;
}

int credential_put_verifier(struct sql *db, struct str account, struct str stored,
                            const struct scram_verifier *v, struct err *err)
{
    struct sql_stmt *st;
    struct buf data;
    if (sql_begin(db, true, err) < 0)
        return -1;
    buf_init(&data, DATA_MAX);
    scram_print(v, &data);
    buf_add_char(&data, ' ');
    int r = digest(v, stored, &data) ? 0 : ERR(err, ERR_TEMP, "no digest could be made");
    if (r == 0)
        r = ask(db, "DELETE FROM credential WHERE account = ? AND kind = ?", account,
                CREDENTIAL_SCRAM, &st, err);
    if (r == 0)
        r = sql_run(st, err);
    if (r == 0)
        r = insert(db, account, CREDENTIAL_SCRAM, STR(""), buf_str(&data), err);
    buf_fini(&data);
    if (r == 0)
        return sql_commit(db, err);
    sql_rollback(db);
    return -1;
}

int credential_remove_all(struct sql *db, struct str account, struct err *err)
{
    struct sql_stmt *st;
    if (ask(db, "DELETE FROM credential WHERE account = ? AND kind <> ?", account,
            CREDENTIAL_SECRET, &st, err) < 0)
        return -1;
    return sql_run(st, err);
}
