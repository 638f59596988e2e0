/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Logins of the SMTP client. */
#include "appliance/base/text.h"
#include "client_world.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

static struct play p;
static struct smtp_credentials credentials;

static int setup(void **state)
{
    (void)state;
    play_init(&p);
    credentials = (struct smtp_credentials){.user = "tim", .password = "pencil"};
    p.conf.credentials = &credentials;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    play_fini(&p);
    return 0;
}

static void logs_in(const char *const *script)
{
    play_open(&p, script);
    play_until(&p, &p.ready);
    play_close(&p);
}

static void fails(const char *const *script, enum smtp_fault_kind kind, unsigned code,
                  const char *status)
{
    play_open(&p, script);
    play_until_closed(&p);
    assert_false(p.ready);
    assert_fault(&p.why, kind, code, status, "AUTH");
    assert_null(strstr(p.why.text, "pencil"));
    play_close(&p);
}

#define PLAIN "AHRpbQBwZW5jaWw=" /* NUL tim NUL pencil */

static void plain(void **state)
{
    (void)state;
    p.offers = "AUTH LOGIN PLAIN";
    logs_in(SCRIPT(GREETED, "<AUTH PLAIN " PLAIN, ">235 2.7.0 welcome", QUIT));
    p.offers = "AUTH=PLAIN";
    logs_in(SCRIPT(GREETED, "<AUTH PLAIN " PLAIN, ">235 2.7.0 welcome", QUIT));
    /* Asked for all the same. */
    fails(SCRIPT(GREETED, "<AUTH PLAIN " PLAIN, ">334 ", "<*", "<QUIT"), SMTP_FAULT_AUTH, 0,
          "4.7.8");
}

/* RFC 4954 4: what is too long for a command line comes when it is asked for. */
static void long_password(void **state)
{
    (void)state;
    char password[501];
    memset(password, 'x', 500);
    password[500] = '\0';
    credentials.password = password;
    p.offers = "AUTH PLAIN";
    logs_in(SCRIPT(GREETED, "<AUTH PLAIN", ">334", "<AHRpbQB4eHh4*", ">235 ok", QUIT));
}

static void login(void **state)
{
    (void)state;
    p.offers = "AUTH PLAIN LOGIN";
    credentials.mechanisms = "X-OTHER, login plain";
    logs_in(SCRIPT(GREETED, "<AUTH LOGIN", ">334 VXNlcm5hbWU6", "<dGlt", ">334 UGFzc3dvcmQ6",
                   "<cGVuY2ls", ">235 ok", QUIT));
    fails(
        SCRIPT(GREETED, "<AUTH LOGIN", ">334 VXNlcm5hbWU6", "<dGlt", ">235 that will do", "<QUIT"),
        SMTP_FAULT_AUTH, 0, "4.7.8");
}

static void refused(void **state)
{
    (void)state;
    p.offers = "AUTH PLAIN";
    fails(SCRIPT(GREETED, "<AUTH*", ">535 5.7.8 no", QUIT), SMTP_FAULT_AUTH, 535, "5.7.8");
    fails(SCRIPT(GREETED, "<AUTH*", ">454 not now", QUIT), SMTP_FAULT_HOST, 454, "4.7.0");
    fails(SCRIPT(GREETED, "<AUTH*", ">421 bye"), SMTP_FAULT_HOST, 421, "4.3.2");
    fails(SCRIPT(GREETED, "<AUTH*", "CLOSE"), SMTP_FAULT_HOST, 0, "4.4.2");
    p.offers = "AUTH GSSAPI CRAM-MD5";
    fails(SCRIPT(GREETED, QUIT), SMTP_FAULT_AUTH, 0, "4.7.4");
    p.offers = "";
    fails(SCRIPT(GREETED, QUIT), SMTP_FAULT_AUTH, 0, "4.7.4");
    p.offers = "AUTH PLAIN";
    credentials.password = "two\nlines";
    fails(SCRIPT(GREETED, QUIT), SMTP_FAULT_AUTH, 0, "4.7.8");
}

static void closed_while_asking(void **state)
{
    (void)state;
    p.offers = "AUTH PLAIN";
    play_open(&p, SCRIPT(GREETED, "<AUTH*", "HANG"));
    play_until(&p, &p.over);
    smtp_client_close(&p.client);
    play_close(&p);
    assert_false(p.closed);
}

/* ---- SCRAM: the server's side, RFC 5802 3 */

enum { HASH = 32, ITERATIONS = 4096 };
static struct {
    char first_bare[300], nonce[200], server_first[400];
    const char *password;
    bool impostor; /* doesn't know the password; takes any proof */
    int iterations;
    unsigned char salted[HASH], signature[HASH];
    bool proved;
} scram;

static void mac(const unsigned char *key, const char *text, unsigned char out[HASH])
{
    unsigned n = HASH;
    HMAC(EVP_sha256(), key, HASH, (const unsigned char *)text, strlen(text), out, &n);
}

static void say_base64(const char *text)
{
    char line[1000];
    struct buf b;
    buf_init(&b, 900);
    text_base64_encode(str_from(text), &b);
    snprintf(line, sizeof line, "334 %s", buf_z(&b));
    buf_fini(&b);
    play_say(&p, line);
}

static void read_base64(const char *from, char *out, size_t cap)
{
    struct buf b;
    buf_init(&b, cap - 1);
    assert_int_equal(text_base64_decode(str_from(from), &b), 0);
    snprintf(out, cap, "%s", buf_z(&b));
    buf_fini(&b);
}

static void on_proof(struct play *play);

static void on_first(struct play *play)
{
    char first[300];
    assert_int_equal(strncmp(play->line, "AUTH SCRAM-SHA-256 ", 19), 0);
    read_base64(play->line + 19, first, sizeof first);
    assert_int_equal(strncmp(first, "n,,n=tim,r=", 11), 0);
    snprintf(scram.first_bare, sizeof scram.first_bare, "%s", first + 3);
    snprintf(scram.nonce, sizeof scram.nonce, "%.100sserver", first + 11);
    snprintf(scram.server_first, sizeof scram.server_first, "r=%s,s=c2FsdA==,i=%d", scram.nonce,
             scram.iterations);
    play->on_auth = on_proof;
    say_base64(scram.server_first);
}

static void on_proof(struct play *play)
{
    char last[600], message[1400], want[300], answer[200];
    unsigned char client[HASH], stored[HASH], signature[HASH], server[HASH], proof[HASH];
    struct buf b;
    read_base64(play->line, last, sizeof last);
    PKCS5_PBKDF2_HMAC(scram.password, (int)strlen(scram.password), (const unsigned char *)"salt", 4,
                      scram.iterations, EVP_sha256(), HASH, scram.salted);
    snprintf(want, sizeof want, "c=biws,r=%s", scram.nonce);
    snprintf(message, sizeof message, "%s,%s,%s", scram.first_bare, scram.server_first, want);
    mac(scram.salted, "Client Key", client);
    EVP_Digest(client, HASH, stored, NULL, EVP_sha256(), NULL);
    mac(stored, message, signature);
    for (int i = 0; i < HASH; i++)
        proof[i] = (unsigned char)(client[i] ^ signature[i]);
    buf_init(&b, 400);
    buf_printf(&b, "%s,p=", want);
    text_base64_encode(str_of(proof, HASH), &b);
    scram.proved = strcmp(buf_z(&b), last) == 0;
    mac(scram.salted, "Server Key", server);
    mac(server, message, signature);
    buf_clear(&b);
    text_base64_encode(str_of(signature, HASH), &b);
    snprintf(answer, sizeof answer, "v=%s", buf_z(&b));
    buf_fini(&b);
    if (scram.proved || scram.impostor)
        say_base64(answer);
    else
        play_say(play, "535 5.7.8 no");
}

static void scram_begin(const char *password)
{
    memset(&scram, 0, sizeof scram);
    scram.password = password;
    scram.iterations = ITERATIONS;
    p.on_auth = on_first;
    p.offers = "AUTH PLAIN SCRAM-SHA-256 LOGIN";
}

static void scram_works(void **state)
{
    (void)state;
    for (int trickle = 0; trickle < 2; trickle++) {
        p.trickle = trickle;
        scram_begin("pencil");
        logs_in(SCRIPT(GREETED, "AUTH", "AUTH", "<", ">235 2.7.0 ok", QUIT));
        assert_true(scram.proved);
    }
}

static void scram_refused(void **state)
{
    (void)state;
    scram_begin("another");
    fails(SCRIPT(GREETED, "AUTH", "AUTH", QUIT), SMTP_FAULT_AUTH, 535, "5.7.8");
    assert_false(scram.proved);
    scram_begin("pencil");
    scram.iterations = 4095;
    fails(SCRIPT(GREETED, "AUTH", "<*", "<QUIT"), SMTP_FAULT_AUTH, 0, "4.7.8");
}

static void scram_impostor(void **state)
{
    (void)state;
    scram_begin("another");
    scram.impostor = true; /* its signature is made of another password */
    fails(SCRIPT(GREETED, "AUTH", "AUTH", "<*", "<QUIT"), SMTP_FAULT_AUTH, 0, "4.7.8");
    scram_begin("pencil"); /* it says yes before it has proved itself */
    fails(SCRIPT(GREETED, "AUTH", ">235 welcome", "HANG"), SMTP_FAULT_HOST, 0, "4.5.0");
    scram_begin("pencil");
    fails(SCRIPT(GREETED, "<AUTH SCRAM*", ">235 welcome", "<QUIT"), SMTP_FAULT_AUTH, 0, "4.7.8");
}

static void closed_while_proving(void **state)
{
    (void)state;
    scram_begin("pencil");
    scram.iterations = 200000;
    play_open(&p, SCRIPT(GREETED, "AUTH", "HANG"));
    play_until(&p, &p.over);
    play_turn(&p);
    play_turn(&p);
    smtp_client_close(&p.client);
    play_close(&p);
    assert_false(p.ready || p.closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain, setup, teardown),
        cmocka_unit_test_setup_teardown(long_password, setup, teardown),
        cmocka_unit_test_setup_teardown(login, setup, teardown),
        cmocka_unit_test_setup_teardown(refused, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_while_asking, setup, teardown),
        cmocka_unit_test_setup_teardown(scram_works, setup, teardown),
        cmocka_unit_test_setup_teardown(scram_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(scram_impostor, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_while_proving, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
