# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A strict reader of Prometheus' text format 0.0.4: anything promtool would complain of raises ValueError."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r"(%s)(?:\{(.*)\})? (\S+)" % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
TYPES = ("counter", "gauge", "histogram")


def labels_of(text):
    found, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m or m[1] in found or (m[0].endswith(",") and m.end() == len(text)):
            raise ValueError("labels: " + text)
        found[m[1]] = re.sub(r"\\(.)", lambda e: {"n": "\n"}.get(e[1], e[1]), m[2])
        at = m.end()
    return found


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type, self.samples = name, help_text, None, {}

    def add(self, name, labels, value):
        suffix = name[len(self.name):]
        allowed = ("_bucket", "_sum", "_count") if self.type == "histogram" else ("",)
        if self.type is None or not name.startswith(self.name) or suffix not in allowed:
            raise ValueError("%s stands in the group of %s" % (name, self.name))
        key = (suffix,) + tuple(sorted(labels.items()))
        if key in self.samples:
            raise ValueError("twice: %s %s" % (name, labels))
        self.samples[key] = value

    def check(self):
        if self.type is None or not self.help:
            raise ValueError(self.name + " has no type or help")
        if self.type == "counter" and not self.name.endswith("_total"):
            raise ValueError(self.name + ": a counter's name ends with _total")
        if self.type != "counter" and self.name.endswith("_total"):
            raise ValueError(self.name + ": only a counter's name ends with _total")
        if self.type == "histogram":
            self.check_histogram()

    def check_histogram(self):
        bounds = [(float(dict(key[1:])["le"]), value) for key, value in self.samples.items() if key[0] == "_bucket"]
        if bounds != sorted(bounds) or bounds[-1][0] != float("inf") or len(set(b for b, _ in bounds)) != len(bounds):
            raise ValueError(self.name + ": bounds")
        if [v for _, v in bounds] != sorted(v for _, v in bounds) or bounds[-1][1] != self.samples[("_count",)]:
            raise ValueError(self.name + ": buckets aren't cumulative")
        if ("_sum",) not in self.samples:
            raise ValueError(self.name + " has no sum")


class Page:
    """families by name; page("name", label=value) adds up the samples with these labels."""

    def __init__(self, text):
        if not text.endswith("\n") or "\r" in text:
            raise ValueError("the last line has no end")
        self.families, family = {}, None
        for line in text[:-1].split("\n"):
            family = self.take(line, family)
        for f in self.families.values():
            f.check()

    def take(self, line, family):
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            if not re.fullmatch(NAME, name) or name in self.families or re.search(r"\\[^\\n]", text.replace("\\\\", "")):
                raise ValueError(line)
            self.families[name] = Family(name, text)
            return self.families[name]
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            if not family or name != family.name or family.type or kind not in TYPES:
                raise ValueError(line)
            family.type = kind
            return family
        m = SAMPLE.fullmatch(line)
        if not m or not family:
            raise ValueError("not a sample: " + line)
        family.add(m[1], labels_of(m[2] or ""), float(m[3]))
        return family

    def __call__(self, name, **labels):
        family = self.families.get(name) or self.families[re.sub("_(bucket|sum|count)$", "", name)]
        suffix = name[len(family.name):]
        return sum(value for key, value in family.samples.items()
                   if key[0] == suffix and all(dict(key[1:]).get(k) == v for k, v in labels.items()))
