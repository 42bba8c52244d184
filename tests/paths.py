"""Where the repository stands, and the folder of data beside it that is absent from most checkouts."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
