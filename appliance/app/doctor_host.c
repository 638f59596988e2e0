/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* doctor_host.c - the machine: certificate, disk, clock, memory. */
#include "appliance/app/doctor.h"
#include "appliance/app/keys.h"
#include "appliance/base/clock.h"
#include "filters/builtin.h"
#include "filters/registry.h"
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    SOON_DAYS = 21,
    DAY_S = 86400,
    FLUSHES = 8,
    SLOW_FLUSH_US = 100000,
    CLAMAV_MB = 3000 /* signatures take 1.2 GB, and twice that while they are loaded again */
};

void doctor_tls(struct doctor *d)
{
    struct tls_ctx *tls = NULL;
    struct err err;

    if (keys_load(d->config, NULL, &tls, &err)) {
        doctor_say(d, DOCTOR_BAD, "run doctor as root, or see tls.certificate and tls.key", "%s",
                   err.text);
        return;
    }
    if (!tls) {
        doctor_say(d, DOCTOR_WARN, "set tls.certificate and tls.key",
                   "no listener has TLS: nobody can log in");
        return;
    }
    long days = tls_ctx_seconds_left(tls) / DAY_S;
    const char *host =
        d->config->smtp.hostname[0] ? d->config->smtp.hostname : d->config->main.hostname;
    if (tls_ctx_seconds_left(tls) <= 0)
        doctor_say(d, DOCTOR_BAD, "renew it and send SIGHUP", "the certificate has ended");
    else if (days < SOON_DAYS)
        doctor_say(d, DOCTOR_WARN, "renew it and send SIGHUP", "the certificate ends in %ld days",
                   days);
    else
        doctor_say(d, DOCTOR_OK, "", "the certificate is good for another %ld days", days);
    if (host[0] && !tls_ctx_covers(tls, host))
        doctor_say(d, DOCTOR_WARN, "get one for that name: clients refuse others",
                   "the certificate isn't for %s", host);
    tls_ctx_unref(&tls);
}

static uint64_t min_free(const struct doctor *d)
{
    const struct store_conf none = {0}, *s = d->config ? &d->config->store : &none;
    return store_min_free(s, s->message_limit);
}

void doctor_disk(struct doctor *d)
{
    struct statvfs v;
    struct statfs f;

    if (statvfs(d->data, &v) != 0 || statfs(d->data, &f) != 0) {
        doctor_say(d, DOCTOR_BAD, "see main.data", "%s: %s", d->data, strerror(errno));
        return;
    }
    uint64_t left = (uint64_t)v.f_bavail * v.f_frsize, all = (uint64_t)v.f_blocks * v.f_frsize;
    unsigned long long mb = left >> 20;
    if (left < min_free(d))
        doctor_say(d, DOCTOR_BAD, "make room: new mail is refused until then",
                   "%llu MB are free in %s", mb, d->data);
    else if (left < all / 20 || left < 4 * min_free(d))
        doctor_say(d, DOCTOR_WARN, "make room soon", "%llu MB are free in %s", mb, d->data);
    else
        doctor_say(d, DOCTOR_OK, "", "%llu MB are free in %s", mb, d->data);
    if (v.f_files && v.f_favail < v.f_files / 50)
        doctor_say(d, DOCTOR_WARN, "remove small files, or make a larger file system",
                   "%llu inodes are free", (unsigned long long)v.f_favail);
    if (f.f_type == TMPFS_MAGIC || f.f_type == RAMFS_MAGIC)
        doctor_say(d, DOCTOR_BAD, "put main.data on a disk",
                   "the data folder is in memory: all mail is lost at a restart");
    else if (f.f_type == NFS_SUPER_MAGIC)
        doctor_say(d, DOCTOR_BAD, "put main.data on a local disk, or set database.url",
                   "the data folder is on NFS, where SQLite isn't safe");
    if (v.f_flag & ST_RDONLY)
        doctor_say(d, DOCTOR_BAD, "mount it for writing", "the data folder can't be written");
}

/* Whether a flush reaches the disk can't be seen from here; that there is one, and how slow. */
void doctor_flush(struct doctor *d)
{
    char path[4096];
    uint64_t worst = 0;
    int n = snprintf(path, sizeof path, "%s/.doctor-XXXXXX", d->data);
    int fd = n > 0 && (size_t)n < sizeof path ? mkstemp(path) : -1;
    bool failed = false;

    if (fd < 0) {
        doctor_say(d, DOCTOR_WARN, "run doctor as root or the folder's owner",
                   "no file can be made in %s: %s", d->data, strerror(errno));
        return;
    }
    for (int i = 0; i < FLUSHES && !failed; i++) {
        uint64_t before = clock_mono_us();
        failed = write(fd, path, 16) != 16 || fdatasync(fd) != 0;
        uint64_t us = clock_mono_us() - before;
        worst = us > worst ? us : worst;
    }
    close(fd);
    unlink(path);
    if (failed)
        doctor_say(d, DOCTOR_BAD, "replace the disk", "a flush failed: %s", strerror(errno));
    else if (worst > SLOW_FLUSH_US)
        doctor_say(d, DOCTOR_WARN, "each message waits for one: a faster disk, or one of its own",
                   "a flush takes up to %llu ms", (unsigned long long)worst / 1000);
    else
        doctor_say(d, DOCTOR_OK, "", "a flush takes up to %llu us", (unsigned long long)worst);
}

void doctor_clock(struct doctor *d)
{
    struct timex t = {0};
    int state = adjtimex(&t);

    if (state < 0)
        doctor_say(d, DOCTOR_WARN, "", "whether the clock is right can't be found out: %s",
                   strerror(errno));
    else if (state == TIME_ERROR || (t.status & STA_UNSYNC))
        doctor_say(d, DOCTOR_WARN, "run chrony or systemd-timesyncd, here or on the host",
                   "nothing keeps the clock right");
    else
        doctor_say(d, DOCTOR_OK, "", "the clock is kept right");
}

static unsigned long long meminfo_mb(const char *name)
{
    unsigned long long kb = 0;
    char line[256], want[64];
    FILE *f = fopen("/proc/meminfo", "re");

    snprintf(want, sizeof want, "%s:", name);
    while (f && fgets(line, sizeof line, f)) {
        struct str word, rest;
        uint64_t v;
        if (strncmp(line, want, strlen(want)) != 0)
            continue;
        str_cut(str_trim(str_from(line + strlen(want))), ' ', &word, &rest);
        if (str_to_u64(word, UINT64_MAX, &v) == 0)
            kb = v;
    }
    if (f)
        fclose(f);
    return kb / 1024;
}

void doctor_memory(struct doctor *d)
{
    const void *section = config_extra(d->config, "clamav");
    bool scans = section && clamav_folder(filters_section_own(section))[0];
    unsigned long long all = meminfo_mb("MemTotal"), swap = meminfo_mb("SwapTotal");

    if (scans && all + swap < CLAMAV_MB)
        doctor_say(d, DOCTOR_WARN,
                   "set clamav.isolation = process, so that it ends first, or get more memory",
                   "%llu MB of memory and %llu MB of swap are little for ClamAV", all, swap);
    else
        doctor_say(d, DOCTOR_OK, "", "%llu MB of memory%s", all,
                   scans ? ", enough for ClamAV" : "");
}
