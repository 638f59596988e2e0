/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* authres.h - Authentication-Results (RFC 8601): results put into words, and fields read so far as
 * to know who speaks. Floor 4 (filters). Threads: any (pure). Input is hostile.
 *
 * A stage that authenticates writes its results into a buf and tells them as the fact
 * "<method>.authres"; the stage `authres` makes one field of all of them:
 *
 *     authres_result(&b, "dkim", "fail", STR("body has been altered"));
 *     authres_property(&b, "header.d", STR("example.com"));
 *     host->fact_set(acts, "dkim.authres", buf_z(&b));
 *
 * Several results of one method follow one another in the same buf. */
#ifndef PH_FILTERS_AUTHRES_H
#define PH_FILTERS_AUTHRES_H
#include "appliance/base/buf.h"

struct ph_acts;
struct ph_host;

enum { AUTHRES_LIMIT = 4000, AUTHRES_VALUE_LIMIT = 300 }; /* of a fact; of one value */
enum { AUTHRES_ALL = 32 << 10 };                          /* of all facts */

/* method and result are the house's own words; the comment may be anybody's, or empty. */
void authres_result(struct buf *out, const char *method, const char *result, struct str comment);
/* name: "smtp.mailfrom". Quoted where need be; what isn't visible ASCII becomes '?'. */
void authres_property(struct buf *out, const char *name, struct str value);
/* A text of results as a field's value, folded: lines end before a result, and before a property
 * that would make them long. */
void authres_fold(struct str id, struct str results, struct buf *out);

/* What all stages have told about a message, as the text for authres_fold(). */
void authres_gather(const struct ph_host *host, struct ph_acts *acts, struct buf *out);

/* One result of somebody else's field. */
struct authres_one {
    struct str method, result;
    struct str properties; /* what follows them */
};
/* Takes the next result off *rest, a field's value; what is none (the authserv-id) is passed over.
 */
bool authres_next(struct str *rest, struct authres_one *out);
/* The value of "header.from", without its quotes. Empty: it isn't there, or not well-formed. */
struct str authres_get(const struct authres_one *one, const char *property);

/* Who speaks in this field: the authserv-id, unquoted, into out. -1: it can't be made out. */
int authres_id(struct str value, struct buf *out) __attribute__((warn_unused_result));
/* Would somebody take this field for ours? So also if it can't be read. */
bool authres_is_from(struct str value, struct str id);
#endif
