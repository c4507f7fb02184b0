"""Makes access tokens with PyJWT, a library that shares no code with the server, and prints them as JSON.

Every algorithm has a key pair (or a secret) of its own, made anew each time. Of each bad token exactly one thing is
wrong. Exits with 3 when PyJWT or its cryptography is not there.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import uuid

try:
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(3)

ISSUER = "https://project.example/auth/v1"
SUBJECT = str(uuid.uuid4())
NOW = int(time.time())
SECRET = "a secret of the project, which has more than 32 bytes"


def claims(**changes):
    good = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": SUBJECT,
        "role": "authenticated",
        "email": "ann.only@example.org",
        "user_metadata": {"name": "Ann Only"},
        "iat": NOW,
        "exp": NOW + 3600,
    }
    good.update(changes)
    return {name: value for name, value in good.items() if value is not ...}


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header, payload, sign):
    """Tokens that PyJWT refuses to make."""
    message = b64(json.dumps(header).encode()) + "." + b64(json.dumps(payload).encode())
    return message + "." + b64(sign(message.encode()))


def hs256(secret):
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def jwk(algorithm, key, kid):
    to_jwk = ECAlgorithm.to_jwk if algorithm == "ES256" else RSAAlgorithm.to_jwk
    return {**json.loads(to_jwk(key.public_key())), "kid": kid, "alg": algorithm, "use": "sig"}


def family(algorithm, key, kid, foreign_key, foreign):
    """Good and bad tokens for a server that takes `algorithm` with `key` under the id `kid`."""
    headers = {"kid": kid} if kid else {}

    def token(payload=None, key=key, headers=headers, algorithm=algorithm):
        return jwt.encode(payload or claims(), key, algorithm=algorithm, headers=headers)

    good = token()
    head, payload, signature = good.split(".")
    other = json.dumps(claims(sub=str(uuid.uuid4()))).encode()
    bad = {
        "no algorithm": by_hand({"alg": "none", "typ": "JWT", **headers}, claims(), lambda message: b""),
        "no algorithm, signed": by_hand({"alg": "none", "typ": "JWT", **headers}, claims(), lambda message: b"x"),
        "None": by_hand({"alg": "None", "typ": "JWT", **headers}, claims(), lambda message: b""),
        "wrong aud": token(claims(aud="anon")),
        "no aud": token(claims(aud=...)),
        "aud a number": token(claims(aud=7)),
        "wrong iss": token(claims(iss=ISSUER + "/")),
        "no iss": token(claims(iss=...)),
        "iss a list": by_hand_signed(algorithm, key, headers, claims(iss=[ISSUER])),
        "expired": token(claims(exp=NOW - 600)),
        "no exp": token(claims(exp=...)),
        "exp a text": by_hand_signed(algorithm, key, headers, claims(exp=str(NOW + 3600))),
        "not yet valid": token(claims(nbf=NOW + 600)),
        "nbf a text": by_hand_signed(algorithm, key, headers, claims(nbf="soon")),
        "anon": token(claims(role="anon")),
        "service_role": token(claims(role="service_role")),
        "no role": token(claims(role=...)),
        "no sub": token(claims(sub=...)),
        "sub no uuid": token(claims(sub="ann")),
        "sub empty": token(claims(sub="")),
        "sub nil": token(claims(sub=str(uuid.UUID(int=0)))),
        "another payload": f"{head}.{b64(other)}.{signature}",
        "another signature": f"{head}.{payload}.{b64(bytes(64))}",
        "no signature": f"{head}.{payload}.",
        "cut off": good[:-8],
        "two parts": f"{head}.{payload}",
        "four parts": f"{good}.{signature}",
        "huge": token(claims(user_metadata={"name": "x" * 9000})),
        "critical header": token(headers={**headers, "crit": ["b64"], "b64": False}),
        "another key": token(key=foreign_key),
        "another algorithm": foreign,
    }
    if kid:
        public = key.public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        as_jwk = jwk(algorithm, key, kid)
        raw = {
            "PEM": pem,
            "PEM without its end": pem.strip(),
            "DER": der,
            "JWK": json.dumps(as_jwk).encode(),
            "x or n": base64.urlsafe_b64decode(as_jwk.get("x", as_jwk.get("n")) + "=="),
        }
        if algorithm == "ES256":
            raw["point"] = public.public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
        for name, secret in raw.items():
            header = {"alg": "HS256", "typ": "JWT", **headers}
            bad[f"HS256 with the public key's {name}"] = by_hand(header, claims(), hs256(secret))
        bad["HS256 with nothing"] = by_hand({"alg": "HS256", "typ": "JWT", **headers}, claims(), hs256(b""))
        bad["unknown key id"] = token(headers={"kid": "made up"})
        bad["no key id"] = token(headers={})
        bad["own key in the header"] = token(
            key=foreign_key, headers={"kid": kid, "jwk": jwk(algorithm, foreign_key, kid)}
        )
    return {
        "good": good,
        "also good": [
            token(claims(aud=["authenticated", "other"], nbf=NOW - 5)),
            token(claims(exp=NOW - 5)),
            token(claims(nbf=NOW + 5)),
            token(claims(user_metadata=..., email=...)),
            token(claims(user_metadata={"name": 7}, email=None)),
        ],
        "bad": bad,
    }


def by_hand_signed(algorithm, key, headers, payload):
    """Correctly signed, with claims that PyJWT checks when it makes a token."""
    return jwt.api_jws.encode(
        json.dumps(payload).encode(), key, algorithm=algorithm, headers={"typ": "JWT", **headers}
    )


def main():
    ec_key, other_ec, next_ec = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    rsa_key, other_rsa = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    es_token = jwt.encode(claims(), ec_key, algorithm="ES256", headers={"kid": "ec-1"})
    rs_token = jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "rsa-1"})
    keys = [jwk("ES256", ec_key, "ec-1"), jwk("RS256", rsa_key, "rsa-1")]
    document = {
        "issuer": ISSUER,
        "subject": SUBJECT,
        "secret": SECRET,
        # Both keys, as during a key rotation, and entries that a server must ignore.
        "jwks": {"keys": [{"kty": "new"}, 7, *keys]},
        "next_jwks": {"keys": [jwk("ES256", next_ec, "ec-2")]},
        "next_good": jwt.encode(claims(), next_ec, algorithm="ES256", headers={"kid": "ec-2"}),
        "ES256": family("ES256", ec_key, "ec-1", other_ec, rs_token),
        "RS256": family("RS256", rsa_key, "rsa-1", other_rsa, es_token),
        "HS256": family(
            "HS256",
            SECRET,
            None,
            "another secret, which has more than 32 bytes too",
            jwt.encode(claims(), SECRET, algorithm="HS512"),
        ),
    }
    json.dump(document, sys.stdout)


main()
