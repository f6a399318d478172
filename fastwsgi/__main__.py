"""``python -m fastwsgi``: the same command line as the ``fastwsgi`` script."""

import sys

from fastwsgi.cli import main

if __name__ == "__main__":
    sys.exit(main())
