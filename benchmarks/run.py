"""All benchmarks, one after another: `make bench`."""

import subprocess
import sys
from pathlib import Path

NAMES = ("kde", "mocks", "jeans", "training", "inference", "population")


def main() -> None:
    """Run each in a process of its own, so that none inherits another's memory or threads."""
    folder = Path(__file__).parent
    for name in NAMES:
        subprocess.run([sys.executable, folder / f"{name}.py"], check=True)


if __name__ == "__main__":
    main()
