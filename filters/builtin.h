/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* builtin.h - the stages that are part of the program: a file each, and a line in registry.c. Floor
 * 4 (filters). */
#ifndef PH_FILTERS_BUILTIN_H
#define PH_FILTERS_BUILTIN_H
#include "filters/stage.h"

struct loop;
struct store;
/* The loop behind a host: for stages of the house that have connections of their own. */
struct loop *builtin_loop(const struct ph_host *host);
struct resolver;
/* The resolver, for questions that belong to no turn; NULL: there is none. */
struct resolver *builtin_resolver(const struct ph_host *host);
/* As configured now, does it run? A stage that is off stays open for the sessions there are. */
bool builtin_runs(const struct ph_host *host);
struct store *builtin_store(const struct ph_host *host); /* NULL: there is none */
bool builtin_sealed(const struct ph_host *host);         /* nothing may leave this machine */
/* Of stage policy: stages with PH_ABOUT_SENDER have no say. At CONNECT for the whole session, at
 * RCPT for that recipient; IF_PROVEN: once builtin_prove() was called at MESSAGE. Nothing happens
 * in shadow mode. */
enum builtin_allow { BUILTIN_ALLOW_NO, BUILTIN_ALLOW_IF_PROVEN, BUILTIN_ALLOW };
void builtin_allow(const struct ph_host *host, ph_turn turn, enum builtin_allow how);
void builtin_prove(const struct ph_host *host, ph_turn turn);
/* At MAIL: what they refuse waits for the recipients, as some may be allowed. */
void builtin_postpone(const struct ph_host *host, ph_turn turn);
/* At MESSAGE: is it allowed for all its recipients? */
bool builtin_allowed(const struct ph_host *host, ph_turn turn);
struct outside_seen;
struct runner;
const struct runner *builtin_runner(const struct ph_host *host); /* NULL: no programs can be run */
struct outside_seen *builtin_seen(const struct ph_host *host);   /* see outside.h */
struct filters;
/* The instance of a stage of the house; NULL: it isn't open. */
void *builtin_instance(const struct filters *f, const struct ph_stage *stage);

/* Ends the turn of a complete message as on_error = hold would: it is acknowledged, kept, and given
 * back to this stage later. */
void builtin_hold(const struct ph_host *host, ph_turn turn, const char *why);
void builtin_wake_held(const struct ph_host *host); /* now, not at the next round */
/* The points of the turn's transaction so far, and which stages gave them: "dnslist 4, rdns 1". */
double builtin_score(const struct ph_host *host, ph_turn turn, char *of_out, size_t size);
const char *builtin_folder(const struct ph_host *host); /* of the data; NULL: there is no store */
/* The folder of signatures, of the settings of stage clamav; "": none is used. */
const char *clamav_folder(const void *conf);

extern const struct ph_stage arc_stage;           /* arc.c: what forwarders say */
extern const struct ph_stage arc_seal_stage;      /* arc_seal.c: seals what is forwarded */
extern const struct ph_stage authres_stage;       /* authres_stage.c: Authentication-Results */
extern const struct ph_stage clamav_stage;        /* clamav.c: viruses */
extern const struct ph_stage dkim_stage;          /* dkim.c: signatures of what comes in */
extern const struct ph_stage dkim_sign_stage;     /* dkim_sign.c: signs what leaves */
extern const struct ph_stage dmarc_stage;         /* dmarc.c: policies of author domains */
extern const struct ph_stage dnslist_stage;       /* dnslist.c: what DNS lists say of the client */
extern const struct ph_stage exec_stage;          /* exec.c: programs of the administrator */
extern const struct ph_stage greylist_stage;      /* greylist.c: strangers come twice */
extern const struct ph_stage headers_stage;       /* headers.c: malformed head */
extern const struct ph_stage helo_stage;          /* helo.c: what the client calls itself */
extern const struct ph_stage limits_stage;        /* limits.c: rates */
extern const struct ph_stage milter_stage;        /* milter.c: filters of other programs */
extern const struct ph_stage policy_stage;        /* policy.c: allow and deny rules */
extern const struct ph_stage rdns_stage;          /* client_name.c: the client's name in the DNS */
extern const struct ph_stage rewrite_stage;       /* rewrite.c: addresses of users' mail */
extern const struct ph_stage score_stage;         /* score.c: what the points of others come to */
extern const struct ph_stage spf_stage;           /* spf.c: who may send for a domain */
extern const struct ph_stage verify_sender_stage; /* sender.c: does the sender exist? */
#endif
