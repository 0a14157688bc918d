"""`python -m edgemse` is `edgemse`."""

import sys

from edgemse.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
