/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* STORE, COPY, MOVE, EXPUNGE and SEARCH on a real store, with what sync says after them. */
#include "scratch.h"

#define MESSAGE(subject, body) "From: a@b\r\nSubject: " subject "\r\n\r\n" body "\r\n"

/* Five messages, uids 1..5. */
static void five(struct scratch *s)
{
    scratch_append(s, 0, MESSAGE("one", "apple"));
    scratch_append(s, MESSAGE_SEEN, MESSAGE("two", "banana"));
    scratch_append(s, MESSAGE_FLAGGED, MESSAGE("three", "apple pie"));
    scratch_append(s, MESSAGE_SEEN | MESSAGE_DELETED, MESSAGE("four", "cherry"));
    scratch_append(s, 0, MESSAGE("five", "date"));
    scratch_select(s);
}

#define ASSERT_DO(s, line, want) assert_string_equal(scratch_do(s, line), want)

static void store_answers(void **state)
{
    struct scratch *s = *state;
    five(s);
    ASSERT_DO(s, "STORE 1:2 +FLAGS (\\Seen)",
              "* 1 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (FLAGS (\\Seen))\r\nOK Store completed.");
    ASSERT_DO(s, "UID STORE 3 -FLAGS \\Flagged",
              "* 3 FETCH (UID 3 FLAGS ())\r\nOK Store completed.");
    ASSERT_DO(s, "STORE 5 FLAGS (\\Draft $Junk)",
              "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk)\r\n"
              "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk \\*)] "
              "Flags permitted\r\n"
              "* 5 FETCH (FLAGS (\\Draft $Junk))\r\nOK Store completed.");
    ASSERT_DO(s, "STORE 5 -FLAGS ($JUNK)", "* 5 FETCH (FLAGS (\\Draft))\r\nOK Store completed.");
    ASSERT_DO(s, "UID STORE 99 +FLAGS \\Seen", "OK Store completed.");
    ASSERT_DO(s, "STORE 6 +FLAGS \\Seen", "BAD No such message sequence number");
    ASSERT_DO(s, "STORE 1 +FLAG \\Seen", "BAD Unknown item");
    ASSERT_DO(s, "STORE 1 FLAGS (\\Nonsense)", "BAD Invalid flags");
    ASSERT_DO(s, "STORE 1 FLAGS", "BAD Unknown item");
    ASSERT_DO(s, "STORE x FLAGS ()", "BAD Invalid message set");
}

static void other_session(struct scratch *s, uint32_t uid, uint64_t flag)
{
    struct message_store_flags m;
    struct uid_range set = {uid, uid};
    message_store_flags_init(&m, NULL);
    m.mailbox = s->mailbox;
    m.set = &set;
    m.n_set = 1;
    m.how = MESSAGE_FLAGS_ADD;
    m.flags = flag;
    m.unchanged_since = UINT64_MAX;
    scratch_submit(s, &m.op);
    assert_false(m.op.failed);
    buf_fini(&m.modified);
}

static void silent_store(void **state)
{
    struct scratch *s = *state;
    five(s);
    ASSERT_DO(s, "STORE 1:5 +FLAGS.SILENT (\\Answered)", "OK Store completed.");
    ASSERT_DO(s, "STORE 1 FLAGS.SILENT ()", "OK Store completed.");
    ASSERT_DO(s, "UID STORE 2 -FLAGS.SILENT (\\Seen \\Draft)", "OK Store completed.");
    /* What another session did is told, also where our own change covers it. */
    other_session(s, 1, MESSAGE_FLAGGED);
    other_session(s, 2, MESSAGE_DRAFT);
    ASSERT_DO(s, "STORE 1,3 +FLAGS.SILENT (\\Seen)",
              "* 1 FETCH (FLAGS (\\Seen \\Flagged))\r\n"
              "* 2 FETCH (FLAGS (\\Answered \\Draft))\r\nOK Store completed.");
    other_session(s, 5, MESSAGE_SEEN);
    ASSERT_DO(s, "UID STORE 4 +FLAGS.SILENT (\\Seen)",
              "* 5 FETCH (UID 5 FLAGS (\\Seen \\Answered))\r\nOK Store completed.");
    ASSERT_DO(s, "UID FETCH 1:5 FLAGS",
              "* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged))\r\n"
              "* 2 FETCH (UID 2 FLAGS (\\Answered \\Draft))\r\n"
              "* 3 FETCH (UID 3 FLAGS (\\Seen \\Answered \\Flagged))\r\n"
              "* 4 FETCH (UID 4 FLAGS (\\Seen \\Answered \\Deleted))\r\n"
              "* 5 FETCH (UID 5 FLAGS (\\Seen \\Answered))\r\nOK Fetch completed.");
}

static void too_many_keywords(void **state)
{
    struct scratch *s = *state;
    char line[64];
    five(s);
    for (int i = 0; i < MESSAGE_KEYWORD_LAST - MESSAGE_KEYWORD_FIRST + 1; i++) {
        snprintf(line, sizeof line, "STORE 1 +FLAGS.SILENT (kw%d)", i);
        assert_non_null(strstr(scratch_do(s, line), "OK Store completed."));
    }
    assert_memory_equal(scratch_do(s, "STORE 1 +FLAGS (onemore)"), "NO [LIMIT] ", 11);
    assert_non_null(
        strstr(scratch_do(s, "STORE 2 +FLAGS (KW7)"), "* 2 FETCH (FLAGS (\\Seen kw7))"));
}

static void copies(void **state)
{
    struct scratch *s = *state;
    char want[200];
    struct mailbox_info info;
    struct err err;
    five(s);
    assert_int_equal(mailbox_get(s->reader, s->arena, scratch_mailbox(s, "Trash"), &info, &err), 0);
    snprintf(want, sizeof want, "OK [COPYUID %u 1:2,5 1:3] Copy completed.", info.uidvalidity);
    ASSERT_DO(s, "COPY 1:2,5 Trash", want);
    snprintf(want, sizeof want, "OK [COPYUID %u 3 4] Copy completed.", info.uidvalidity);
    ASSERT_DO(s, "UID COPY 3,77 \"Trash\"", want);
    ASSERT_DO(s, "UID COPY 77:99 Trash", "OK Copy completed.");
    ASSERT_DO(s, "COPY 1 Nowhere", "NO [TRYCREATE] No such mailbox.");
    ASSERT_DO(s, "COPY 1", "BAD Invalid message set");
    ASSERT_DO(s, "COPY 6 Trash", "BAD No such message sequence number");
    assert_int_equal(mailbox_get(s->reader, s->arena, info.id, &info, &err), 0);
    assert_int_equal(info.messages, 4);
    /* Onto itself: the copies come as new messages. */
    snprintf(want, sizeof want,
             "* 7 EXISTS\r\n* 0 RECENT\r\nOK [COPYUID %u 1,3 6:7] Copy completed.",
             s->view->uidvalidity);
    ASSERT_DO(s, "COPY 1,3 inbox", want);
}

static void moves(void **state)
{
    struct scratch *s = *state;
    char want[200];
    struct mailbox_info info;
    struct err err;
    five(s);
    assert_int_equal(mailbox_get(s->reader, s->arena, scratch_mailbox(s, "Archive"), &info, &err),
                     0);
    snprintf(want, sizeof want,
             "* OK [COPYUID %u 1,3:4 1:3] Moved.\r\n* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n"
             "OK Move completed.",
             info.uidvalidity);
    ASSERT_DO(s, "MOVE 1,3,4 Archive", want);
    ASSERT_DO(s, "UID MOVE 1,3 Archive", "OK Move completed.");
    ASSERT_DO(s, "MOVE 1 Nowhere", "NO [TRYCREATE] No such mailbox.");
    snprintf(want, sizeof want, "* OK [COPYUID %u 5 4] Moved.\r\n* 2 EXPUNGE\r\nOK Move completed.",
             info.uidvalidity);
    ASSERT_DO(s, "UID MOVE 5 Archive", want);
    ASSERT_DO(s, "UID SEARCH ALL", "* SEARCH 2\r\nOK Search completed.");
    s->mailbox = info.id;
    scratch_select(s);
    ASSERT_DO(s, "FETCH 1:* (UID FLAGS)",
              "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\n"
              "* 3 FETCH (UID 3 FLAGS (\\Seen \\Deleted))\r\n* 4 FETCH (UID 4 FLAGS ())\r\n"
              "OK Fetch completed.");
}

static void expunges(void **state)
{
    struct scratch *s = *state;
    five(s);
    ASSERT_DO(s, "STORE 1,3 +FLAGS.SILENT (\\Deleted)", "OK Store completed.");
    ASSERT_DO(s, "UID EXPUNGE 99", "OK Expunge completed."); /* and not all of them */
    ASSERT_DO(s, "UID EXPUNGE 2:3,5", "* 3 EXPUNGE\r\nOK Expunge completed.");
    ASSERT_DO(s, "EXPUNGE", "* 1 EXPUNGE\r\n* 2 EXPUNGE\r\nOK Expunge completed.");
    ASSERT_DO(s, "EXPUNGE", "OK Expunge completed.");
    ASSERT_DO(s, "UID FETCH 1:* UID",
              "* 1 FETCH (UID 2)\r\n* 2 FETCH (UID 5)\r\nOK Fetch completed.");
    ASSERT_DO(s, "UID EXPUNGE", "BAD Invalid message set");
}

/* RFC 2180: what another session has expunged is skipped until this client is told. */
static void expunged_meanwhile(void **state)
{
    struct scratch *s = *state;
    struct message_expunge m;
    five(s);
    message_expunge_init(&m, NULL);
    m.mailbox = s->mailbox;
    scratch_submit(s, &m.op); /* uid 4 */
    assert_int_equal(m.count, 1);
    ASSERT_DO(s, "FETCH 3:5 (UID BODY.PEEK[TEXT])",
              "* 3 FETCH (UID 3 BODY[TEXT] {11}\r\napple pie\r\n)\r\n"
              "* 5 FETCH (UID 5 BODY[TEXT] {6}\r\ndate\r\n)\r\nOK Fetch completed.");
    ASSERT_DO(s, "SEARCH SEEN", "* SEARCH 2\r\nOK Search completed.");
    ASSERT_DO(s, "STORE 4 +FLAGS (\\Seen)", "OK Store completed.");
    ASSERT_DO(s, "UID STORE 5 +FLAGS (\\Seen)",
              "* 5 FETCH (UID 5 FLAGS (\\Seen))\r\n* 4 EXPUNGE\r\nOK Store completed.");
}

static void searches(void **state)
{
    struct scratch *s = *state;
    five(s);
    ASSERT_DO(s, "SEARCH ALL", "* SEARCH 1 2 3 4 5\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH KEYWORD none", "* SEARCH\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH UNSEEN", "* SEARCH 1 3 5\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH SUBJECT T", "* SEARCH 2 3\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH BODY apple", "* SEARCH 1 3\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH TEXT date 2:5 OR SUBJECT five BODY x",
              "* SEARCH 5\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH NOT (OR BODY apple DELETED)", "* SEARCH 2 5\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH ON 9-Sep-2001 LARGER 39", "* SEARCH 3\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH 2:4 NOT 3", "* SEARCH 2 4\r\nOK Search completed.");
    ASSERT_DO(s, "SEARCH CHARSET X-ODD ALL", "NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset");
    ASSERT_DO(s, "SEARCH", "BAD Search keys are missing");
    ASSERT_DO(s, "SEARCH 9", "BAD No such message sequence number");
    ASSERT_DO(s, "EXPUNGE", "* 4 EXPUNGE\r\nOK Expunge completed.");
    ASSERT_DO(s, "SEARCH BODY date", "* SEARCH 4\r\nOK Search completed.");
    ASSERT_DO(s, "UID SEARCH BODY date", "* SEARCH 5\r\nOK Search completed.");
    ASSERT_DO(s, "UID SEARCH UID 2:4 1:*", "* SEARCH 2 3\r\nOK Search completed.");
}

static void empty_mailbox(void **state)
{
    struct scratch *s = *state;
    scratch_select(s);
    ASSERT_DO(s, "SEARCH ALL", "* SEARCH\r\nOK Search completed.");
    ASSERT_DO(s, "UID FETCH 1:* (FLAGS)", "OK Fetch completed.");
    ASSERT_DO(s, "UID COPY 1:* Trash", "OK Copy completed.");
    ASSERT_DO(s, "UID STORE 1:* FLAGS ()", "OK Store completed.");
    ASSERT_DO(s, "EXPUNGE", "OK Expunge completed.");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(store_answers), TEST(silent_store), TEST(too_many_keywords),  TEST(copies),
        TEST(moves),         TEST(expunges),     TEST(expunged_meanwhile), TEST(searches),
        TEST(empty_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
