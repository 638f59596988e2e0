/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* conn_binding.c - channel bindings of TLS (RFC 5056). */
#include "appliance/io/conn_private.h"
#include <openssl/ssl.h>
#include <openssl/x509.h>

enum { EXPORTER_SIZE = 32 };

/* RFC 9266 4.2: no context, 32 octets. Before TLS 1.3 it would need the extended master secret. */
static size_t exporter(SSL *ssl, unsigned char out[CONN_BINDING_MAX])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    if (SSL_version(ssl) != TLS1_3_VERSION)
        return 0;
    return SSL_export_keying_material(ssl, out, EXPORTER_SIZE, label, sizeof label - 1,
                                      (const unsigned char *)"", 0, 1) == 1
               ? EXPORTER_SIZE
               : 0;
}

/* RFC 5929 4.1: the hash of the certificate's signature, but SHA-256 for MD5 and SHA-1. Signatures
 * without a hash of their own (EdDSA) have none. */
static size_t end_point(const SSL *ssl, unsigned char out[CONN_BINDING_MAX])
{
    const X509 *cert =
        SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
    int hash = NID_undef;
    unsigned n = 0;
    if (!cert || X509_get_signature_info((X509 *)(uintptr_t)cert, &hash, NULL, NULL, NULL) != 1)
        return 0;
    if (hash == NID_md5 || hash == NID_sha1)
        hash = NID_sha256;
    const EVP_MD *md = hash == NID_undef ? NULL : EVP_get_digestbynid(hash);
    if (!md || EVP_MD_get_size(md) > CONN_BINDING_MAX || X509_digest(cert, md, out, &n) != 1)
        return 0;
    return n;
}

size_t conn_channel_binding(const struct conn *c, enum conn_binding kind,
                            unsigned char out[CONN_BINDING_MAX])
{
    if (!conn_has_tls(c) || !c->ssl)
        return 0;
    return kind == CONN_BIND_EXPORTER ? exporter(c->ssl, out) : end_point(c->ssl, out);
}
