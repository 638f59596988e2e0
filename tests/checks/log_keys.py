# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A key of the log is text, a number or an id (appliance/base/log.h) wherever it is used: whoever keeps the lines in columns needs one
type for each. Keys that name an object of the store are ids, and none is one that begins every line.
The modules that lines come from are those that log.debug knows."""
import collections
import os
import re
import sys

ROOT = sys.argv[1]
TYPE = {"STR": "text", "Z": "text", "INT": "number", "UINT": "number", "ID": "id"}
IDS = {"body", "id", "kept_as", "mailbox", "message", "notice", "turn"}
HEAD = {"ts", "level", "module", "event", "sid", "mid", "more"}
MODULES = os.path.join(ROOT, "appliance/app/config_check.c")
found = collections.defaultdict(lambda: collections.defaultdict(list))
problems, modules = [], set()

for folder in ("appliance", "smtp", "imap", "filters", "cloud"):
    for where, _, names in os.walk(os.path.join(ROOT, folder)):
        for name in sorted(names):
            path = os.path.join(where, name)
            if not name.endswith((".c", ".h")) or path.endswith("appliance/base/log.h"):
                continue
            with open(path, encoding="utf-8") as f:
                text = f.read()
            modules.update(re.findall(r"\.module = \"([^\"]*)\"", text))
            for use in re.finditer(r"\bL_(STR|Z|INT|UINT|ID)\(\s*(\"[^\"]*\")?", text):
                at = "%s:%d" % (os.path.relpath(path, ROOT), text.count("\n", 0, use.start()) + 1)
                if not use[2]:
                    problems.append("%s: the key is no fixed word" % at)
                    continue
                key = use[2].strip('"')
                found[key][TYPE[use[1]]].append(at)
                if not re.fullmatch("[a-z][a-z0-9_]*", key) or key in HEAD:
                    problems.append("%s: no line may have a key %s of its own" % (at, key))

for key, types in sorted(found.items()):
    if len(types) > 1:
        problems.append("key %s is %s" % (key, ", but ".join("%s in %s" % (t, ", ".join(at)) for t, at in sorted(types.items()))))
    if key in IDS and set(types) != {"id"}:
        problems.append("key %s is an id everywhere, use L_ID" % key)
with open(MODULES, encoding="utf-8") as f:
    listed = set(re.findall('"([^"]+)"', re.search(r"log_modules\[\] = \{(.*?)\}", f.read(), re.S)[1]))
if listed != modules:
    problems.append("log_modules of %s isn't what there is: %s" % (os.path.relpath(MODULES, ROOT), ", ".join(sorted(listed ^ modules))))
if len(found) < 50:
    problems.append("only %d keys were found: the sources look different from what is expected here" % len(found))
print(("FAIL " if problems else "ok ") + "log keys")
for problem in problems:
    print("  " + problem)
print("%d passed, %d failed" % (0 if problems else 1, bool(problems)))
sys.exit(bool(problems))
