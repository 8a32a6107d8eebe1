"""What this package's programs do to their own process before all else; notebooks and test sessions are left alone.

nbformat imports jsonschema, and that, where JupyterLab is installed, a grammar of web addresses (`rfc3987_syntax`),
which takes over a second to build (python-jsonschema/jsonschema#1428), and a regular expression for them that takes
another tenth. A notebook's schema has no such addresses, and jsonschema does without either where it isn't installed:
so they are made to seem so.
"""

from __future__ import annotations

import sys

for name in ("rfc3987_syntax", "rfc3986_validator"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: importing it is an ImportError
