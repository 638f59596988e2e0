/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* body.h - the text of messages. A message read back is: prefix (this recipient's own headers) +
 * head + data. Floor 3 (store). Writing (struct body_sink): loop only; large data goes to its file
 * on lane body while it arrives. Reading (struct body_reader): with a reader, on its thread. head:
 * the header block with its empty line; data: everything after it, never changed. Bodies are shared
 * by all recipients and copies; refs are kept by message.h. */
#ifndef PH_STORE_BODY_H
#define PH_STORE_BODY_H
#include "appliance/base/buf.h"
#include "appliance/mail/mime.h"
#include "appliance/store/store.h"

enum { BODY_HEAD_MAX = 1 << 20 };

struct body_sink;
enum body_put {
    BODY_MORE, /* go on */
    BODY_WAIT, /* taken, but let the sender pause until on_ready */
    BODY_FAIL /* body_sink_error(): over the limit (ERR_WHY_LIMIT), header block over BODY_HEAD_MAX,
                 disk, or it gave way as space ran short (ERR_WHY_NO_SPACE; it may do so between
                 two puts: look at body_sink_error() at the end). Later puts are ignored */
};
/* on_ready: the writer caught up after BODY_WAIT. `limit`: largest message in bytes as received. */
struct body_sink *body_sink_new(struct store *s, uint64_t limit, void (*on_ready)(void *ctx),
                                void *ctx);
/* It will be about so large (SIZE, a literal): others aren't let in for that room. Before the first
 * put. */
void body_sink_announce(struct body_sink *b, uint64_t size);
enum body_put body_sink_put(struct body_sink *b, struct str bytes);
/* As much of *rest as it takes, in pieces: *rest is what is left. MORE: nothing is. */
enum body_put body_sink_put_pieces(struct body_sink *b, struct str *rest);
const struct err *body_sink_error(const struct body_sink *b);
uint64_t body_sink_size(const struct body_sink *b); /* bytes received */
size_t body_sink_memory(const struct body_sink *b); /* bytes of memory that it holds */
/* The end: after it, the head may be read and edited (trace headers, missing Date), until the sink
 * is submitted. */
void body_sink_end(struct body_sink *b);
struct str body_sink_head(const struct body_sink *b);
void body_sink_head_prepend(struct body_sink *b, struct str fields); /* whole fields with CRLF */
void body_sink_head_append(struct body_sink *b, struct str fields);  /* before the empty line */
void body_sink_head_remove(struct body_sink *b, struct str name);    /* all fields of that name */
/* Another head, whole with its empty line. Until the sink is flushed. */
void body_sink_head_replace(struct body_sink *b, struct str head);
/* The data, complete, before it is flushed: in memory, or (after body_sink_flush_data) in a file.
 * False: it is in a file. */
bool body_sink_data(const struct body_sink *b, struct str *out);
uint64_t body_sink_data_size(const struct body_sink *b);
int body_sink_open_data(const struct body_sink *b); /* descriptor, the caller's; -1: errno */
/* Makes only the data durable, as body_sink_flush does, which must follow; until then the head may
 * still be edited. */
void body_sink_flush_data(struct body_sink *b,
                          void (*on_flushed)(void *ctx, const struct err *failed), void *ctx);
/* Makes data durable and encodes meta: on_flushed(ctx, err or NULL) later on the loop; then
 * body_insert_tx may use it. At once (on the next turn) for inline data. */
void body_sink_flush(struct body_sink *b, void (*on_flushed)(void *ctx, const struct err *failed),
                     void *ctx);
/* Frees it; data that no committed row refers to is removed. Allowed at any time, also with a flush
 * under way (on_flushed then doesn't come), but not while an operation that was submitted with it
 * is unanswered. */
void body_sink_free(struct body_sink **b);

/* Commit thread: inserts the body once per sink and transaction attempt; refs start at 0 and are
 * raised by message_insert_tx. */
int body_insert_tx(struct store_tx *tx, struct body_sink *b, uint64_t *id_out, struct err *err)
    __attribute__((warn_unused_result));

struct body_reader {
    uint64_t id, data_size;
    struct str head, meta; /* in the arena given */
    /* private */
    int fd;
    struct str data; /* inline data, in the arena */
    bool data_loaded, in_file;
    struct store_reader *r;
    struct arena *a;
};
enum {
    BODY_WANT_META = 1,
    BODY_WANT_HEAD = 2,
    BODY_WANT_DATA = 4
}; /* each costs a row: ask for what is needed */
int body_open(struct store_reader *r, struct arena *a, uint64_t id, unsigned want,
              struct body_reader *out, struct err *err) __attribute__((warn_unused_result));
/* Up to n bytes of data from `offset`: a view valid until the next read or close (files: into
 * `buf`, cleared first). Short only at the end. */
int body_read(struct body_reader *b, uint64_t offset, size_t n, struct buf *buf, struct str *out,
              struct err *err) __attribute__((warn_unused_result));
/* The descriptor of data that lies in a file, from now on the caller's, who reads it with pread();
 * -1: the data is inline. Of a reader opened with BODY_WANT_DATA; its own reads of data are over.
 */
int body_take_file(struct body_reader *b);
void body_close(struct body_reader *b); /* the arena's memory stays */
/* The MIME tree: decoded from meta, or scanned anew when meta is missing or of another version. */
int body_structure(struct body_reader *b, struct arena *a, struct mime_part **root_out,
                   struct err *err) __attribute__((warn_unused_result));
#endif
