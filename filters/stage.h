/* SPDX-License-Identifier: MIT */
/* stage.h - how a filter stage of posthouse is written; the one header a plug-in needs. It stands
 * alone.
 *
 * A stage looks at mail at certain points of an SMTP transaction and answers each time with one
 * verdict. It is described by one struct ph_stage, the same for built-in stages and for plug-ins,
 * which are shared objects that link to nothing: whatever a stage wants from the server it reaches
 * through struct ph_host. In five minutes:
 *
 *   1. Choose the style. Loop style (on_point): called on the server's one event loop; must return
 * at once (a call that blocks 10 s aborts the server), may start timers and answers later or at
 * once with host->done(), exactly once a turn. Lane style (work): called on a thread of its lane;
 * may block; fills in a struct ph_result and returns.
 *   2. Declare what can be set as a struct with a table of PH_SETTING(); every stage also has
 * `mode` (on, off, shadow), `deadline` and `on_error` in its section without declaring them.
 *   3. Fill a struct ph_stage, export it as ph_stage_export, compile and load it:
 *
 *      #include <posthouse/stage.h>
 *      static void work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
 * struct ph_result *r)
 *      {
 *          if (strcmp(v->helo, "localhost") == 0) {
 *              r->verdict = PH_JUNK;
 *              snprintf(r->reason, sizeof r->reason, "calls itself localhost");
 *          }
 *      }
 *      PH_EXPORT const struct ph_stage ph_stage_export = {
 *          PH_STAGE_HEAD, .points = PH_AT(PH_MESSAGE), .name = "nolocal", .doc = "Junks what says
 * HELO localhost.", .work = work};
 *
 *      cc -shared -fPIC -o nolocal.so nolocal.c && posthouse dev --plugin ./nolocal.so
 *
 * Verdicts. PASS, JUNK and QUARANTINE let the chain go on, and the worst is kept. ACCEPT settles
 * the transaction: JUNK and QUARANTINE of stages without PH_ALWAYS no longer count, whoever came
 * first. DISCARD, DEFER and REJECT stop: stages without PH_ALWAYS that still run are cancelled,
 * others are not begun. What was decided at CONNECT, HELO and AUTH holds for the whole session, at
 * MAIL and RCPT for the transaction; but DISCARD, DEFER and REJECT at RCPT are about that recipient
 * only, and so is ACCEPT, which settles the transaction when it was said of all its recipients.
 * Stages of one point run all at once, except that each waits for those named in its `after`. They
 * know of each other only through facts ("spf.result"): what a stage has set can be read by
 * those that come after it and at later points.
 *
 * Memory: views and the strings in them, and the bytes of a turn, live until the turn is over (and
 * until the call in which it ended has returned). Strings given to the server are copied. Threads:
 * on_point, cancel, timers, open, reload, close run on the loop; work() on a lane, several at once,
 * so what it shares in `inst` wants a lock. Calls of host marked [any] may be made on any thread,
 * the others on the loop only. A second or a late answer is logged and ignored. */
#ifndef PH_STAGE_H
#define PH_STAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Settings.
 * A setting is declared once, beside the code that uses it, in a table of struct ph_setting: name,
 * type, where its value goes, default (as text in file syntax), bounds and documentation. Parsing,
 * checks, --show-config, man page and sample file all come from the table. Strings in a filled
 * struct are owned by it. */
enum ph_setting_type { PH_BOOL, PH_INT, PH_SIZE, PH_TIME, PH_TEXT, PH_SECRET, PH_ENUM };
enum {
    PH_RELOAD = 1u,   /* takes effect at a reload; others at a restart */
    PH_REQUIRED = 2u, /* TEXT, SECRET: may not be empty */
    PH_HIDDEN = 4u,   /* not in the documentation */
    PH_LIST = 8u      /* TEXT: several words, { a, b } in the file; the value is "a, b" */
};

struct ph_setting {
    const char *name; /* NULL ends the table */
    enum ph_setting_type type;
    unsigned flags;
    size_t offset;            /* of the field in the conf struct */
    const char *def;          /* default in file syntax; NULL = zero value */
    int64_t min, max;         /* INT, SIZE (bytes), TIME (ms); both 0 = unbounded */
    const char *const *names; /* ENUM: NULL-terminated */
    const char *doc;          /* one or more sentences */
};

#define PH_C_BOOL bool
#define PH_C_INT int64_t
#define PH_C_SIZE uint64_t /* bytes; units K M G */
#define PH_C_TIME uint64_t /* milliseconds; units ms s min h d w */
#define PH_C_TEXT const char *
#define PH_C_SECRET const char *
#define PH_C_ENUM int
/* A field of the wrong C type is a compile error (_Generic has no match). */
#define PH_OFF(T, S, f) (offsetof(struct S, f) + _Generic(&((struct S *)0)->f, PH_C_##T * : 0u))
#define PH_SETTING(T, S, f, fl, df, lo, hi, dc)                                                    \
    {                                                                                              \
        .name = #f, .type = PH_##T, .flags = (fl), .offset = PH_OFF(T, S, f), .def = (df),         \
        .min = (lo), .max = (hi), .doc = (dc)                                                      \
    }
#define PH_SETTING_ENUM(S, f, fl, df, nm, dc)                                                      \
    {                                                                                              \
        .name = #f, .type = PH_ENUM, .flags = (fl), .offset = PH_OFF(ENUM, S, f), .def = (df),     \
        .names = (nm), .doc = (dc)                                                                 \
    }
#define PH_SETTING_END                                                                             \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* ---- Points and verdicts. */
enum ph_point {
    PH_CONNECT,  /* a client has connected; before the greeting. DEFER, REJECT: 421, 554, and the
                    connection ends */
    PH_HELO,     /* EHLO or HELO */
    PH_AUTH,     /* a login was checked: auth_user, auth_failed; before it is answered */
    PH_MAIL,     /* MAIL FROM */
    PH_RCPT,     /* RCPT TO, once for each recipient that the server itself would take */
    PH_MESSAGE,  /* the whole message is here; before it is acknowledged */
    PH_OUTBOUND, /* mail that leaves: once for each message and kind of route; what went into
                    quarantine here, again when it is released */
    PH_POINTS
};
#define PH_AT(point) (1u << (point))

enum ph_verdict {                /* in order of severity */
                  PH_PASS,       /* nothing against it */
                  PH_ACCEPT,     /* wanted: settles it */
                  PH_JUNK,       /* into the Junk folder of each recipient */
                  PH_QUARANTINE, /* kept for the admin (posthouse quarantine), not delivered */
                  PH_DISCARD,    /* acknowledged and dropped */
                  PH_DEFER,      /* 4xx: try again later */
                  PH_REJECT,     /* 5xx */
                  PH_VERDICTS
};

/* One stage's turn at one point. An id, never used again: an answer for a turn that is over finds
 * nothing. */
typedef struct {
    uint64_t id; /* 0: no turn */
} ph_turn;

/* ---- What a stage sees. No pointer in it is NULL; what isn't known (yet) is "" or 0. Fields are
 * only ever added at the end: look at `size` before using one that your header has and an older
 * server may not. */
struct ph_view {
    size_t size;
    uint64_t session,
        message; /* ids, as in the log, the 250 reply and Received; message: from MAIL on */
    const char *client_ip;   /* "192.0.2.7", "2001:db8::1" */
    const char *client_name; /* its name in DNS, when that was looked up and leads back */
    const char *port;        /* "smtp", "submission", "submissions": the listener's name */
    const char
        *service; /* "reception", "submission", "open" (the test port of posthouse dev), "imap" */
    const char *tls; /* "TLSv1.3 ..." */
    const char *helo;
    const char *auth_user;    /* the account; at PH_AUTH the name that was tried */
    bool auth_failed;         /* at PH_AUTH */
    const char *mail_from;    /* "local@domain"; "" for the null sender */
    const char *rcpt;         /* at PH_RCPT: the one in question */
    const char *const *rcpts; /* accepted so far, NULL-terminated */
    size_t n_rcpts;
    uint64_t message_size; /* from PH_MESSAGE on, in octets; before: what MAIL's SIZE said */
    const char *head;      /* header block as received, with its empty line; not terminated */
    size_t head_size;
    /* Copies up to n octets of the message (head and body, as received) from `offset` to `to`. How
     * many: fewer only at the end; -1: it can't be read. Small messages lie in memory, large ones
     * in a file: loop style reads little. [any] */
    int64_t (*read)(const struct ph_view *, uint64_t offset, void *to, size_t n);
    bool utf8;        /* the transaction has SMTPUTF8 (RFC 6531) */
    const char *host; /* this server's name, as in Received */
    bool trusted;     /* the client is in one of the administrator's guard.trusted */
    /* At PH_OUTBOUND: "submission" (sent by who may send from here), "forward" (from outside, by an
     * alias to another host), "own" (a report or notice of this server; no client brought it). */
    const char *route;
    /* At PH_RCPT: where a global alias (posthouse policy alias) leads it: "a@example.org, ..." */
    const char *leads_to;
    const char *origin; /* the domain of addresses that come without one (main.origin) */
    /* At PH_RCPT: the accounts of this server that it is for in the end, NULL-terminated. */
    const char *const *accounts;
    size_t n_accounts;
};

/* What a stage wants done besides its verdict; it adds up over all stages. See the functions in
 * struct ph_host. */
struct ph_acts;

/* Lane style: what work() fills in. Zeroed, it is PASS. */
struct ph_result {
    size_t size;
    enum ph_verdict verdict;
    char reply[256];  /* DEFER, REJECT: "450 4.7.1 Text"; "": the server's own words */
    char reason[256]; /* why, for the log and `posthouse explain` */
    struct ph_acts *acts;
};

struct ph_err {
    char text[240]; /* one sentence that says what to do */
};

/* ---- DNS: questions are put by host->dns(). An answer lives during the call of fn. */
enum ph_dns_type {
    PH_DNS_A = 1,
    PH_DNS_PTR = 12,
    PH_DNS_MX = 15,
    PH_DNS_TXT = 16,
    PH_DNS_AAAA = 28
};
enum ph_dns_status {
    PH_DNS_FOUND,      /* records */
    PH_DNS_NO_DATA,    /* the name exists, nothing of this type */
    PH_DNS_NO_NAME,    /* it doesn't exist */
    PH_DNS_BOGUS,      /* DNSSEC says it is forged, or the zone is broken: temporary */
    PH_DNS_FAILED,     /* no answer in time, or none that can be used: temporary */
    PH_DNS_OVER_BUDGET /* this turn may ask no more */
};
struct ph_dns_record {
    const char *ip;      /* A, AAAA: as text */
    const char *name;    /* PTR, MX: lower case, no trailing dot, odd octets as \DDD (dns() takes
                            them so); "." for the root (null MX) */
    uint16_t preference; /* MX */
    const char *text;    /* TXT: its strings joined; may hold any octet */
    size_t text_size;    /* of it; a NUL follows that isn't counted */
};
struct ph_dns_answer {
    size_t size;
    enum ph_dns_status status;
    bool secure;      /* DNSSEC proved it, an absence too */
    uint32_t ttl;     /* s */
    const char *name; /* where CNAMEs led; "": nowhere else */
    size_t n;
    const struct ph_dns_record *const *records; /* in the order of the server */
    const char *why;                            /* BOGUS, FAILED: for the log */
};

/* ---- Probes: host->probe() asks the hosts of an address's domain. An answer lives during the call
 * of fn. */
enum ph_probe_result {
    PH_PROBE_TAKEN,
    PH_PROBE_REFUSED,   /* there is no such address, or no mail can be sent to its domain */
    PH_PROBE_TEMPORARY, /* try later: 4xx, no host answers, no time */
    PH_PROBE_UNKNOWN    /* it can't be found out */
};
struct ph_probe_answer {
    size_t size;
    enum ph_probe_result result;
    bool sender_refused; /* UNKNOWN: because the host takes no mail from that sender */
    const char *text;    /* the host and what it said, or what happened; printable */
};

/* ---- Services of the server. The table only grows at its end: `size` says what is there (PH_HAS).
 * Its first argument is always the host that was given to open(). */
enum ph_log_level { PH_LOG_ERROR, PH_LOG_WARN, PH_LOG_INFO, PH_LOG_DEBUG };
struct ph_host {
    size_t size;
    /* One line in the server's log, with the ids of the view (NULL: none). Never passwords, nor
     * text of messages. [any] */
    void (*log)(const struct ph_host *, const struct ph_view *, enum ph_log_level, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));

    /* -- Loop style: the turn. */
    const struct ph_view *(*view)(const struct ph_host *, ph_turn); /* NULL: it is over */
    void *(*memory)(const struct ph_host *,
                    ph_turn); /* its turn_size bytes, zeroed at first; NULL: it is over */
    struct ph_acts *(*acts)(const struct ph_host *, ph_turn); /* NULL: it is over */
    /* The answer; ends the turn. reply: as in ph_result, or NULL. reason: or NULL. */
    void (*done)(const struct ph_host *, ph_turn, enum ph_verdict, const char *reply,
                 const char *reason);
    /* Calls fn(inst, turn, arg) on the loop after ms, unless the turn is over by then. A turn with
     * id 0: a timer of the instance, which lives until close(). -1: the turn is over, or too many
     * timers (64 a turn or instance). */
    int (*after)(const struct ph_host *, ph_turn, uint64_t ms,
                 void (*fn)(void *inst, ph_turn, void *arg), void *arg);

    /* -- Both styles: acts. -1: not well-formed, or the turn is over, and nothing else happens; or
     * too much (256 KB a turn): then the turn fails (on_error) whatever it answers, unless that is
     * worse. [any: that of the turn] */
    int (*header_add)(struct ph_acts *, const char *name,
                      const char *value); /* at the end of the head */
    /* Before the field with this index of the head as received; 0: on top (of that, below our
     * Received). */
    int (*header_insert)(struct ph_acts *, unsigned index, const char *name, const char *value);
    /* The nth (from 1) field of that name gets a new value. One that isn't there is added. */
    int (*header_change)(struct ph_acts *, const char *name, unsigned nth, const char *value);
    int (*header_delete)(struct ph_acts *, const char *name,
                         unsigned nth); /* 0: all of that name */
    int (*body_replace)(struct ph_acts *, const void *data,
                        size_t n); /* all after the head; whole lines with CRLF */
    int (*rcpt_add)(struct ph_acts *, const char *address);
    int (*rcpt_delete)(struct ph_acts *, const char *address);   /* as it was given in RCPT */
    int (*sender_change)(struct ph_acts *, const char *address); /* "": null sender */
    int (*score)(struct ph_acts *, double points); /* added to the transaction's score */
    int (*tag)(struct ph_acts *,
               const char *word); /* a word for the field X-Posthouse-Tags; no blanks */
    /* Facts: kept with the verdict, read by stages that come after. Names are "stage.what". */
    int (*fact_set)(struct ph_acts *, const char *name, const char *value);
    const char *(*fact_get)(struct ph_acts *, const char *name); /* NULL: nobody has set it */

    /* -- The stage's own small table of keys and values, kept in memory and, a moment later, in the
     * database, so that it outlives a restart. At most 100 000 entries, keys up to 256 and values
     * up to 4096 octets. Servers that share a database share the table: each has in memory what
     * another one set about two seconds ago; of one entry that two change within that time the
     * last one stays, unless kv_merge says more. [any] */
    int64_t (*kv_get)(const struct ph_host *, const void *key, size_t key_n, void *to,
                      size_t room); /* its length, or -1: none */
    int (*kv_set)(const struct ph_host *, const void *key, size_t key_n, const void *value,
                  size_t n, uint64_t keep_ms); /* keep_ms 0: until it is deleted */
    int (*kv_delete)(const struct ph_host *, const void *key, size_t key_n);
    /* Visits all, in no order, until fn answers false; fn may call kv_get, but change nothing. */
    void (*kv_each)(const struct ph_host *,
                    bool (*fn)(void *ctx, const void *key, size_t key_n, const void *value,
                               size_t n),
                    void *ctx);

    /* -- Loop style: DNS. Asks the server's one resolver, which caches and validates. fn comes
     * later, on the loop, once, unless the turn is over by then; with it go the questions that are
     * on their way. Names: ASCII (U-labels converted), a trailing dot is optional; for PTR also an
     * IP address. All the questions of a turn are at the expense of its budget (ph_stage.dns_*);
     * what can't be asked is answered too: over the budget by OVER_BUDGET, something that isn't a
     * name by NO_NAME, all in a server without resolver by FAILED. -1: the turn is over, the stage
     * is of lane style or has no budget, or 256 of its questions wait. Lane style has no DNS: ask
     * in a stage of loop style before it, and hand the answer on as a fact. */
    int (*dns)(const struct ph_host *, ph_turn, enum ph_dns_type, const char *name,
               void (*fn)(void *inst, ph_turn, const struct ph_dns_answer *, void *arg), void *arg);

    /* -- Loop style: failure, and what lasts for a session. */
    /* Ends the turn by on_error, as if its deadline had passed, or by `verdict` and `reply` where
     * these are worse: PH_PASS and NULL if nothing is known. Acts count. why: for the log. */
    void (*failed)(const struct ph_host *, ph_turn, enum ph_verdict verdict, const char *reply,
                   const char *why);
    /* The stage's own pointer of this session, for all its turns; NULL at first. See session_over()
     * in struct ph_stage. NULL: the turn is over. */
    void **(*session)(const struct ph_host *, ph_turn);

    /* -- Loop style: work that blocks or takes long, on a thread of the stage's lane, which it must
     * name. run() there, with the view of this point; then done() on the loop, unless the turn is
     * over by then; at last release() (or NULL) on the loop in any case, which may be after
     * close(). What run() uses lies in arg. One at a time in a turn; it must end by the deadline as
     * work() must. -1: it isn't taken, arg stays yours: the turn is over, or, the lane being full,
     * on_error has just answered it. */
    int (*job)(const struct ph_host *, ph_turn,
               void (*run)(void *inst, const struct ph_view *, void *arg),
               void (*done)(void *inst, ph_turn, void *arg), void (*release)(void *arg), void *arg);

    /* -- Loop style: would mail for this address be taken? Asks the mail hosts of its domain, as
     * far as RCPT, over the routes and with the TLS that mail would take; nothing is sent. sender:
     * of MAIL; "" for the null sender, as it should be: nobody asks about that one in turn.
     * Addresses of ours are looked up. Answers aren't kept: that is the stage's business, and so is
     * asking seldom. fn comes later, on the loop, once, at the latest after ms, unless the turn is
     * over by then. A server that sends nothing answers UNKNOWN. -1: the turn is over, or 8 of its
     * probes are under way. */
    int (*probe)(const struct ph_host *, ph_turn, const char *address, const char *sender,
                 uint64_t ms,
                 void (*fn)(void *inst, ph_turn, const struct ph_probe_answer *, void *arg),
                 void *arg);

    /* How many entries the stage's table has; of those that are over some. [any] */
    size_t (*kv_count)(const struct ph_host *);
};
#define PH_HAS(host, service)                                                                      \
    ((host)->size >= offsetof(struct ph_host, service) + sizeof((host)->service))

/* ---- A stage. */
#define PH_STAGE_ABI 1u
enum {
    PH_ALWAYS =
        1u << 0, /* runs whatever was decided, and its verdict counts: virus, signing, trace */
    PH_UNLESS_ACCEPTED =
        1u << 1, /* isn't asked once the transaction is settled by ACCEPT: greylisting */
    /* Judges who sends, not what is sent: none of its verdicts counts where a rule of the
     * administrator (posthouse policy add allow) lets the sender in. It waits for stage policy, and
     * what it refuses at MAIL may be answered at RCPT, as rules can be for recipients. */
    PH_ABOUT_SENDER = 1u << 2
};
struct ph_stage {
    uint32_t abi, size, setting_size; /* PH_STAGE_HEAD */
    uint32_t points;                  /* PH_AT() of each, or-ed */
    uint32_t flags;
    const char *name;  /* of its section in the configuration: a-z, 0-9, '_', up to 31 */
    const char *doc;   /* one sentence or more, for the manual */
    const char *lane;  /* whose threads: stages that name the same lane share them (2). NULL: in
                          lane style its own, 2; in loop style none, and no job() */
    const char *after; /* "spf,dkim": waits for these where they have a turn at the same point; "*":
                          for all but those that do so too. NULL: for none */
    const struct ph_setting *settings; /* or NULL */
    size_t conf_size; /* of the struct that they fill; it lives as long as the sessions that began
                         with it */
    size_t turn_size; /* loop style: bytes for each turn, instead of globals */
    /* One instance a process. -1: can't be used as configured; err says why and what to do, and the
     * server doesn't start. NULL: the instance is NULL. conf lives until reload() or close(). */
    int (*open)(const struct ph_host *, const void *conf, void **inst, struct ph_err *err);
    /* New settings for the sessions to come. -1: they are refused, and the old ones stay in force
     * everywhere. NULL: nothing to do. */
    int (*reload)(void *inst, const void *new_conf, struct ph_err *err);
    void (*close)(void *inst);
    /* Exactly one of these two. conf: the one that the session began with. */
    void (*on_point)(void *inst, const void *conf, ph_turn, enum ph_point);
    void (*work)(void *inst, const void *conf, enum ph_point, const struct ph_view *,
                 struct ph_result *);
    /* Loop style: this turn is over without your answer (client gone, deadline, stopped by
     * another). It can still be read in here. */
    void (*cancel)(void *inst, ph_turn);
    /* What each turn may ask of the DNS; the administrator can change it (dns_queries, dns_voids,
     * dns_time in the stage's section). 0 queries: it doesn't ask. */
    uint32_t dns_queries; /* questions */
    uint32_t dns_voids;   /* of them without records (NO_DATA, NO_NAME); 0: no limit */
    uint64_t dns_ms; /* from the beginning of the turn, after which all are FAILED; 0: no limit */
    /* Loop style: a session in which session() was set to something is over; no turn of it runs. */
    void (*session_over)(void *inst, void *session);
    /* True: as configured it has nothing to do, and isn't run, as with mode = off. NULL: it always
     * has. */
    bool (*idle)(const void *conf);
    /* How many threads its lane has, if it is the first that names it, as configured at the start.
     * NULL: 2. */
    unsigned (*threads)(const void *conf);
    /* What the types of the settings don't tell: -1 if they can't be used, whatever the instance;
     * err says which one, why and what to do. Pure, any thread. Comes before open() and before any
     * reload(), and at --check-config, where nothing is opened. NULL: all can. */
    int (*check)(const void *conf, struct ph_err *err);
    /* Another server that shares the database has set an entry that this one has, too: writes to
     * `out` (4096 octets) what both together come to, and returns its length. Either side may be
     * the older one; both servers must come to the same, whoever begins, and what comes out, put in
     * again, must stay as it is. Loop; may call kv_get and kv_count, and no more. NULL: the other's
     * counts, if it was set later. */
    size_t (*kv_merge)(void *inst, const void *key, size_t key_n, const void *own, size_t own_n,
                       const void *other, size_t other_n, void *out);
};
#define PH_STAGE_HEAD                                                                              \
    .abi = PH_STAGE_ABI, .size = sizeof(struct ph_stage), .setting_size = sizeof(struct ph_setting)
/* PH_EXPORT const struct ph_stage ph_stage_export = {...}; */
#define PH_EXPORT __attribute__((visibility("default")))
#endif
