/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_session.h - what the files of the store's end share (import_server.c reads the stream,
 * import_server_put.c takes messages, import_server_ask.c answers the rest). Floor 6 (app).
 * Threads: loop; a job's own fields are its worker's while it runs. */
#ifndef PH_APP_IMPORT_SESSION_H
#define PH_APP_IMPORT_SESSION_H
#include "appliance/app/import_server.h"
#include "appliance/base/buf.h"
#include "appliance/store/import.h"
#include <jansson.h>

enum { IMPORT_LINE_MAX = 64 << 10, IMPORT_CHUNK_MAX = 1 << 20 };

struct import_entry { /* a message, or a change of one, on its way to the store */
    struct list link;
    struct import_session *session;
    struct arena *mem;
    struct import_item item;
    size_t bytes;
    bool ready, file, dropped;
    struct err err; /* it can't be stored */
};
struct import_session {
    struct import_server_env env;
    struct conn *conn; /* NULL: closed */
    void (*on_end)(void *ctx);
    void *ctx;
    struct loop_defer end;
    bool feeding, sink_full;
    /* the text that arrives */
    struct import_entry *current;
    uint64_t chunk_left;
    /* what has arrived, in order; then what is being committed */
    struct list queue, batch_list;
    size_t n_queue, queue_bytes;
    unsigned files; /* of them, those being flushed to their files */
    /* what it is imported into */
    struct arena *target_mem;
    struct str account, source;
    uint64_t account_id, mailbox;
    uint32_t uidvalidity, uidvalidity_now; /* the source's; ours */
    /* one at a time */
    bool busy;
    struct import_mailbox open;
    struct import_batch batch;
    struct import_item **items;
    struct import_end finish;
    struct import_change {
        struct store_op op;
        struct str account, name;
    } change;
    struct arena *ask_mem;
    struct import_ask {
        struct job job;
        void (*work)(struct import_session *s, struct store_reader *r);
        json_t *request, *answer;
        struct err err;
        struct buf out;     /* text for the client, before or instead of `answer` */
        bool more, waiting; /* to be run again; when the client has read what there is */
        uint64_t id, offset;
        uint32_t next;
        bool begun;
    } ask;
};
void import_session_go_on(
    struct import_session *s); /* something has ended: look what can be done */
void import_session_answer(struct import_session *s, json_t *answer); /* takes it */
void import_session_refuse(struct import_session *s, const struct err *err);
void import_session_break(struct import_session *s,
                          const char *why); /* the client talks nonsense */

/* import_server_put.c. These take no answer yet: it comes when the message is committed. */
void import_put(struct import_session *s, enum import_what what, json_t *request);
void import_put_text(struct import_session *s, struct str bytes);
void import_put_end(struct import_session *s, bool drop);
void import_put_commit(struct import_session *s); /* what is ready, if nothing is under way */
bool import_put_full(const struct import_session *s);
void import_put_free(struct import_session *s);

/* import_server_ask.c: nothing else is under way. False: no such request. */
bool import_ask(struct import_session *s, const char *what, json_t *request);
void import_ask_drained(struct import_session *s);
void import_ask_stop(struct import_session *s); /* the client is gone */
void import_ask_free(struct import_session *s);
/* export_server.c: work of jobs. */
void import_read_accounts(struct import_session *s, struct store_reader *r);
void import_read_folders(struct import_session *s, struct store_reader *r);
void import_read_messages(struct import_session *s, struct store_reader *r);
#endif
