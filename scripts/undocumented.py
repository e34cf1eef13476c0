"""Names the public symbols of a symbol graph that have no doc comment, and fails if there are any.

    python3 scripts/undocumented.py .build/docs-symbols/ResNetSwift.symbols.json

Free of the duty are implementations of a protocol that is documented elsewhere, and initializers that do no more than to set
the properties they name, which have comments of their own.
"""

import json
import re
import sys

graph = json.load(open(sys.argv[1]))
inherited = {r["source"] for r in graph["relationships"] if "sourceOrigin" in r}
properties = {tuple(s["pathComponents"]) for s in graph["symbols"] if s["kind"]["identifier"] == "swift.property"}


def sets_properties(symbol):
    *path, name = symbol["pathComponents"]
    labels = re.fullmatch(r"init\((.+):\)", name)
    return labels and all((*path, label) in properties or label == "_" for label in labels[1].split(":"))


bare = [
    symbol for symbol in graph["symbols"]
    if "docComment" not in symbol and symbol["identifier"]["precise"] not in inherited and not sets_properties(symbol)
]
for symbol in bare:
    place = symbol["location"]
    file = place["uri"].split("/Sources/")[-1]
    print(f"Sources/{file}:{place['position']['line'] + 1}: {'.'.join(symbol['pathComponents'])} has no doc comment", file=sys.stderr)
sys.exit(bool(bare))
