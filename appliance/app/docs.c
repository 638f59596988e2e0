/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/docs.h"
#include "appliance/app/admin.h"
#include "appliance/app/config.h"
#include "appliance/app/import.h"
#include "appliance/app/modes.h"
#include <string.h>

enum { WRAP = 100, MAN_WRAP = 78 };

/* ---- the sample file */
static void comment(const char *text, const char *indent, struct buf *out)
{
    struct str rest = str_from(text), word;
    size_t column = 0;

    while (rest.n) {
        str_cut(rest, ' ', &word, &rest);
        if (column && column + 1 + word.n > WRAP) {
            buf_add_char(out, '\n');
            column = 0;
        }
        if (!column)
            buf_printf(out, "%s#", indent);
        column += column ? 1 + word.n : strlen(indent) + 2 + word.n;
        buf_printf(out, " " STR_FMT, STR_ARG(word));
    }
    buf_add_char(out, '\n');
}

static void default_value(const struct ph_setting *t, struct buf *out)
{
    bool text = t->type == PH_TEXT || t->type == PH_SECRET;

    if (t->flags & PH_LIST)
        buf_printf(out, "{%s}", t->def ? t->def : "");
    else if (text)
        buf_printf(out, "\"%s\"", t->def ? t->def : "");
    else
        buf_add_z(out, t->def ? t->def : "0");
}

static void sample_section(const struct settings_section *s, const char *title, struct buf *out)
{
    buf_add_char(out, '\n');
    comment(s->doc, "", out);
    buf_printf(out, "#%s%s {\n", s->name, title);
    for (const struct ph_setting *t = s->table; t->name; t++) {
        if (t->flags & PH_HIDDEN)
            continue;
        comment(t->doc, "    ", out);
        buf_printf(out, "    #%s = ", t->name);
        default_value(t, out);
        buf_add_z(out, "  # ");
        settings_type(t, out);
        buf_add_z(out, t->flags & PH_RELOAD ? "; reload\n" : "\n");
    }
    buf_add_z(out, "#}\n");
}

static void sample_titled(bool own, struct buf *out)
{
    for (size_t i = 0; i < CONFIG_TITLED; i++)
        if (config_titled[i].own == own)
            sample_section(&config_titled[i].section, " \"name\"", out);
}

static void sample(struct buf *out)
{
    struct config *none = MEM_NEW(struct config);
    const struct settings_section *added;
    void *conf;

    buf_add_z(out, "# posthouse.conf - see posthouse.conf(5). Everything here has its default and "
                   "is commented\n"
                   "# out; a working file needs little more than these lines:\n"
                   "#\n"
                   "#main { hostname = mail.example.com\n"
                   "#       user = posthouse }\n"
                   "#tls { certificate = /etc/posthouse/cert.pem\n"
                   "#      key = /etc/posthouse/key.pem }\n"
                   "#\n"
                   "# posthouse serve --check-config looks it over; SIGHUP makes a running server "
                   "read again what\n"
                   "# is marked \"reload\". More files: include(\"more.conf\") on a line of its "
                   "own between sections.\n");
    for (const struct settings_section *s = config_own_sections; s->name; s++)
        sample_section(s, "", out);
    sample_titled(true, out);
    for (const struct settings_section *s = config_sections; s->name; s++)
        sample_section(s, "", out);
    sample_titled(false, out);
    for (size_t i = 0; (added = config_extra_section(i, &conf, none)); i++)
        sample_section(added, "", out);
    mem_free(none);
}

/* ---- man pages, in prose(7) */
static void escaped(char c, bool line_begins, struct buf *out)
{
    if (c == '\\')
        buf_add_z(out, "\\e");
    else if (line_begins && (c == '.' || c == '\''))
        buf_printf(out, "\\&%c", c);
    else if (c == '"') /* in a macro's line it would quote */
        buf_add_z(out, "\\(dq");
    else if (c == '-')
        buf_add_z(out, "\\-");
    else
        buf_add_char(out, c);
}

static void literal(const char *text, struct buf *out)
{
    bool line_begins = true;

    buf_add_z(out, ".Bd -literal\n");
    for (; *text; text++) {
        escaped(*text, line_begins, out);
        line_begins = *text == '\n';
    }
    buf_add_z(out, ".Ed\n");
}

/* Each sentence begins a line, and no line is long. Without a line's end behind it. */
static void prose(const char *text, struct buf *out)
{
    struct str rest = str_from(text), word;
    size_t column = 0;

    while (rest.n) {
        str_cut(rest, ' ', &word, &rest);
        if (column)
            buf_add_char(out, ' ');
        if (column + word.n > MAN_WRAP) {
            buf_truncate(out, out->n - (column > 0));
            buf_add_char(out, '\n');
            column = 0;
        }
        for (size_t i = 0; i < word.n; i++)
            escaped(word.p[i], column + i == 0, out);
        column += word.n + 1;
        if (word.n && rest.n && strchr(".!?", word.p[word.n - 1])) {
            buf_add_char(out, '\n');
            column = 0;
        }
    }
}

static void man_setting(const struct ph_setting *t, struct buf *out)
{
    struct buf value;

    if (t->flags & PH_HIDDEN)
        return;
    buf_init(&value, 4096);
    default_value(t, &value);
    buf_printf(out, ".It Va %s No = Li ", t->name);
    prose(buf_z(&value), out);
    buf_add_char(out, '\n');
    prose(t->doc, out);
    buf_add_z(out, "\n.Pq ");
    buf_clear(&value);
    settings_type(t, &value);
    prose(buf_z(&value), out);
    buf_printf(out, "%s\n", t->flags & PH_RELOAD ? "; reload" : "");
    buf_fini(&value);
}

static void man_section(const struct settings_section *s, const char *title, struct buf *out)
{
    buf_printf(out, ".Ss %s%s\n", s->name, title);
    prose(s->doc, out);
    buf_add_z(out, "\n.Bl -tag -width Ds\n");
    for (const struct ph_setting *t = s->table; t->name; t++)
        man_setting(t, out);
    buf_add_z(out, ".El\n");
}

static void man_titled(bool own, struct buf *out)
{
    for (size_t i = 0; i < CONFIG_TITLED; i++)
        if (config_titled[i].own == own)
            man_section(&config_titled[i].section, " \\(dqname\\(dq", out);
}

static void man5(struct buf *out)
{
    struct config *none = MEM_NEW(struct config);
    const struct settings_section *added;
    void *conf;

    buf_add_z(out,
              ".\\\" Made by posthouse serve --help-settings=man5 from the tables of settings.\n"
              ".Dd November 20, 2026\n.Dt POSTHOUSE.CONF 5\n.Os\n.Sh NAME\n.Nm posthouse.conf\n"
              ".Nd configuration of the mail server posthouse\n.Sh DESCRIPTION\n"
              "The file consists of sections with settings:\n"
              ".Bd -literal -offset indent\n"
              "main { hostname = mail.example.com   # a comment\n"
              "       user = posthouse }\n"
              "listener \"behind the proxy\" {\n"
              "    service = imap\n"
              "    port = 10143\n"
              "    proxy_from = {10.0.0.0/8, \"2001:db8::/32\"}\n"
              "}\n"
              "include(\"more.conf\")\n"
              ".Ed\n.Pp\n"
              "A value is a word, or text within quotes;\n"
              "within double quotes\n.Li ${NAME}\n"
              "stands for a variable of the environment,\n"
              "within single quotes nothing has a meaning.\n"
              "A list stands in braces.\n"
              "Times have the units ms, s, min, h, d, w; sizes K, M, G, T.\n"
              "Comments begin with # or // and go to the end of the line,\n"
              "or stand between /* and */.\n"
              "An included file is found from the folder of the one that includes it;\n"
              "include is the last on its line and stands between sections.\n"
              "Secrets may be\n.Li file:/path\nor\n.Li env:NAME .\n"
              ".Pp\n"
              "Settings marked reload take effect on SIGHUP for sessions that begin then;\n"
              "others at the next start.\n"
              ".Sh SETTINGS\n"
              "Each with its default and, in parentheses, what it may be.\n");
    for (const struct settings_section *s = config_own_sections; s->name; s++)
        man_section(s, "", out);
    man_titled(true, out);
    for (const struct settings_section *s = config_sections; s->name; s++)
        man_section(s, "", out);
    man_titled(false, out);
    for (size_t i = 0; (added = config_extra_section(i, &conf, none)); i++)
        man_section(added, "", out);
    mem_free(none);
    buf_add_z(out, ".Sh FILES\n.Bl -tag -width Ds\n.It Pa " CONFIG_DEFAULT "\n.El\n"
                   ".Sh SEE ALSO\n.Xr posthouse 8\n");
}

static void man8(struct buf *out)
{
    struct buf usage;

    buf_add_z(out,
              ".\\\" Made by posthouse serve --help-settings=man8 from the tables of commands.\n"
              ".Dd November 20, 2026\n.Dt POSTHOUSE 8\n.Os\n.Sh NAME\n.Nm posthouse\n"
              ".Nd a whole mail server in one program\n.Sh SYNOPSIS\n"
              ".Nm\n.Cm serve\n.Op options\n.Nm\n.Cm dev\n.Op options\n.Nm\n"
              ".Cm selftest crash\n.Op Ar folder\n.Op options\n.Nm\n"
              ".Ar group verb\n.Op options\n.Sh DESCRIPTION\n"
              "SMTP, submission and IMAP with their directory and message store,\n"
              "in one process.\n"
              "A message is acknowledged when it is in its mailbox and on stable storage.\n"
              ".Ss serve\n");
    literal(serve_help, out);
    buf_add_z(out, ".Ss dev\n");
    literal(dev_help, out);
    buf_add_z(out, ".Ss selftest\n");
    literal(selftest_help, out);
    buf_add_z(out, ".Ss doctor\n");
    literal(doctor_help, out);
    buf_add_z(out, ".Ss sendmail\n");
    literal(sendmail_help, out);
    buf_add_z(out, ".Ss apply\n");
    literal(apply_help, out);
    buf_add_z(out, ".Ss completion\n");
    literal(completion_help, out);
    buf_add_z(out, ".Ss Administration\n"
                   "Every command takes\n.Fl -data Ar DIR\nand\n.Fl -json ;\n"
                   "without\n.Fl -data\nit works on the folder of\n.Ev POSTHOUSE_DATA ,\n"
                   "else of the configuration\n.Pq Fl -config Ar FILE .\n"
                   "Commands work whether a server runs on the folder or not.\n"
                   "Exit codes: 0 done, 1 refused, 2 usage, 75 try again later.\n");
    buf_init(&usage, 1 << 20);
    admin_usage(NULL, &usage);
    import_usage(NULL, &usage);
    literal(buf_z(&usage), out);
    buf_fini(&usage);
    buf_add_z(out, ".Sh FILES\n.Bl -tag -width Ds\n.It Pa " CONFIG_DEFAULT "\n.It Pa " DATA_DEFAULT
                   "\n.El\n.Sh SEE ALSO\n.Xr posthouse.conf 5\n");
}

int docs_print(const char *what, struct buf *out)
{
    static const struct {
        const char *name;
        void (*print)(struct buf *out);
    } all[] = {{"sample", sample}, {"man5", man5}, {"man8", man8}};

    for (size_t i = 0; what && i < ARRAY_LEN(all); i++)
        if (strcmp(what, all[i].name) == 0) {
            all[i].print(out);
            return 0;
        }
    return -1;
}
