"""What this package's programs do to their own process before all else; notebooks and other tests are left alone.

nbformat imports jsonschema, and that, where JupyterLab is installed, a grammar of web addresses (`rfc3987_syntax`),
which takes over a second to build (python-jsonschema/jsonschema#1428), with a regular expression for them and a parser
of durations, a tenth each. A notebook's schema has neither, and jsonschema does without these where they aren't
installed: so they are made to seem so.
"""

from __future__ import annotations

import sys

for name in ("rfc3987_syntax", "rfc3986_validator", "isoduration"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: importing it is an ImportError
