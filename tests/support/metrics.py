#!/usr/bin/python3
"""metrics.py NAME{LABELS} ...: reads metrics on standard input with Prometheus' own parser, checks what that
does not, and prints the values of the samples named, one a line."""
import sys
from prometheus_client.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
samples = {}
for family in families:
    assert family.documentation and family.type in ("counter", "gauge", "histogram"), family.name
    assert family.name.startswith("pgaside_"), family.name
    for s in family.samples:
        key = s.name + "{" + ",".join(f'{k}="{v}"' for k, v in sorted(s.labels.items())) + "}"
        assert key not in samples, f"{key} comes twice"
        assert family.type != "counter" or s.name.endswith("_total"), s.name
        samples[key] = s.value
    if family.type != "histogram":
        continue
    # The buckets are cumulative, and the last is the count.
    series = {}
    for s in family.samples:
        rest = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
        series.setdefault(rest, {}).setdefault(s.name[len(family.name):], []).append(
            (float(s.labels.get("le", "nan")), s.value))
    for rest, parts in series.items():
        counts = [v for _, v in parts["_bucket"]]
        bounds = [b for b, _ in parts["_bucket"]]
        assert counts == sorted(counts) and bounds == sorted(bounds), rest
        assert bounds[-1] == float("inf") and counts[-1] == parts["_count"][0][1], rest
        assert (parts["_sum"][0][1] > 0) == (counts[-1] > 0), rest
for name in sys.argv[1:]:
    print(f"{samples[name]:g}")
