/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* cmd.h - the commands of the session and of mailboxes; the message commands have headers of their
 * own. Floor 5 (imap). Threads: as command.h says of its callbacks. */
#ifndef PH_IMAP_CMD_H
#define PH_IMAP_CMD_H
#include "imap/command.h"

/* cmd_misc.c */
void noop_parse(struct imap_command *cmd, struct imap_cursor *args); /* also CHECK */
void capability_parse(struct imap_command *cmd, struct imap_cursor *args);
void id_parse(struct imap_command *cmd, struct imap_cursor *args);
void logout_parse(struct imap_command *cmd, struct imap_cursor *args);
void namespace_parse(struct imap_command *cmd, struct imap_cursor *args);
void enable_parse(struct imap_command *cmd, struct imap_cursor *args);
/* cmd_login.c */
void login_parse(struct imap_command *cmd, struct imap_cursor *args);
void authenticate_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work login_work(struct imap_command *cmd, struct store_reader *r);
struct store_op *login_write(struct imap_command *cmd);
void login_finish(struct imap_command *cmd);
/* cmd_starttls.c */
void starttls_parse(struct imap_command *cmd, struct imap_cursor *args);
/* cmd_select.c */
void select_parse(struct imap_command *cmd, struct imap_cursor *args);
void examine_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work select_work(struct imap_command *cmd, struct store_reader *r);
struct store_op *select_write(struct imap_command *cmd);
void select_finish(struct imap_command *cmd);
void close_parse(struct imap_command *cmd, struct imap_cursor *args);
struct store_op *close_write(struct imap_command *cmd);
void unselect_parse(struct imap_command *cmd, struct imap_cursor *args);
/* cmd_list.c */
void list_parse(struct imap_command *cmd, struct imap_cursor *args);
void lsub_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work list_work(struct imap_command *cmd, struct store_reader *r);
/* cmd_mailbox.c */
void create_parse(struct imap_command *cmd, struct imap_cursor *args);
void delete_parse(struct imap_command *cmd, struct imap_cursor *args);
void rename_parse(struct imap_command *cmd, struct imap_cursor *args);
void subscribe_parse(struct imap_command *cmd, struct imap_cursor *args);
void unsubscribe_parse(struct imap_command *cmd, struct imap_cursor *args);
struct store_op *mailbox_write(struct imap_command *cmd);
void mailbox_finish(struct imap_command *cmd);
/* cmd_status.c */
void status_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work status_work(struct imap_command *cmd, struct store_reader *r);
/* cmd_append.c */
void append_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work append_work(struct imap_command *cmd, struct store_reader *r);
struct store_op *append_write(struct imap_command *cmd);
void append_finish(struct imap_command *cmd);
/* cmd_idle.c */
void idle_parse(struct imap_command *cmd, struct imap_cursor *args);
void idle_finish(struct imap_command *cmd);
/* cmd_quota.c */
void getquota_parse(struct imap_command *cmd, struct imap_cursor *args);
void getquotaroot_parse(struct imap_command *cmd, struct imap_cursor *args);
void setquota_parse(struct imap_command *cmd, struct imap_cursor *args);
enum imap_work quota_work(struct imap_command *cmd, struct store_reader *r);
#endif
