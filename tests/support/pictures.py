"""Pictures of faces, as far as the service's stand-in looks at them."""

from __future__ import annotations

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82"
