"""Takes what has been added to the public contract into its snapshot: `python -m tests.contract`."""

from __future__ import annotations

import sys

from tests.contract.snapshot import CODES_FILE, DOCUMENT_FILE, breaking, codes_today, document_today, write


def main() -> int:
    broken = breaking()
    if broken:
        print("Not written, since clients of today would break (see Versions in the README):")
        print(*(f"  {one}" for one in broken), sep="\n")
        return 1
    write(DOCUMENT_FILE, document_today())
    write(CODES_FILE, codes_today())
    print(f"Written: {DOCUMENT_FILE.name}, {CODES_FILE.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
