"""`python -m node`: one cache process."""

import sys

from node.server import main

sys.exit(main())
