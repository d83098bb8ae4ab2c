"""Legacy password hashes, each made by the named library, with a low cost for tests."""

PASSWORD = "correct horse battery"

CHEAP = {
    "Werkzeug 3.1 scrypt": (
        "scrypt:1024:8:2$QivdVtYlA4560oPQ$c32ab0f4c03c66c606760735b9fc13c34db5da5549a5e347d9c9ebf72ca3301c25bc81d"
        "ec8749b9bd043d193f6c97b20b8e95e6749bd8d18954709c29c0286b1"
    ),
    "Werkzeug 3.1 pbkdf2": (
        "pbkdf2:sha256:1000$lZVUQR9tNdAA7uKi$b96a55ca6994d6cf9acd515a2ccfecee589120e73dfa430be6cd273753934c96"
    ),
    "Werkzeug 3.1 pbkdf2 sha1": "pbkdf2:sha1:1000$abVHaNngPf2vkQU1$dbe06fb24f82d4919489d7d9575b354236bb72ee",
    "Werkzeug 3.1 pbkdf2 sha512": (
        "pbkdf2:sha512:1000$Z51EivLIJKlLL61S$69083313825eca9fd248304d75ec894c9212f1eb6ce63dd131e0bd10a47b0ba68886"
        "884f03ea19f8edd77b66f160899302fafc7b77debd39fdcee1177f5647fe"
    ),
    "Django 5.2 pbkdf2": "pbkdf2_sha256$1000$uUc1LAqyJX47QsGope8axg$cfLTciCMXxXNb8F8gbqugnewcJ9VfbKiaUGFtJN8p9A=",
    "Django 5.2 pbkdf2 sha1": "pbkdf2_sha1$1000$7FdiKegiQTD1GvnDWyn2DG$UhdZlpC8Rs8PcdAttFoev09eZd8=",
    "Django 5.2 scrypt": (
        "scrypt$1024$Q6rIZLCyFojCcDXD9Zx8gN$8$5$pz5Pa/sYtqwiMbe2BbE+L8x/lonnamQDorhY1bnjm9KaBjzNaclsOP6spneu1miMO"
        "0wPBf4EbPgHZWc/c5WN/g=="
    ),
    "Django 5.2 bcrypt_sha256": "bcrypt_sha256$$2b$04$GWcyBkc28aVNMWea/3NY0uCMV2DtKqTuXXxrMQCPzlkByqY815LjS",
    "Django 5.2 bcrypt": "bcrypt$$2b$04$zXlf18YikeF602ApWKvFeeIbTyHqoFsZBQ8tbZOT1SWPyGtmTEMVe",
    "passlib 1.7 pbkdf2_sha1": "$pbkdf2$1000$kHKO0fqfs3aOkTKGUApBiA$Si4vLeLQ3KY6Cd.ORQmAR7KPH48",
    "passlib 1.7 pbkdf2_sha256": (
        "$pbkdf2-sha256$1000$8Z5z7r0X4hwjBCBEiJGyVg$gIiHRMCRiVOliS0dfYM6zRmSojXt0UWMfq64lvEwzak"
    ),
    "passlib 1.7 pbkdf2_sha512": (
        "$pbkdf2-sha512$1000$wZgTwrgXopRyDiHk/L/XWg$vtCbZMkZN1AV/D5wJJtdN7nPoVQJoJQp.fZwykODYKxhI9P2zDzjS5k8VTtNN"
        "geRoiRpDJJ3/c4EFjsmja1qqg"
    ),
    "passlib 1.7 scrypt": "$scrypt$ln=10,r=8,p=1$pjQGoNTamxMCwBjDeM/Zew$vszEQmxbcg56CfR/4Mh3Hayv3mOnhT0ymsgPjo466kQ",
    "passlib 1.7 bcrypt_sha256": "$bcrypt-sha256$v=2,t=2b,r=4$fcNINRPYUrxfb/nde0GOne$sclchY2YnsX/ugq0YDHAwrTXCbdz2Ge",
    "passlib 1.7 bcrypt_sha256, first version": (
        "$bcrypt-sha256$2b,4$dXBSqmb0pZtRUpsG5whpaO$5FldKnS10RyH1f7nMHInXCfqrZdXHTe"
    ),
    "passlib 1.7 bcrypt 2a": "$2a$04$T7u6Y.HBKb/FIoRh4uS6eeK8ECcmh6b9in76vsZmgozsbVWiuxd4i",
    "passlib 1.7 bcrypt 2y": "$2y$04$LV7ZFM.VTzM1yN6zC/4AHuukoDdNixUBq9cA1m.PvAWMgDjBT5/g6",
    "passlib 1.7 argon2": (
        "$argon2id$v=19$m=1024,t=3,p=2$6B0jpPT+X+vd+3/P2ZuTMg$AMftigDbIsdKVoBGxV0RZll93HJlVK2upBA2ikgsC34"
    ),
    "bcrypt 4.0": "$2b$04$nMxdnyaQxUvlY3oHLe4n/ekfeY.7dKyK9/Aaxomm4tzaWDyGFZP86",
    "argon2-cffi 25.1 argon2i": (
        "$argon2i$v=19$m=1024,t=3,p=2$4j8WcLbfc2d6rUZeHAGcHg$iH/HN5LCIR/iJ4Zae5wj3GjwcuUZZnQ1FxCfCr2LRB0"
    ),
}
