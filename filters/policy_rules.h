/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* policy_rules.h - allow and deny rules: as they are written, and which of many decides.
 * Floor 4 (filters). Threads: any (pure); a set never changes.
 * Those for a recipient's address count more than those for its domain, and these more than those
 * for all. Among equals the more exact rule of each kind counts (an address more than its domain, a
 * small network more than a large one), and of these one that allows more than one that denies. */
#ifndef PH_FILTERS_POLICY_RULES_H
#define PH_FILTERS_POLICY_RULES_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/err.h"

enum { POLICY_RULES_MAX = 100000, POLICY_TEXT = 320, POLICY_REASON = 180 };
enum policy_action { POLICY_DENY, POLICY_ALLOW };
enum policy_kind {
    POLICY_SENDER,    /* of MAIL */
    POLICY_RECIPIENT, /* of RCPT */
    POLICY_NETWORK,   /* of the client */
    POLICY_HELO,
    POLICY_KINDS
};
struct policy_rule {
    enum policy_action action;
    enum policy_kind kind;
    struct str value;         /* folded: policy_value_parse() */
    struct str scope;         /* "": for all; "@domain", "local@domain": for these recipients */
    struct str reason;        /* told to whom is refused; empty: words of our own */
    int64_t created, expires; /* s; expires 0: never */
};
const char *policy_action_name(enum policy_action a);
const char *policy_kind_name(enum policy_kind k);
bool policy_action_parse(struct str word, enum policy_action *out);
bool policy_kind_parse(struct str word, enum policy_kind *out);

/* A word of people to what the rule has. Sender, recipient: "ann@example.org"; "@example.org";
 * "@.example.org": with all below; sender also "<>". Network: "192.0.2.1", "2001:db8::/32". Helo: a
 * name, ".example.org" with all below, "[192.0.2.1]". Memory from a. */
int policy_value_parse(struct arena *a, enum policy_kind k, struct str word, struct str *out,
                       struct err *err) __attribute__((warn_unused_result));
/* "ann@example.com", "example.com", "@example.com"; empty or "all": "". */
int policy_scope_parse(struct arena *a, struct str word, struct str *out, struct err *err)
    __attribute__((warn_unused_result));
/* Printable ASCII, as it goes into a reply. */
int policy_reason_check(struct str reason, struct err *err) __attribute__((warn_unused_result));
/* "deny sender @example.org", "... for ann@example.com" */
void policy_rule_text(const struct policy_rule *r, struct buf *out);

struct policy_set;
struct policy_set *policy_set_new(const struct policy_rule *rules, size_t n); /* copies them */
void policy_set_free(struct policy_set **s);
size_t policy_set_count(const struct policy_set *s);

struct policy_subject {
    const char *ip;
    struct str sender, rcpt, helo; /* as clients write them; .p NULL: not known yet, no rule fits;
                                      sender "": the null sender */
    /* The account that the recipient leads to: rules for it hold, too. .n 0: none, or several. */
    struct str account;
    /* It is forged, or may be: no rule that allows this sender, or this name in HELO, counts. */
    bool sender_unproven, helo_unproven;
    int64_t now; /* s */
};
/* Is there a rule that allows something and can't be applied before RCPT? */
bool policy_set_waits(const struct policy_set *s);
/* The rule for a recipient that leads to these accounts: those for an account hold for mail that
 * an alias brings there; where it brings it to several, those that all of them agree about. NULL:
 * none. */
const struct policy_rule *policy_set_find_for(const struct policy_set *s,
                                              const struct policy_subject *about,
                                              const char *const *accounts, size_t n);
/* NULL: none. Without rcpt only those for all are looked at. */
const struct policy_rule *policy_set_find(const struct policy_set *s,
                                          const struct policy_subject *about);
#endif
