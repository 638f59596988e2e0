/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "imap/cmd.h"
#include "imap/session.h"

enum { ID_FIELDS_MAX = 30, ID_KEY_MAX = 30, ID_VALUE_MAX = 1024 }; /* RFC 2971 3.3 */

void noop_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    (void)cmd, (void)args; /* what changed is sent after every command */
}

void capability_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    if (!imap_at_end(args))
        return;
    buf_add_z(&cmd->out, "* CAPABILITY ");
    imap_put_capabilities(&cmd->out, cmd->session);
    buf_add_z(&cmd->out, "\r\n");
}

static int id_field(struct imap_session *s, struct imap_cursor *args)
{
    struct str key, value;
    if (imap_string(args, &key) || imap_space(args) || imap_nstring(args, &value))
        return -1;
    if (key.n > ID_KEY_MAX || value.n > ID_VALUE_MAX)
        return -1;
    if (value.n && (str_ieq(key, STR("name")) || str_ieq(key, STR("version"))))
        log_debug(&s->log, "client_id", L_STR("key", key), L_STR("value", value));
    return 0;
}

static int id_list(struct imap_session *s, struct imap_cursor *args)
{
    if (imap_word(args, "NIL") == 0)
        return 0;
    if (imap_take(args, '('))
        return -1;
    for (unsigned n = 0; imap_take(args, ')'); n++)
        if ((n && imap_space(args)) || n == ID_FIELDS_MAX || id_field(s, args))
            return -1;
    return 0;
}

void id_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    if (imap_space(args) || id_list(cmd->session, args)) {
        imap_bad(cmd, "Expected NIL or a list of fields and values");
        return;
    }
    buf_add_z(&cmd->out, "* ID (\"name\" \"posthouse\" \"version\" \"" PH_VERSION "\")\r\n");
}

void logout_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    if (!imap_at_end(args))
        return;
    buf_add_z(&cmd->out, "* BYE Logging out\r\n");
    cmd->session->state = IMAP_LOGOUT;
}

/* RFC 2342: one personal namespace, without prefix. */
void namespace_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    if (imap_at_end(args))
        buf_add_z(&cmd->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
}

/* RFC 5161: what isn't known, or needs no enabling, is passed over in silence. */
void enable_parse(struct imap_command *cmd, struct imap_cursor *args)
{
    struct str name;
    do {
        if (imap_space(args) || imap_atom(args, &name)) {
            imap_bad(cmd, "Expected names of capabilities");
            return;
        }
    } while (!imap_at_end(args));
    buf_add_z(&cmd->out, "* ENABLED\r\n");
}
