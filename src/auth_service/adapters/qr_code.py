"""QR codes as SVG, for authenticator apps that read the URI of a TOTP secret with a camera."""

import segno


def svg(text: str) -> str:
    """Draw a text as a QR code; the result is an SVG element that a page can contain."""
    return segno.make(text, error="m", micro=False).svg_inline(scale=4, border=4, dark="#000", light="#fff")
