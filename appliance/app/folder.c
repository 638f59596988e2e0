/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/folder.h"
#include "appliance/app/modes.h"
#include "appliance/app/stages.h"
#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

const char *folder_find(const char *data, const char *config_path, struct config **configured,
                        struct err *err)
{
    struct buf errors;
    int rc;

    *configured = NULL;
    if (!config_path && (data || access(CONFIG_DEFAULT, R_OK) != 0))
        return data ? data : DATA_DEFAULT;
    if (stages_load_named(config_path ? config_path : CONFIG_DEFAULT, err))
        return NULL;
    stages_declare(); /* their sections are not unknown ones */
    buf_init(&errors, 1 << 16);
    rc = config_load(config_path ? config_path : CONFIG_DEFAULT, configured, &errors, err);
    buf_fini(&errors);
    if (rc)
        return NULL;
    return data ? data : (*configured)->main.data;
}

int folder_become_owner(const char *path, struct err *err)
{
    struct stat st;

    if (geteuid() != 0 || stat(path, &st) != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) != 0)
        return ERR(err, ERR_PERM, "cannot become the owner of %s: %s", path, strerror(errno));
    return 0;
}
