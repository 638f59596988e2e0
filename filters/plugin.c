/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* plugin.c - stages in shared objects. They are never unloaded: threads of theirs may outlive their
 * stage. */
#include "appliance/base/buf.h"
#include "filters/registry.h"
#include <dlfcn.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *why(void)
{
    const char *text = dlerror();

    return text ? text : "unknown reason";
}

int filters_registry_load(struct filters_registry *r, const char *file, struct err *err)
{
    struct stat st;
    char path[4096];
    int n = snprintf(path, sizeof path, "%s%s", strchr(file, '/') ? "" : "./", file);

    if (n < 0 || (size_t)n >= sizeof path)
        return ERR(err, ERR_PERM, "plug-in: this name is too long");
    if (stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)))
        return ERR(err, ERR_PERM,
                   "plug-in %s may be written by others than its owner: chmod go-w it", path);
    /* Everything it needs must be there now, not in the middle of a message. */
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return ERR(err, ERR_PERM, "plug-in can't be loaded: %s", why());
    const struct ph_stage *stage = dlsym(handle, "ph_stage_export");
    if (!stage) {
        dlclose(handle);
        return ERR(err, ERR_PERM, "plug-in %s has no ph_stage_export: is it a stage?", file);
    }
    if (filters_registry_add(r, stage, err)) {
        dlclose(handle);
        return err_context(err, "plug-in %s", file);
    }
    return 0;
}
