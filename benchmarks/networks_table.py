"""Every network's default layer, as ``deepfeat networks`` lists it, kept for the docs.

Building every network takes a minute or two, too long for each run of the tests; they compare one
network of each family with this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from machine import provenance

from deepfeat.networks.listing import describe_network
from deepfeat.networks.table import list_networks

RESULT = Path(__file__).parent / "results" / "networks.json"


def main() -> int:
    networks = [describe_network(name) for name in list_networks()]
    result = {**provenance("python benchmarks/networks_table.py"), "networks": networks}
    RESULT.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
