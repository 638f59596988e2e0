# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The web server of an MTA-STS policy (RFC 8461 3.3): https://mta-sts.DOMAIN/.well-known/mta-sts.txt."""
import http.server
import threading

PATH = "/.well-known/mta-sts.txt"


class Policies:
    """texts: {host name: policy text, or None for 404}. What was asked for is in .asked."""

    def __init__(self, address, certificate, texts, port=443):
        self.texts, self.asked = texts, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host = (self.headers["Host"] or "").split(":")[0]
                outer.asked.append((host, self.path))
                text = outer.texts.get(host) if self.path == PATH else None
                body = (text or "nothing here\n").encode()
                self.send_response(404 if text is None else 200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((address, port), Handler, bind_and_activate=False)
        self.server.daemon_threads = True
        self.server.server_bind()
        self.server.server_activate()
        # The handshake belongs into the connection's thread: one that stalls must not hold the others.
        self.server.socket = certificate.context().wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(30)
