/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Every scheme that is read, with hashes made elsewhere: crypt(3) of libxcrypt 4.4.33 called from
 * Python's ctypes (crypt("Grüße, 7 Brücken", setting)), the digests by Python's hashlib over the
 * same UTF-8, salt 01 's' ff 'alt'. */
#include "appliance/directory/password.h"

#include "appliance/base/mem.h"
#include "appliance/directory/password_schemes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PASSWORD STR("Grüße, 7 Brücken")

// clang-format off
static const struct {
    const char *stored, *name;
} vectors[] = {
    {"$y$j9T$SW7aWzo7JtN3bTGcvXvVX0$.zLqekGVltrqTOi42t3gv1ZMO8TOEwFp8J7FuJms2A8", "yescrypt"},
    {"$gy$j9T$SW7aWzo7JtN3bTGcvXvVX0$BBE5PM9TVhamKiMljR5ehQvmfHq.xXHVxRwWoe/Z6H0", "gost-yescrypt"},
    {"$7$CU..../....SaltSaltSalt$hM0fe7GXLVEC/2bFBmru3hJmL6isFncQgc/77gwOUH1", "scrypt"},
    {"$2b$05$abcdefghijklmnopqrstuueXWYFmb/cMj.TQQWAyj7/GAd6RROL0i", "bcrypt"},
    {"$2y$05$abcdefghijklmnopqrstuueXWYFmb/cMj.TQQWAyj7/GAd6RROL0i", "bcrypt"},
    {"$2a$05$abcdefghijklmnopqrstuueXWYFmb/cMj.TQQWAyj7/GAd6RROL0i", "bcrypt"},
    {"$6$saltstring$X0ewbsfdeRc737qNgbyo/5Z0IDwQkVfDfW/ijMaouIcCCAA9D7o8bDzV2OJGS9"
     "oY7mWF3rBTrOJh5Ecj.Ba0K1", "sha512-crypt"},
    {"$5$saltstring$U1bkTbteEIinhCHDxbLAlZjZyWyHgRJUehFd0ZYZLV2", "sha256-crypt"},
    {"$1$saltsalt$T3D.vf4261T02xY03dXiI0", "md5-crypt"},
    {"$sha1$12345$saltsalt$J5MMPwQp2lnbZ27snhyb3JvpVB2A", "sha1crypt"},
    {"$md5,rounds=5$saltsalt$$7kUFP4dv1uGbgML26eZ8K/", "sunmd5"},
    {"$3$$6af571f77f686d414fce80212ace921d", "nt"},
    {"abkpzmEPq4NEA", "des-crypt"},
    {"_J9..rasm3RSip2F6PLg", "bsdi-crypt"},
    {"{CRYPT}$6$saltstring$X0ewbsfdeRc737qNgbyo/5Z0IDwQkVfDfW/ijMaouIcCCAA9D7o8bDz"
     "V2OJGS9oY7mWF3rBTrOJh5Ecj.Ba0K1", "sha512-crypt"},
    {"{SHA512-CRYPT}$6$saltstring$X0ewbsfdeRc737qNgbyo/5Z0IDwQkVfDfW/ijMaouIcCCAA9"
     "D7o8bDzV2OJGS9oY7mWF3rBTrOJh5Ecj.Ba0K1", "sha512-crypt"},
    {"{SHA256-CRYPT}$5$saltstring$U1bkTbteEIinhCHDxbLAlZjZyWyHgRJUehFd0ZYZLV2", "sha256-crypt"},
    {"{MD5-CRYPT}$1$saltsalt$T3D.vf4261T02xY03dXiI0", "md5-crypt"},
    {"{MD5}$1$saltsalt$T3D.vf4261T02xY03dXiI0", "md5-crypt"},
    {"{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuueXWYFmb/cMj.TQQWAyj7/GAd6RROL0i", "bcrypt"},
    {"{DES-CRYPT}abkpzmEPq4NEA", "des-crypt"},
    {"{yescrypt}$y$j9T$SW7aWzo7JtN3bTGcvXvVX0$.zLqekGVltrqTOi42t3gv1ZMO8TOEwFp8J7F"
     "uJms2A8", "yescrypt"},
    {"{CRYPT.b64}JDUkc2FsdHN0cmluZyRVMWJrVGJ0ZUVJaW5oQ0hEeGJMQWxaalp5V3lIZ1JKVWVoR"
     "mQwWllaTFYy", "sha256-crypt"},
    {"{PLAIN}Grüße, 7 Brücken", "plain"},
    {"{CLEARTEXT}Grüße, 7 Brücken", "plain"},
    {"{PLAIN.b64}R3LDvMOfZSwgNyBCcsO8Y2tlbg==", "plain"},
    {"{PLAIN.hex}4772c3bcc39f652c2037204272c3bc636b656e", "plain"},
    {"{MD5}+CK6mLV6ertQ7cxKEfkq8Q==", "md5"},
    {"{MD5}+CK6mLV6ertQ7cxKEfkq8Q", "md5"},
    {"{MD5}f822ba98b57a7abb50edcc4a11f92af1", "md5"},
    {"{MD5.hex}f822ba98b57a7abb50edcc4a11f92af1", "md5"},
    {"{MD5.b64}+CK6mLV6ertQ7cxKEfkq8Q==", "md5"},
    {"{SMD5}riDgGjuUs3Pue3A3XM/nSAFz/2FsdA==", "smd5"},
    {"{SMD5.hex}ae20e01a3b94b373ee7b70375ccfe7480173ff616c74", "smd5"},
    {"{SHA}/VXHmFDZEoXjf16SspSqvlmNbQ4=", "sha"},
    {"{SHA}/VXHmFDZEoXjf16SspSqvlmNbQ4", "sha"},
    {"{SHA}fd55c79850d91285e37f5e92b294aabe598d6d0e", "sha"},
    {"{SHA.hex}fd55c79850d91285e37f5e92b294aabe598d6d0e", "sha"},
    {"{SHA.b64}/VXHmFDZEoXjf16SspSqvlmNbQ4=", "sha"},
    {"{SSHA}jJadE18uH6wvASmXFaiayCCnPQQBc/9hbHQ=", "ssha"},
    {"{SSHA.hex}8c969d135f2e1fac2f01299715a89ac820a73d040173ff616c74", "ssha"},
    {"{SHA256}ZryJ3qlrCz3BWZN8gxVZ0dhL1GvSnk2QUcwaFqFygEk=", "sha256"},
    {"{SHA256}ZryJ3qlrCz3BWZN8gxVZ0dhL1GvSnk2QUcwaFqFygEk", "sha256"},
    {"{SHA256}66bc89dea96b0b3dc159937c831559d1d84bd46bd29e4d9051cc1a16a1728049", "sha256"},
    {"{SHA256.hex}66bc89dea96b0b3dc159937c831559d1d84bd46bd29e4d9051cc1a16a1728049", "sha256"},
    {"{SHA256.b64}ZryJ3qlrCz3BWZN8gxVZ0dhL1GvSnk2QUcwaFqFygEk=", "sha256"},
    {"{SSHA256}LCr66C9APoALj7KNaHWHQ1uP99IF+v/iMngIhwedmrgBc/9hbHQ=", "ssha256"},
    {"{SSHA256.hex}2c2afae82f403e800b8fb28d687587435b8ff7d205faffe232780887079d9ab"
     "80173ff616c74", "ssha256"},
    {"{SHA512}Nw2ufC/aHxrRW4j3SjYwQ+D/wYyB0/Kgsp6/Cq0LbOuncdmW0pMiTTcVhkWzqrxm51vc"
     "6dppREL5826GNtLKhw==", "sha512"},
    {"{SHA512}Nw2ufC/aHxrRW4j3SjYwQ+D/wYyB0/Kgsp6/Cq0LbOuncdmW0pMiTTcVhkWzqrxm51vc"
     "6dppREL5826GNtLKhw", "sha512"},
    {"{SHA512}370dae7c2fda1f1ad15b88f74a363043e0ffc18c81d3f2a0b29ebf0aad0b6ceba771"
     "d996d293224d37158645b3aabc66e75bdce9da694442f9f36e8636d2ca87", "sha512"},
    {"{SHA512.hex}370dae7c2fda1f1ad15b88f74a363043e0ffc18c81d3f2a0b29ebf0aad0b6ceb"
     "a771d996d293224d37158645b3aabc66e75bdce9da694442f9f36e8636d2ca87", "sha512"},
    {"{SHA512.b64}Nw2ufC/aHxrRW4j3SjYwQ+D/wYyB0/Kgsp6/Cq0LbOuncdmW0pMiTTcVhkWzqrxm"
     "51vc6dppREL5826GNtLKhw==", "sha512"},
    {"{SSHA512}a9MiCadcbrTX2E6UiIfe+YMQSGph2FSXYbWr3pmLsaU8MyVt/hi9EePM0opKET83wOj"
     "emIC8c64gWXXT6b5w9AFz/2FsdA==", "ssha512"},
    {"{SSHA512.hex}6bd32209a75c6eb4d7d84e948887def98310486a61d8549761b5abde998bb1a"
     "53c33256dfe18bd11e3ccd28a4a113f37c0e8de9880bc73ae205975d3e9be70f40173ff616c7"
     "4", "ssha512"},
    {"{PLAIN-MD5}f822ba98b57a7abb50edcc4a11f92af1", "md5"},
    {"{LDAP-MD5}+CK6mLV6ertQ7cxKEfkq8Q==", "md5"},
    /* by doveadm pw of Dovecot 2.3.19 */
    {"{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$ccfj/mevIBsWxzx2YHGJVw"
     "$vAjsD1lVq6waCfpIm1xAZVnHlzaCNPOjPVjc0WNMNfI", "argon2i"},
    {"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$PO7QzROlyrPkhB/Lo9SwPg"
     "$oQwzWdextqOp1tXMbPeN8HmuGr8iudnjeS9dbx6emZE", "argon2id"},
    {"$argon2id$v=19$m=65536,t=3,p=1$PO7QzROlyrPkhB/Lo9SwPg"
     "$oQwzWdextqOp1tXMbPeN8HmuGr8iudnjeS9dbx6emZE", "argon2id"},
    {"{PBKDF2}$1$bvHBM9wtAWKyEp8c$5000$c7aa80daf6a80ea93e1a65a41df359f3668e496e", "pbkdf2"},
    {"{SCRAM-SHA-256}4096,petpl4TyejD/SHHckzM73Q==,y9msh7DKK4SLyIv0qVV15A4gH5OLJw5hZuGNe01RQ9Y=,"
     "JEuQTzbklvBxHDyZBt0BJMO389sBE//1qUMUX5MAU9o=", "scram-sha-256"},
    {"{SCRAM-SHA-1}4096,1HGejcnyzSduWG5TBJjaOA==,RxwHZr6qacvx2HC9rBgVffXQwfM=,"
     "mwYVSiNXJrbdoVCyQtul8llKlik=", "scram-sha-1"},
    {"{CRAM-MD5}2fc175b92fa8bdf70a578a1eb88de31dad4d5aec13c064a954b0de09eafef37e", "cram-md5"},
};
// clang-format on

static void known_vectors(void **state)
{
    struct err err;
    struct password_form form;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct str stored = str_from(vectors[i].stored);
        password_form_read(stored, &form);
        assert_string_equal(form.name, vectors[i].name);
        if (!password_check(PASSWORD, stored, &err))
            fail_msg("%s: %s", vectors[i].stored, err.text);
        assert_int_equal(err.kind, ERR_NONE);
        /* The first byte, so that DES, which reads only eight, sees the difference too. */
        assert_false(password_check(STR("grüße, 7 Brücken"), stored, &err));
        assert_int_equal(err.kind, ERR_NONE);
        assert_false(password_check(STR(""), stored, &err));
    }
}

static void unreadable(void **state)
{
    static const char *const bad[] = {
        "secret",
        "{NOPE}secret",
        "{ARGON2I}secret",
        "$argon2i$v=19$m=4194304,t=4,p=1$ccfj/"
        "mevIBsWxzx2YHGJVw$vAjsD1lVq6waCfpIm1xAZVnHlzaCNPOjPVjc0WNMNfI",
        "$argon2i$m=x,t=4,p=1$ccfj/mevIBsWxzx2YHGJVw$vAjsD1lVq6waCfpIm1xA",
        "$argon2i$$$$",
        "{PBKDF2}$1$salt$0$c7aa80daf6a80ea93e1a65a41df359f3668e496e",
        "{PBKDF2}$1$salt$4000000000$c7aa80daf6a80ea93e1a65a41df359f3668e496e",
        "{PBKDF2}c7aa",
        "{SCRAM-SHA-256}4096,petpl4TyejD",
        "{CRAM-MD5}2fc175b9",
        "{SHA",
        "{SHA}",
        "{SHA}AAAA",
        "{SSHA}/VXHmFDZEoXjf16SspSqvlmNbQ4=", /* no salt */
        "{SHA.hex}zz55c79850d91285e37f5e92b294aabe598d6d0e",
        "{CRYPT}secret",
        "{CRYPT}",
        "$9$salt$hash",
        "{PLAIN.b64}!!",
        "{}x",
    };
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(password_check(STR("secret"), str_from(bad[i]), &err));
        if (err.kind != ERR_PERM)
            fail_msg("%s was taken for a hash", bad[i]);
    }
}

static void damaged_settings(void **state)
{
    /* crypt(3) says no to these: false, with an error and without a match on its "*0" */
    static const char *const bad[] = {"$y$", "$2b$99$abcdefghijklmnopqrstuu", "$6$rounds=1$x:y$"};
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(password_check(STR("secret"), str_from(bad[i]), &err));
        assert_int_equal(err.kind, ERR_PERM);
    }
}

static void locked(void **state)
{
    static const char *const none[] = {"", "!", "*", "*0", "!$6$saltstring$abc", "{PLAIN}"};
    struct err err;
    struct password_form form;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        password_form_read(str_from(none[i]), &form);
        assert_int_equal(form.kind, PASSWORD_NONE);
        assert_string_equal(form.name, "none");
        assert_false(password_check(STR("secret"), str_from(none[i]), &err));
        assert_false(password_check(str_from(none[i]), str_from(none[i]), &err));
        assert_int_equal(err.kind, ERR_NONE);
    }
}

static void written(void **state)
{
    char a[PASSWORD_HASH_MAX], b[PASSWORD_HASH_MAX];
    struct err err;
    (void)state;
    assert_int_equal(password_hash(PASSWORD, a, &err), 0);
    assert_int_equal(password_hash(PASSWORD, b, &err), 0);
    assert_true(str_starts(str_from(a), STR("$y$j9T$")));
    assert_string_not_equal(a, b); /* salted */
    assert_true(password_check(PASSWORD, str_from(a), &err));
    assert_false(password_check(STR("other"), str_from(a), &err));
}

static void sizes(void **state)
{
    char text[PASSWORD_MAX + 1], hash[PASSWORD_HASH_MAX];
    struct err err;
    (void)state;
    memset(text, 'a', sizeof text);
    assert_int_equal(password_hash(str_of(text, PASSWORD_MAX - 1), hash, &err), 0);
    assert_true(password_check(str_of(text, PASSWORD_MAX - 1), str_from(hash), &err));
    assert_false(password_check(str_of(text, PASSWORD_MAX - 2), str_from(hash), &err));
    assert_false(password_check(str_of(text, PASSWORD_MAX), str_from(hash), &err));
    assert_int_equal(password_hash(str_of(text, PASSWORD_MAX), hash, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_int_equal(password_hash(STR(""), hash, &err), -1);
    assert_int_equal(password_hash(str_of("a\0b", 3), hash, &err), -1);
    /* A NUL doesn't cut what is compared. */
    assert_true(password_check(STR("a"), STR("{PLAIN}a"), &err));
    assert_false(password_check(str_of("a\0b", 3), STR("{PLAIN}a"), &err));
}

static void oversized_stored(void **state)
{
    char stored[PASSWORD_STORED_MAX + 8];
    struct err err;
    (void)state;
    memset(stored, 'a', sizeof stored);
    memcpy(stored, "{PLAIN}", 7);
    assert_false(password_check(STR("a"), str_of(stored, sizeof stored), &err));
    assert_int_equal(err.kind, ERR_PERM);
    memcpy(stored, "{SHA512", 7);
    assert_false(password_check(STR("a"), str_of(stored, sizeof stored), &err));
}

static void nobody(void **state)
{
    (void)state; /* any bytes may come as a password of nobody */
    password_check_nobody(STR(""));
    password_check_nobody(STR_NULL);
    password_check_nobody(str_of("\0\xff", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),    cmocka_unit_test(unreadable),
        cmocka_unit_test(damaged_settings), cmocka_unit_test(locked),
        cmocka_unit_test(written),          cmocka_unit_test(sizes),
        cmocka_unit_test(oversized_stored), cmocka_unit_test(nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
