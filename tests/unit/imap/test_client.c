/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Greeting, login and folders of servers as they are. */
#include "source.h"

static void fails(const char *const *script, enum err_kind kind, enum err_why why, const char *text)
{
    struct source s;

    source_init(&s, script);
    assert_int_equal(source_connect(&s), -1);
    if (s.err.kind != kind || s.err.why != why || !strstr(s.err.text, text))
        fail_msg("%d %d %s", s.err.kind, s.err.why, s.err.text);
    source_fini(&s);
}

static void works(const char *const *script, const char *password)
{
    struct source s;

    source_init(&s, script);
    if (password)
        s.conf.password = password;
    if (source_connect(&s) != 0)
        fail_msg("%s", s.err.text);
    assert_true(imap_client_alive(s.client));
    source_fini(&s);
}

static void test_logins(void **state)
{
    (void)state;
    /* Capabilities in the greeting and in the answer; asked for where they aren't told. */
    works((const char *const[]){SOURCE_HELLO, NULL}, NULL);
    works((const char *const[]){">* OK hello", "<P1 CAPABILITY",
                                ">* CAPABILITY IMAP4rev1 AUTH=PLAIN", ">P1 OK",
                                "<P2 AUTHENTICATE PLAIN", ">+ ", "<AHVzZXIAcHc=", ">P2 OK in",
                                "<P3 CAPABILITY", ">* CAPABILITY IMAP4rev1", ">P3 OK", NULL},
          NULL);
    /* None: the command LOGIN. Words that can't be quoted are literals. */
    works((const char *const[]){">* OK [CAPABILITY IMAP4rev1] hello",
                                "<P1 LOGIN \"user\" \"p\\\"w\"", ">P1 OK [CAPABILITY IMAP4rev1] in",
                                NULL},
          "p\"w");
    works((const char *const[]){">* OK [CAPABILITY IMAP4rev1] hello", "<P1 LOGIN \"user\" {3}",
                                ">+ go on", "<p\xc3\xa4", ">P1 OK [CAPABILITY IMAP4rev1] in", NULL},
          "p\xc3\xa4");
    /* Unsolicited data before anything, untagged text in between. */
    works((const char *const[]){">* OK [CAPABILITY IMAP4rev1] Exchange", "<P1 LOGIN *",
                                ">* OK [ALERT] Tuesday is cleaning day", ">* 3 EXISTS", "",
                                ">P1 OK done", "<P2 CAPABILITY", ">* CAPABILITY IMAP4 IMAP4rev1",
                                ">P2 OK", NULL},
          NULL);
    works((const char *const[]){">* PREAUTH [CAPABILITY IMAP4rev1] hello", "<P1 CAPABILITY",
                                ">* CAPABILITY IMAP4rev1", ">P1 OK", NULL},
          NULL);
}

static void test_refusals(void **state)
{
    (void)state;
    fails((const char *const[]){">* OK [CAPABILITY IMAP4rev1] hello", "<P1 LOGIN *",
                                ">P1 NO [AUTHENTICATIONFAILED] not you\x1b[31m", NULL},
          ERR_PERM, ERR_WHY_DENIED, "login as user: the server says: not you?[31m");
    fails((const char *const[]){">* OK [CAPABILITY IMAP4rev1] hello", "<P1 LOGIN *",
                                ">P1 NO [LIMIT] too many", NULL},
          ERR_TEMP, ERR_WHY_BUSY, "too many");
    fails((const char *const[]){">* OK [CAPABILITY LOGINDISABLED] hello", NULL}, ERR_PERM,
          ERR_WHY_DENIED, "no way to log in");
    fails((const char *const[]){">* BYE go away", NULL}, ERR_TEMP, ERR_WHY_BUSY, "go away");
    fails((const char *const[]){">220 smtp.example ESMTP", NULL}, ERR_TEMP, ERR_WHY_OTHER,
          "no response");
    fails((const char *const[]){">* 3 EXISTS", NULL}, ERR_TEMP, ERR_WHY_OTHER, "no IMAP server");
    fails((const char *const[]){"CLOSE", NULL}, ERR_TEMP, ERR_WHY_OTHER, "lost");
    fails((const char *const[]){">* OK [CAPABILITY IMAP4rev1] hello", "<P1 LOGIN *", "CLOSE", NULL},
          ERR_TEMP, ERR_WHY_OTHER, "lost");
    fails(
        (const char *const[]){">* OK [CAPABILITY IMAP4rev1] hello", "<P1 LOGIN *", ">P9 OK", NULL},
        ERR_TEMP, ERR_WHY_OTHER, "wasn't asked");
}

/* SCRAM though this user has no verifier there: PLAIN follows. */
static void test_next_mechanism(void **state)
{
    (void)state;
    works((const char *const[]){">* OK [CAPABILITY AUTH=SCRAM-SHA-256 AUTH=PLAIN SASL-IR] hello",
                                "<P1 AUTHENTICATE SCRAM-SHA-256 *", ">P1 NO failed",
                                "<P2 AUTHENTICATE PLAIN AHVzZXIAcHc=",
                                ">P2 OK [CAPABILITY IMAP4rev1] in", NULL},
          NULL);
    /* A server that asks for too little work doesn't get to know the password's hash. */
    fails((const char *const[]){">* OK [CAPABILITY AUTH=SCRAM-SHA-256 AUTH=PLAIN] hello",
                                "<P1 AUTHENTICATE SCRAM-SHA-256", ">+ ", "<*",
                                ">+ cj1yT3ByTkdmd0Vi", "<*", ">P1 BAD cancelled", NULL},
          ERR_PERM, ERR_WHY_UNTRUSTED, "login as user: SCRAM-SHA-256");
}

static void test_needs_tls(void **state)
{
    const char *const script[] = {">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello", NULL};
    struct source s;

    (void)state;
    source_init(&s, script);
    s.conf.use = IMAP_TLS_START;
    assert_int_equal(source_connect(&s), -1);
    assert_int_equal(s.err.why, ERR_WHY_DENIED);
    assert_non_null(strstr(s.err.text, "STARTTLS"));
    source_fini(&s);
}

/* It takes the command and says nothing more. */
static void test_silence(void **state)
{
    const char *const script[] = {SOURCE_HELLO, "<P2 NAMESPACE", NULL};
    struct source s;

    (void)state;
    source_init(&s, script);
    assert_int_equal(source_connect(&s), 0);
    s.conf.silence_ms = 50;
    assert_int_equal(imap_client_ask(s.client, STR("NAMESPACE"), NULL, NULL, &s.err), -1);
    assert_int_equal(s.err.kind, ERR_TEMP);
    assert_non_null(strstr(s.err.text, "says nothing"));
    assert_false(imap_client_alive(s.client));
    assert_int_equal(imap_client_ask(s.client, STR("NOOP"), NULL, NULL, &s.err), -1);
    source_fini(&s);
}

static void is_folder(const struct imap_folders *all, size_t i, const char *raw, char delimiter,
                      enum imap_folder_use use, bool no_select, const char *name)
{
    const struct imap_folder *f = &all->list[i];
    struct buf b;

    assert_true(i < all->n);
    if (!str_eq(f->raw, str_from(raw)))
        fail_msg("%zu is " STR_FMT ", not %s", i, STR_ARG(f->raw), raw);
    assert_int_equal(f->delimiter, delimiter);
    assert_int_equal(f->use, use);
    assert_int_equal(f->no_select, no_select);
    buf_init(&b, 1000);
    assert_int_equal(imap_folder_name(f, &b), name ? 0 : -1);
    if (name)
        assert_string_equal(buf_z(&b), name);
    buf_fini(&b);
}

static void test_folders(void **state)
{
    const char *const script[] = {
        ">* OK [CAPABILITY IMAP4rev1] hello",
        "<P1 LOGIN *",
        ">P1 OK [CAPABILITY IMAP4rev1 NAMESPACE SPECIAL-USE LIST-EXTENDED] in",
        "<P2 NAMESPACE",
        ">* NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\")) ((\"shared.\" \".\" \"X\" (\"Y\")))",
        ">P2 OK",
        "<P3 LIST \"\" \"*\" RETURN (SPECIAL-USE)",
        ">* LIST (\\HasChildren) \".\" \"INBOX\"",
        ">* LIST (\\Sent) \".\" \"INBOX.Gesendet\"",
        ">* LIST () \".\" {11}",
        ">INBOX.a\"b{3",
        ">* 7 EXISTS",
        ">* LIST (\\Noselect \\HasChildren) \".\" INBOX.Lists",
        ">* LIST () \".\" INBOX.Lists.B&APY-rse",
        ">* LIST () \".\" INBOX",
        ">* LIST () NIL flat.name",
        ">* LIST () \".\" user.other.INBOX",
        ">* LIST () \"/\" \"[Gmail]/All Mail\"",
        ">* LIST (\\All) \"/\" \"\\\"x\\\"\"",
        ">* LIST () \".\" \"INBOX.a/b\"",
        ">* LIST () \".\" \"sch\xc3\xb6n\"",
        ">* LIST () \".\" \"\xf6\"",
        ">* LIST () \".\" inbox.lower",
        ">* LIST broken",
        ">P3 OK",
        NULL};
    struct arena *a = arena_new(0);
    struct imap_folders all;
    struct source s;

    (void)state;
    source_init(&s, script);
    assert_int_equal(source_connect(&s), 0);
    if (imap_client_folders(s.client, a, &all, &s.err) != 0)
        fail_msg("%s", s.err.text);
    assert_int_equal(all.n, 12);
    assert_true(all.spaces.has_own && str_eq(all.spaces.own, STR("INBOX.")));
    is_folder(&all, 0, "INBOX", '.', IMAP_FOLDER_NORMAL, false, "INBOX");
    is_folder(&all, 1, "INBOX.Gesendet", '.', IMAP_FOLDER_SENT, false, "INBOX/Gesendet");
    is_folder(&all, 2, "INBOX.a\"b{3", '.', IMAP_FOLDER_NORMAL, false, "INBOX/a\"b{3");
    is_folder(&all, 3, "INBOX.Lists", '.', IMAP_FOLDER_NORMAL, true, "INBOX/Lists");
    is_folder(&all, 4, "INBOX.Lists.B&APY-rse", '.', IMAP_FOLDER_NORMAL, false,
              "INBOX/Lists/B\xc3\xb6rse");
    is_folder(&all, 5, "flat.name", '\0', IMAP_FOLDER_NORMAL, false, "flat.name");
    is_folder(&all, 6, "[Gmail]/All Mail", '/', IMAP_FOLDER_NORMAL, false, "[Gmail]/All Mail");
    is_folder(&all, 7, "\"x\"", '/', IMAP_FOLDER_VIEW, false, "\"x\"");
    is_folder(&all, 8, "INBOX.a/b", '.', IMAP_FOLDER_NORMAL, false, "INBOX/a_b");
    is_folder(&all, 9, "sch\xc3\xb6n", '.', IMAP_FOLDER_NORMAL, false, "sch\xc3\xb6n");
    is_folder(&all, 10, "\xf6", '.', IMAP_FOLDER_NORMAL, false, NULL);
    is_folder(&all, 11, "inbox.lower", '.', IMAP_FOLDER_NORMAL, false, "INBOX/lower");
    source_fini(&s);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logins),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_needs_tls), cmocka_unit_test(test_next_mechanism),
        cmocka_unit_test(test_folders),   cmocka_unit_test(test_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
