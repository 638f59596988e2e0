# A sealed test mail server in a container:
#   docker build -t posthouse .
#   docker run --rm -p 1025:1025 -p 1143:1143 -p 1465:1465 -p 1587:1587 -p 1993:1993 posthouse
# Accounts xandros, vivita, karl @example.com with passwords xandros-pass ...; the log names them. Mount a volume on /data to keep the mail.
FROM debian:bookworm-slim AS build
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
      gcc libc6-dev cmake ninja-build pkg-config libuv1-dev libssl-dev libsqlite3-dev default-libmysqlclient-dev libcrypt-dev libargon2-dev libpam0g-dev libidn2-dev zlib1g-dev libconfuse-dev \
      libseccomp-dev libjansson-dev libmicrohttpd-dev libunbound-dev libcurl4-openssl-dev libopendkim-dev libspf2-dev libclamav-dev && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DPH_TESTS=OFF && ninja -C /build posthouse \
    && strip /build/posthouse

FROM debian:bookworm-slim
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
      libuv1 libssl3 libsqlite3-0 libmariadb3 libcrypt1 libargon2-1 libpam0g libidn2-0 zlib1g libconfuse2 libseccomp2 libjansson4 libmicrohttpd12 \
      libunbound8 libcurl4 libopendkim11 libspf2-2 libclamav12 dns-root-data ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /data --shell /usr/sbin/nologin posthouse && mkdir /data && chown posthouse /data
COPY --from=build /build/posthouse /usr/local/bin/posthouse
RUN ln -s posthouse /usr/local/bin/sendmail
USER posthouse
VOLUME /data
ENV POSTHOUSE_DATA=/data POSTHOUSE_SOCKET=/data/submit.sock
EXPOSE 1025 1143 1465 1587 1993
HEALTHCHECK --interval=10s --timeout=5s CMD ["posthouse", "domain", "list"]
ENTRYPOINT ["posthouse"]
CMD ["dev", "--listen", "0.0.0.0", "--data", "/data"]
