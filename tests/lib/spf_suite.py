# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""Prints the published SPF test suite (YAML, openspf.org) line by line for tests in C: fields divided by blanks, text in hex
behind an x.

    S DESCRIPTION                                        a scenario: its zone and its tests follow
    Z NAME TYPE [VALUE...]                               A AAAA CNAME MX (preference, name) PTR TXT (strings), or TIMEOUT
    T NAME HELO HOST MAILFROM RESULT[,RESULT] [EXPLANATION]
"""
import sys

import yaml


def text(value):
    return "x" + str(value).encode("latin-1").hex()


def strings(value):
    return value if isinstance(value, list) else [value]


def zone(name, records):
    """Records of type SPF stand for TXT as long as there is no TXT."""
    typed = [next(iter(r.items())) for r in records if isinstance(r, dict)]
    has_txt = any(kind == "TXT" for kind, _ in typed)
    for kind, value in typed:
        if kind == "SPF" and has_txt or value == "NONE":
            continue
        yield [name, "TXT" if kind == "SPF" else kind] + [text(v) for v in strings(value)]
    if "TIMEOUT" in records:
        yield [name, "TIMEOUT"]


for scenario in yaml.safe_load_all(open(sys.argv[1], encoding="utf-8")):
    print("S", text(scenario["description"]))
    for name, records in scenario["zonedata"].items():
        for line in zone(text(name), records):
            print("Z", *line)
    for name, t in scenario["tests"].items():
        fields = [text(name), text(t["helo"]), text(t["host"]), text(t["mailfrom"]), ",".join(strings(t["result"]))]
        print("T", *fields, *([text(t["explanation"])] if "explanation" in t else []))
