/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* messages.h - sample messages and the structure each has.
 * Expected: a line a part, indented by its depth: type/subtype, size of its head, lines of its
 * body, parameters in parentheses if there are any, then the body of a leaf with its line ends as
 * \r and \n. */
#ifndef PH_TEST_MESSAGES_H
#define PH_TEST_MESSAGES_H

static const struct sample {
    const char *name, *head, *data, *want;
} samples[] = {
    {"plain", "Subject: x\r\n\r\n", "Hello\r\nworld\r\n",
     "text/plain 0 2 Hello\\r\\nworld\\r\\n\n"},
    {"nothing", "\r\n", "", "text/plain 0 0 \n"},
    {"no line end", "A: b\r\n\r\n", "Hello", "text/plain 0 0 Hello\n"},
    {"two alternatives",
     "MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n\tboundary=\"=_b\"\r\n\r\n",
     "This is MIME.\r\n"
     "--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n\r\n"
     "--=_b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n<p>Hello=\r\n"
     "--=_b--\r\nepilogue\r\n",
     "multipart/alternative 0 13 (boundary==_b)\n"
     "  text/plain 43 1 (charset=utf-8) Hello\\r\\n\n"
     "  text/html 72 0 <p>Hello=\n"},
    {"bare line feeds", "Content-Type: multipart/mixed; boundary=b\n\n",
     "--b\n\none\n--b\n\n\n--b\nA: b\n\ntwo\n\n--b--\n",
     "multipart/mixed 0 12 (boundary=b)\n"
     "  text/plain 1 0 one\n"
     "  text/plain 1 0 \n"
     "  text/plain 6 1 two\\n\n"},
    {"blanks after boundaries", "Content-Type: multipart/mixed; boundary=\"b \"\r\n\r\n",
     "--b \t\r\n\r\none\r\n--b  \r\n\r\ntwo\r\n--b-- \r\n",
     "multipart/mixed 0 7 (boundary=b )\n"
     "  text/plain 2 0 one\n"
     "  text/plain 2 0 two\n"},
    {"empty parts", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\n--b\r\n\r\n--b\r\nA: b\r\n--b\r\nA: b\r\n\r\n\r\n--b--",
     "multipart/mixed 0 9 (boundary=b)\n"
     "  text/plain 0 0 \n"
     "  text/plain 2 0 \n"
     "  text/plain 4 0 \n"
     "  text/plain 8 0 \n"},
    {"no close, no parts after the last line end",
     "Content-Type: multipart/mixed; boundary=b\r\n\r\n", "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b",
     "multipart/mixed 0 6 (boundary=b)\n"
     "  text/plain 2 0 one\n"
     "  text/plain 2 0 two\n"},
    {"no close", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\nthree\r\n",
     "multipart/mixed 0 7 (boundary=b)\n"
     "  text/plain 2 0 one\n"
     "  text/plain 2 2 two\\r\\nthree\\r\\n\n"},
    {"nothing after the close counts", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
     "multipart/mixed 0 8 (boundary=b)\n"
     "  text/plain 2 0 one\n"},
    {"boundary never used", "Content-Type: multipart/mixed; boundary=b\r\n\r\n", "text\r\n-- b\r\n",
     "multipart/mixed 0 2 (boundary=b) text\\r\\n-- b\\r\\n\n"},
    {"no boundary", "Content-Type: multipart/mixed\r\n\r\n", "--\r\n\r\n----\r\n",
     "multipart/mixed 0 3 --\\r\\n\\r\\n----\\r\\n\n"},
    {"dashes and near misses", "Content-Type: multipart/mixed; boundary=\"-b-\"\r\n\r\n",
     "---b-\r\n\r\n-\r\n--\r\n--b-\r\n --b\r\n\r-- \r\n---c-\r\nx---b-\r\n---b---\r\n",
     "multipart/mixed 0 10 (boundary=-b-)\n"
     "  text/plain 2 6 -\\r\\n--\\r\\n--b-\\r\\n --b\\r\\n\\r-- \\r\\n---c-\\r\\nx---b-\n"},
    {"nested", "Content-Type: multipart/mixed; boundary=out\r\n\r\n",
     "--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"
     "--in\r\n\r\na\r\n--in\r\n\r\nb\r\n--in--\r\n"
     "--out\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: "
     "base64\r\n\r\nJVBERg==\r\n"
     "--out--\r\n",
     "multipart/mixed 0 16 (boundary=out)\n"
     "  multipart/alternative 52 6 (boundary=in)\n"
     "    text/plain 2 0 a\n"
     "    text/plain 2 0 b\n"
     "  application/pdf 82 0 (name=a.pdf) JVBERg==\n"},
    {"an outer boundary ends what is open inside",
     "Content-Type: multipart/mixed; boundary=out\r\n\r\n",
     "--out\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\na\r\n"
     "--out\r\nContent-Type: multipart/mixed; boundary=in2\r\n\r\n--in2\r\nContent-Type: text/x\r\n"
     "--out--\r\n--in\r\n",
     "multipart/mixed 0 13 (boundary=out)\n"
     "  multipart/mixed 46 2 (boundary=in)\n"
     "    text/plain 2 0 a\n"
     "  multipart/mixed 47 1 (boundary=in2)\n"
     "    text/x 20 0 \n"},
    {"one boundary begins with the other", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\nContent-Type: multipart/mixed; "
     "boundary=bb\r\n\r\n--bb\r\n\r\na\r\n--bb--\r\n--b\r\n\r\nc\r\n--b--\r\n",
     "multipart/mixed 0 11 (boundary=b)\n"
     "  multipart/mixed 46 3 (boundary=bb)\n"
     "    text/plain 2 0 a\n"
     "  text/plain 2 0 c\n"},
    {"the same boundary inside", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\nContent-Type: multipart/mixed; "
     "boundary=b\r\n\r\n--b\r\n\r\na\r\n--b--\r\n--b\r\n\r\nc\r\n--b--\r\n",
     "multipart/mixed 0 11 (boundary=b)\n"
     "  multipart/mixed 45 3 (boundary=b)\n"
     "    text/plain 2 0 a\n"
     "  text/plain 2 0 c\n"},
    {"forwarded message with an attachment",
     "From: Karl <karl@example.com>\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n",
     "--o\r\n\r\nsee below\r\n"
     "--o\r\nContent-Type: message/rfc822\r\nContent-Disposition: inline\r\n\r\n"
     "From: vivi@example.com\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
     "--i\r\n\r\ntext\r\n--i\r\nContent-Type: image/png\r\nContent-Disposition: attachment; "
     "filename=x.png\r\n\r\nPNG\r\n"
     "--i--\r\n"
     "--o--\r\n",
     "multipart/mixed 0 21 (boundary=o)\n"
     "  text/plain 2 0 see below\n"
     "  message/rfc822 61 12\n"
     "    multipart/mixed 85 8 (boundary=i)\n"
     "      text/plain 2 0 text\n"
     "      image/png 76 0 PNG\n"},
    {"a message is all there is", "Content-Type: message/rfc822\r\n\r\n", "Subject: a\r\n\r\nb\r\n",
     "message/rfc822 0 3\n"
     "  text/plain 14 1 b\\r\\n\n"},
    {"messages in messages", "Content-Type: message/rfc822\r\n\r\n",
     "Content-Type: MESSAGE/RFC822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA: b\r\n\r\nc",
     "message/rfc822 0 5\n"
     "  MESSAGE/RFC822 65 2\n"
     "    text/plain 8 0 c\n"},
    {"a message without the end of its head", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: a\r\n--b\r\nContent-Type: "
     "message/rfc822\r\n\r\n--b--",
     "multipart/mixed 0 7 (boundary=b)\n"
     "  message/rfc822 32 0\n"
     "    text/plain 10 0 \n"
     "  message/rfc822 32 0\n"
     "    text/plain 0 0 \n"},
    {"an encoded message stays shut", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: "
     "base64\r\n\r\nQTogYg0KDQo=\r\n--b--\r\n",
     "multipart/mixed 0 6 (boundary=b)\n"
     "  message/rfc822 67 0 QTogYg0KDQo=\n"},
    {"digest", "Content-Type: multipart/digest; boundary=b\r\n\r\n",
     "--b\r\n\r\nSubject: one\r\n\r\n1\r\n--b\r\nContent-Type: "
     "text/plain\r\n\r\n2\r\n--b\r\n\r\nSubject: 3\r\n\r\n--b--\r\n",
     "multipart/digest 0 14 (boundary=b)\n"
     "  message/rfc822 2 2\n"
     "    text/plain 16 0 1\n"
     "  text/plain 28 0 2\n"
     "  message/rfc822 2 2\n"
     "    text/plain 14 0 \n"},
    {"types that can't be", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\nContent-Type: text\r\n\r\n--b\r\nContent-Type: nonsense; "
     "a=b\r\n\r\n--b\r\nContent-Type:\r\n\r\n"
     "--b\r\nContent-Type: text/\r\nContent-Type: text/html\r\n\r\n--b\r\nContent-Type: "
     "a/b/c\r\n\r\n--b--\r\n",
     "multipart/mixed 0 17 (boundary=b)\n"
     "  text/plain 22 0 \n"
     "  application/octet-stream 31 0 (a=b) \n"
     "  text/plain 17 0 \n"
     "  text/plain 48 0 \n"
     "  a/b/c 23 0 \n"},
    {"as Outlook writes it",
     "From: \"Meier, Karl\" <karl@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: "
     "multipart/related;\r\n"
     "\tboundary=\"----=_NextPart_000_0012_01DA.5B2E\";\r\n\ttype=\"multipart/alternative\"\r\n"
     "Content-Language: de\r\nX-MS-Has-Attach: yes\r\n\r\n",
     "This is a multipart message in MIME format.\r\n\r\n"
     "------=_NextPart_000_0012_01DA.5B2E\r\nContent-Type: multipart/alternative;\r\n"
     "\tboundary=\"----=_NextPart_001_0013_01DA.5B2E\"\r\n\r\n\r\n"
     "------=_NextPart_001_0013_01DA.5B2E\r\nContent-Type: "
     "text/plain;\r\n\tcharset=\"iso-8859-1\"\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n\r\n"
     "------=_NextPart_001_0013_01DA.5B2E--\r\n\r\n"
     "------=_NextPart_000_0012_01DA.5B2E\r\nContent-Type: "
     "image/png;\r\n\tname=\"image001.png\"\r\n"
     "Content-ID: <image001.png@01DA.5B2E>\r\n\r\nPNG\r\n\r\n"
     "------=_NextPart_000_0012_01DA.5B2E--\r\n\r\n",
     "multipart/related 0 25 "
     "(boundary=----=_NextPart_000_0012_01DA.5B2E)(type=multipart/alternative)\n"
     "  multipart/alternative 87 9 (boundary=----=_NextPart_001_0013_01DA.5B2E)\n"
     "    text/plain 97 1 (charset=iso-8859-1) Gr=FC=DFe\\r\\n\n"
     "  image/png 88 1 (name=image001.png) PNG\\r\\n\n"},
    {"dashes in a head", "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
     "--b\r\n-123Content-Type: text/w\r\n-1234Content-Type: text/x\r\n--Content-Type: "
     "text/y\r\n-\r\n--a: b\r\n\r\nz\r\n--b--\r\n",
     "multipart/mixed 0 9 (boundary=b)\n"
     "  text/plain 90 0 z\n"},
};
#endif
