/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* clamav_database.c - the rule of thumb was measured with libclamav 1.4.6, 200 000 signatures of a
 * kind: .hdb and .mdb take 2.7 times their size in memory, .hsb 2.1, .ndb 1.8, .ldb 13. Signed
 * containers (.cvd, .cld) tell the number of their signatures in their first line; the official
 * ones come to about 140 bytes each. What a load has really taken corrects it (clamav_keeper.c). */
#include "filters/clamav_database.h"
#include "appliance/base/mem.h"
#include "appliance/base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIGNATURE_BYTES = 150, HEADER = 512 };

/* libclamav loads files with these endings, and no others. per_mille 0: a container. */
static const struct kind {
    const char *ending;
    unsigned per_mille;
} kinds[] = {{"cvd", 0},     {"cld", 0},      {"cud", 0},     {"hdb", 2700},  {"hdu", 2700},
             {"hsb", 2100},  {"hsu", 2100},   {"mdb", 2700},  {"mdu", 2700},  {"msb", 2100},
             {"msu", 2100},  {"ndb", 1800},   {"ndu", 1800},  {"ldb", 13200}, {"ldu", 13200},
             {"cdb", 3000},  {"cbc", 3000},   {"crb", 3000},  {"fp", 2700},   {"sfp", 2100},
             {"ftm", 3000},  {"ign", 3000},   {"ign2", 3000}, {"idb", 3000},  {"imp", 3000},
             {"wdb", 5000},  {"pdb", 5000},   {"gdb", 5000},  {"pwdb", 3000}, {"info", 0},
             {"yar", 13200}, {"yara", 13200}, {"cat", 3000}};

static const struct kind *kind_of(struct str name)
{
    struct str ending;
    size_t dot;

    if (!str_rchr(name, '.', &dot) || dot == 0)
        return NULL;
    ending = str_skip(name, dot + 1);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(ending, str_from(kinds[i].ending)))
            return &kinds[i];
    return NULL;
}

/* "ClamAV-VDB:time:version:signatures:..." 0: it isn't one. */
static uint64_t container_signatures(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char text[HEADER];
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    struct str rest = str_of(text, n > 0 ? (size_t)n : 0), word = STR_NULL;
    uint64_t count;

    if (fd >= 0)
        close(fd);
    if (!str_starts(rest, STR("ClamAV-VDB:")))
        return 0;
    for (int i = 0; i < 4; i++)
        str_cut(rest, ':', &word, &rest);
    return str_to_u64(word, 1000000000, &count) ? 0 : count;
}

static uint64_t estimate(const struct kind *k, int folder, const char *name, uint64_t size)
{
    if (k->per_mille)
        return size / 1000 * k->per_mille + size % 1000 * k->per_mille / 1000;
    return container_signatures(folder, name) * SIGNATURE_BYTES;
}

static void add(struct clamav_database *d, int folder, const char *name)
{
    const struct kind *k = kind_of(str_from(name));
    struct stat st;

    if (!k || fstatat(folder, name, &st, 0) != 0 || !S_ISREG(st.st_mode))
        return;
    const int64_t words[] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (int64_t)st.st_ino,
                             (int64_t)str_hash(str_from(name))};
    d->files++;
    d->bytes += (uint64_t)st.st_size;
    d->fingerprint += str_hash(str_of(words, sizeof words)); /* a sum: in any order */
    d->estimate += estimate(k, folder, name, (uint64_t)st.st_size);
}

int clamav_database_look(const char *folder, struct clamav_database *out)
{
    DIR *dir = opendir(folder);
    const struct dirent *e;

    *out = (struct clamav_database){0};
    if (!dir)
        return -1;
    while ((e = readdir(dir)))
        add(out, dirfd(dir), e->d_name);
    closedir(dir);
    return 0;
}
