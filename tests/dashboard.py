#!/usr/bin/env python3
"""Reads a dashboard by Grafana's own models (grafana-foundation-sdk, made from Grafana's schemas), writes it again, and
says what got lost: a key that Grafana doesn't know, or knows somewhere else.

    tests/dashboard.py FOLDER-OF-THE-SDK DASHBOARD.json
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

# What the editors of a data source write beside what all have in common.
OF_THE_DATA_SOURCE = ("/annotations/list/titleFormat", "/annotations/list/step", "/templating/list/definition")


def compare(ours, theirs, path=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from compare(value, theirs[key], f"{path}/{key}")
            elif f"{path}/{key}" not in OF_THE_DATA_SOURCE:
                yield f"{path}/{key}: Grafana doesn't know it"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs):
            yield from compare(one, other, path)
    elif ours != theirs:
        yield f"{path}: {ours!r} is read as {theirs!r}"


plugins.register_default_plugins()
with open(sys.argv[2], encoding="utf-8") as file:
    text = file.read()
read = dashboard.Dashboard.from_json(json.loads(text))
lost = list(compare(json.loads(text), json.loads(JSONEncoder(sort_keys=True).encode(read))))
print("\n".join(lost) or f"{len(read.panels)} panels, nothing lost")
sys.exit(bool(lost))
