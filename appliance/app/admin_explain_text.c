/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What explain shows to people: the message, a line for each stage with what it said below it, what
 * would have changed it, and the head of what is kept nowhere else. */
#include "appliance/app/admin.h"
#include "appliance/app/admin_explain.h"
#include "appliance/base/mem.h"

static void put_field(const char *name, const json_t *v, struct buf *scratch, struct buf *out)
{
    if (!v)
        return;
    buf_printf(out, "%s: ", name);
    buf_add_str(out, admin_cell(v, scratch));
    buf_add_char(out, '\n');
}

/* "junk (dmarc)" */
static void put_verdict(const json_t *o, struct buf *scratch, struct buf *out)
{
    const json_t *by = json_object_get(o, "decided_by");

    buf_add_str(out, admin_cell(json_object_get(o, "verdict"), scratch));
    if (json_array_size(by)) {
        buf_add_z(out, " (");
        buf_add_str(out, admin_cell(by, scratch));
        buf_add_char(out, ')');
    }
    buf_add_char(out, '\n');
}

static void put_stage(const json_t *v, struct buf *scratch, struct buf *out)
{
    static const char *const more[] = {"effect", "recipient", "reason", "reply"};
    json_t *facts = json_object_get(v, "facts"), *did = json_object_get(v, "did"), *value;
    const char *name;
    size_t n;

    buf_printf(out, "  %-8s %-16s %-10s %6.1f ms", json_string_value(json_object_get(v, "point")),
               json_string_value(json_object_get(v, "stage")),
               json_string_value(json_object_get(v, "verdict")),
               (double)json_integer_value(json_object_get(v, "us")) / 1000);
    if (json_object_get(v, "score"))
        buf_printf(out, "  score %g", json_number_value(json_object_get(v, "score")));
    if (json_is_true(json_object_get(v, "shadow")))
        buf_add_z(out, "  (shadow: not acted on)");
    if (json_is_true(json_object_get(v, "failed")))
        buf_add_z(out, "  (its on_error)");
    if (json_is_true(json_object_get(v, "overridden")))
        buf_add_z(out, "  (doesn't count: policy lets the sender in)");
    buf_add_char(out, '\n');
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        if ((value = json_object_get(v, more[i]))) {
            buf_printf(out, "           %s: ", more[i]);
            buf_add_str(out, admin_cell(value, scratch));
            buf_add_char(out, '\n');
        }
    json_array_foreach(did, n, value)
    {
        buf_add_z(out, "           ");
        buf_add_str(out, admin_cell(value, scratch));
        buf_add_char(out, '\n');
    }
    json_object_foreach(facts, name, value)
    {
        struct str text = admin_cell(value, scratch);
        buf_printf(out, "           %s = ", name);
        buf_add_str(out, text);
        buf_add_char(out, '\n');
    }
}

/* What was refused stopped there: later stages have not looked at it. */
static void put_changes(const json_t *o, struct buf *scratch, struct buf *out)
{
    const json_t *list = json_object_get(o, "changes"), *one;
    const char *verdict = json_string_value(json_object_get(o, "verdict"));
    bool stopped = verdict && (strcmp(verdict, "reject") == 0 || strcmp(verdict, "defer") == 0 ||
                               strcmp(verdict, "discard") == 0);

    if (!json_array_size(list))
        return;
    buf_add_z(out, "what would have changed it:\n");
    for (size_t i = 0; i < json_array_size(list); i++) {
        one = json_array_get(list, i);
        const json_t *with = json_object_get(one, "with");
        buf_printf(out, "  %s ", with ? "acting instead of shadow," : "without");
        buf_add_str(out, admin_cell(with ? with : json_object_get(one, "without"), scratch));
        buf_add_z(out, ": ");
        put_verdict(one, scratch, out);
    }
    if (stopped)
        buf_add_z(out,
                  "  (as far as it was looked at: what stages after that would have said isn't "
                  "known)\n");
}

void explain_render(json_t *o, struct buf *out)
{
    static const char *const fields[] = {"id",        "date",  "session", "client",  "sender",
                                         "recipient", "rcpts", "size",    "outcome", "kept"};
    const json_t *stages = json_object_get(o, "stages"), *head = json_object_get(o, "head");
    struct buf scratch;

    buf_init(&scratch, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        put_field(fields[i], json_object_get(o, fields[i]), &scratch, out);
    buf_add_z(out, "verdict: ");
    put_verdict(o, &scratch, out);
    buf_printf(out, "score: %g\n", json_number_value(json_object_get(o, "score")));
    for (size_t i = 0; i < json_array_size(stages); i++)
        put_stage(json_array_get(stages, i), &scratch, out);
    if (json_object_get(o, "left_out"))
        buf_printf(out, "  ... and %lld more of commands that were repeated (RCPT, HELO, AUTH)\n",
                   (long long)json_integer_value(json_object_get(o, "left_out")));
    put_changes(o, &scratch, out);
    if (head) {
        buf_add_z(out, "head:");
        admin_lines(str_of(json_string_value(head), json_string_length(head)), out);
    }
    buf_fini(&scratch);
}
