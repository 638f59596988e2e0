# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""The house rules that can be read off the source: include direction, who includes uv.h, licence lines, sizes."""
import os
import re
import subprocess
import sys

ROOT = sys.argv[1]
FLOOR = {"appliance/base": 0, "appliance/mail": 1, "appliance/io": 1, "appliance/sql": 2, "appliance/directory": 3,
         "appliance/store": 3, "filters": 4, "smtp": 5, "imap": 5, "cloud": 5, "appliance/app": 6}
FORBIDDEN = re.compile(r"\b(strcpy|strcat|sprintf|strncpy|strtok|atoi|gets|alloca)\s*\(")
problems = {"floors": [], "uv.h": [], "licence": [], "functions": [], "allocation": []}


def room(path):
    for name in sorted(FLOOR, key=len, reverse=True):
        if path.startswith(name + "/"):
            return name
    return None


def sources():
    for folder in ("appliance", "smtp", "imap", "filters", "cloud", "tests"):
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".py", ".sh")):
                    yield os.path.relpath(os.path.join(where, name), ROOT)


def check_includes(path, text):
    mine = room(path)
    for include in re.findall(r'#\s*include "([^"]+)"', text):
        theirs = room(include)
        if include.startswith("../") or (theirs is None and not path.startswith("tests/")):
            problems["floors"].append("%s: include %s does not name its folder" % (path, include))
        elif mine and theirs and theirs != mine and FLOOR[theirs] >= FLOOR[mine]:
            if not (path == "appliance/base/settings.h" and include == "filters/stage.h"):
                problems["floors"].append("%s includes %s, which is not below it" % (path, include))
    if "<uv.h>" in text and mine != "appliance/io":
        problems["uv.h"].append("%s includes uv.h" % path)


for path in sources():
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        text = f.read()
    if "SPDX-License-Identifier" not in "".join(text.splitlines(True)[:3]):
        problems["licence"].append("%s: no licence line" % path)
    if path.endswith((".c", ".h")):
        check_includes(path, text)
        code = re.sub(r"/\*.*?\*/|\"(\\.|[^\"\\])*\"", "", text, flags=re.S)
        if room(path):
            for word in FORBIDDEN.findall(code):
                problems["functions"].append("%s uses %s" % (path, word))
        if room(path) and room(path) != "appliance/base" and re.search(r"\b(malloc|calloc|realloc)\s*\(", code):
            problems["allocation"].append("%s allocates outside base/mem.h" % path)

for name, lines in problems.items():
    print(("FAIL " if lines else "ok ") + name)
    for line in lines:
        print("  " + line)
failed = sum(1 for lines in problems.values() if lines)
print("%d passed, %d failed" % (len(problems) - failed, failed))
sys.exit(1 if failed else 0)
