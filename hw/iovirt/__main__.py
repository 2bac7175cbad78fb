"""``python -m iovirt`` is ``iovirt``."""

import sys

from .cli import main

sys.exit(main())
