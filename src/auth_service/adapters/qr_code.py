"""QR codes as SVG, for authenticator apps that read the URI of a TOTP secret with a camera."""

from io import BytesIO

import segno


def svg(text: str) -> str:
    """Draw a text as a QR code; the result is an SVG element that a page can contain, or show as an image.

    With the namespace: browsers decode no image without it.
    """
    drawn = BytesIO()
    segno.make(text, error="m", micro=False).save(
        drawn, kind="svg", scale=4, border=4, dark="#000", light="#fff", xmldecl=False, nl=False
    )
    return drawn.getvalue().decode()
