"""Invisible characters and dashes that users paste with addresses and codes, written independently of the service."""

WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2002\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""Spaces, tabs and line ends, no-break and thin ones too."""

ZERO_WIDTH_SAMPLES = (
    "\u00ad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2064\u2066\u2069"
    "\u2800\u3164\ufe0f\ufeff\uffa0\U000e0020\U000e0100"
)
"""Zero-width spaces and joiners, soft hyphen, bidi marks, byte order mark, fillers, variation selectors, tags."""

DASH_SAMPLES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u02d7\ufe58\ufe63\uff0d"
"""Hyphens, dashes and the minus sign."""

EVERY_CHARACTER = tuple(WHITE_SPACE + ZERO_WIDTH_SAMPLES)
