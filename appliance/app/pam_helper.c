/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/pam_helper.h"
#include "appliance/app/privileges.h"
#include "appliance/base/log.h"
#include "appliance/base/mem.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef PH_PAM
#include <security/pam_appl.h>
#endif

/* A question is "user\0password\0"; the answer one octet. */
enum { QUESTION_MAX = 2048, PASSWORD_SECONDS = 10, ANSWER_SECONDS = PASSWORD_SECONDS + 5 };
enum answer { ANSWER_WRONG, ANSWER_RIGHT, ANSWER_FAILED };

bool pam_built_in(void)
{
#ifdef PH_PAM
    return true;
#else
    return false;
#endif
}

#ifdef PH_PAM
/* ---- in a process for one question */

static void free_replies(struct pam_response *list, int n)
{
    for (int i = 0; i < n; i++)
        mem_free(list[i].resp);
    mem_free(list);
}

/* PAM frees what it gets with free(3), which is what mem_free() is. */
static int converse(int n, const struct pam_message **messages, struct pam_response **out,
                    void *password)
{
    struct pam_response *list = mem_alloc((size_t)n * sizeof *list);

    for (int i = 0; i < n; i++)
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF) {
            list[i].resp = str_dup_z(str_from(password));
        } else if (messages[i]->msg_style == PAM_PROMPT_ECHO_ON) {
            free_replies(list, n); /* something that nobody can be asked */
            return PAM_CONV_ERR;
        }
    *out = list;
    return PAM_SUCCESS;
}

/* Guessing is slowed down by the sessions; here it would stop everybody. */
static void no_delay(int retval, unsigned usec, void *ctx)
{
    (void)retval;
    (void)usec;
    (void)ctx;
}

static enum answer ask_pam(const char *user, char *password)
{
    const struct pam_conv conversation = {.conv = converse, .appdata_ptr = password};
    union {
        void (*fn)(int, unsigned, void *);
        const void *item;
    } delay = {.fn = no_delay};
    pam_handle_t *h = NULL;
    int rc = pam_start("posthouse", user, &conversation, &h);

    if (rc == PAM_SUCCESS) {
        pam_set_item(h, PAM_FAIL_DELAY, delay.item);
        rc = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
        if (rc == PAM_SUCCESS)
            rc = pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
        pam_end(h, rc);
    }
    switch (rc) {
    case PAM_SUCCESS:
        return ANSWER_RIGHT;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_CRED_INSUFFICIENT:
        return ANSWER_WRONG;
    default: /* no such service, a directory behind PAM that is away ... */
        return ANSWER_FAILED;
    }
}

/* ---- in the helper */

static enum answer ask_apart(const char *user, char *password)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(PASSWORD_SECONDS);
        _exit((int)ask_pam(user, password));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) > ANSWER_FAILED)
        return ANSWER_FAILED;
    return (enum answer)WEXITSTATUS(status);
}

static void serve(int socket)
{
    char question[QUESTION_MAX];
    ssize_t n;

    while ((n = recv(socket, question, sizeof question, 0)) > 0) {
        char *password = memchr(question, 0, (size_t)n);
        bool whole = password && question[n - 1] == '\0' && password < question + n - 1;
        unsigned char octet =
            (unsigned char)(whole ? ask_apart(question, password + 1) : ANSWER_FAILED);
        explicit_bzero(question, sizeof question);
        if (send(socket, &octet, 1, MSG_NOSIGNAL) != 1)
            return;
    }
}

static void helper_main(int socket, pid_t parent)
{
    struct err err;

    if (socket > 3)
        close_range(3, (unsigned)socket - 1, 0);
    close_range((unsigned)socket + 1, ~0u, 0);
    prctl(PR_SET_NAME, "posthouse-pam", 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent)
        _exit(0);
    signal(SIGINT, SIG_IGN); /* of the terminal: it ends when the daemon does */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    if (geteuid() == 0 && privileges_keep_reading(&err) != 0)
        log_error(&(struct log_ctx){.module = "pam"}, "helper_failed", L_Z("why", err.text));
    else
        serve(socket);
    _exit(0);
}
#endif

/* ---- in the daemon */

static int ask(struct pam_helper *p, const char *question, size_t n, struct err *err)
{
    unsigned char octet;

    if (send(p->fd, question, n, MSG_NOSIGNAL) != (ssize_t)n || recv(p->fd, &octet, 1, 0) != 1) {
        /* An answer that comes late must not become the next one's. */
        close(p->fd);
        p->fd = -1;
        return ERR(err, ERR_TEMP, "the process that asks PAM is gone; restart posthouse");
    }
    if (octet == ANSWER_FAILED)
        return ERR(err, ERR_TEMP, "PAM can't say; is there a service posthouse in /etc/pam.d?");
    return octet == ANSWER_RIGHT;
}

static int check(void *ctx, struct str user, struct str password, struct err *err)
{
    struct pam_helper *p = ctx;
    char question[QUESTION_MAX];
    int rc;

    if (!user.n || !password.n || memchr(user.p, 0, user.n) || memchr(password.p, 0, password.n) ||
        user.n + password.n + 2 > sizeof question)
        return 0;
    memcpy(question, user.p, user.n);
    question[user.n] = '\0';
    memcpy(question + user.n + 1, password.p, password.n);
    question[user.n + 1 + password.n] = '\0';
    pthread_mutex_lock(&p->one);
    rc = p->fd < 0 ? ERR(err, ERR_TEMP, "the process that asks PAM is gone; restart posthouse")
                   : ask(p, question, user.n + password.n + 2, err);
    pthread_mutex_unlock(&p->one);
    explicit_bzero(question, sizeof question);
    return rc;
}

int pam_helper_start(struct pam_helper *p, struct err *err)
{
    int fds[2];

    p->fd = -1;
    if (!pam_built_in())
        return ERR(err, ERR_PERM, "directory.source = system: this posthouse is built without PAM");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return ERR(err, ERR_TEMP, "cannot make a socket pair: %s", strerror(errno));
#ifdef PH_PAM
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        helper_main(fds[1], parent);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return ERR(err, ERR_TEMP, "cannot start the process that asks PAM: %s", strerror(errno));
    }
#else
    close(fds[1]);
#endif
    setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = ANSWER_SECONDS},
               sizeof(struct timeval));
    p->fd = fds[0];
    pthread_mutex_init(&p->one, NULL);
    p->system = (struct directory_system){.ctx = p, .check = check};
    return 0;
}

void pam_helper_stop(struct pam_helper *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}
