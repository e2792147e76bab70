"""Issuers of other makers: who is a user and who a service in their tokens, and a private certificate authority on loopback."""

import asyncio
import datetime as dt
import ipaddress
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authmint import ConfigurationError, ResourceServer
from authmint import Issuer as TrustedIssuer
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer
from tests.library.web import publish, web

pytestmark = pytest.mark.anyio

OTHER = "https://other.example"


async def subjects(server: ResourceServer, token: str) -> tuple[bool, bool]:
    caller = await server.verify(token)
    return caller.is_user, caller.is_service


@pytest.mark.parametrize("sub_profile", [..., "user", "service", "other"])
async def test_the_profile_of_rfc_9068_decides_by_sub_and_client_id_alone(issuer: Issuer, sub_profile: Any) -> None:
    """Kind: what is of no use with another maker. Without a profile the subject of such a token is neither."""
    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW, profile="rfc9068")
    assert (True, False) == await subjects(server, issuer.token(sub="u1", client_id="spa", sub_profile=sub_profile))
    assert (False, True) == await subjects(server, issuer.token(sub="robot", client_id="robot", sub_profile=sub_profile))
    plain = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW)
    assert (False, False) == await subjects(plain, issuer.token(sub="robot", client_id="robot", sub_profile=...))


async def test_each_issuer_has_its_own_profile_and_tokens_for_tests_fit_it(issuer: Issuer) -> None:
    issuers = [TrustedIssuer(url=ISSUER, jwks=issuer.jwks, profile="rfc9068"), TrustedIssuer(url=OTHER, jwks=issuer.jwks)]
    server = ResourceServer(issuers=issuers, audience=AUDIENCE, clock=lambda: NOW)
    changes: dict[str, Any] = {"sub": "robot", "client_id": "robot", "sub_profile": ...}
    assert (False, True) == await subjects(server, issuer.token(**changes))
    assert (False, False) == await subjects(server, issuer.token(iss=OTHER, **changes))
    with server.testing() as tokens:
        for headers, expected in ((tokens.user("u1", sub_profile=None), (True, False)), (tokens.service(), (False, True))):
            assert expected == await subjects(server, headers["Authorization"].removeprefix("Bearer "))


def test_an_unknown_profile_and_one_beside_several_issuers_are_refused(issuer: Issuer) -> None:
    unknown: Any = "keycloak"
    with pytest.raises(ConfigurationError, match="profile must be authmint or rfc9068"):
        ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, profile=unknown)
    with pytest.raises(ConfigurationError, match="issuers and profile contradict"):
        ResourceServer(issuers=[TrustedIssuer(url=ISSUER, jwks=issuer.jwks)], audience=AUDIENCE, profile="rfc9068")


CHILD = """
import httpx2, ssl, sys
from authmint import IssuerUnavailable, ResourceServer, ServiceAuth
url, token, cafile = sys.argv[1:]
now = [1_800_000_000.0]
try:
    print(ResourceServer(issuer=url, audience="orders", clock=lambda: now[0]).verify_sync(token).sub, flush=True)
except IssuerUnavailable:
    print("unavailable", flush=True)
auth = ServiceAuth(issuer=url, client_id="c", client_secret="s", clock=lambda: now[0])
with httpx2.Client(auth=auth, verify=ssl.create_default_context(cafile=cafile), trust_env=False) as client:
    client.get(url + "/who")
    now[0] += 90
    client.get(url + "/who")
sys.stdin.read()
"""
"""Verifies a token, and lets `ServiceAuth` renew one in the background until its standard input is closed."""


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the TLS of a server on loopback, and the file of the authority that has issued its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    today = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - dt.timedelta(days=1)).not_valid_after(today + dt.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    built = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file = folder / "authority.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(built.public_bytes(pem))
    layout = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *layout))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file, folder / "key.pem")
    return tls, file


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_an_https_issuer_on_loopback_with_a_private_authority_is_used_where_ssl_cert_file_names_it(
    issuer: Issuer, tmp_path: Path, *, is_trusted: bool
) -> None:
    """Kind: a setting that is dropped in one case. Variables of proxies do not hold for loopback, and this one does."""
    tls, file = certificate(tmp_path)
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"HTTPS_PROXY": "http://127.0.0.1:1"} | ({"SSL_CERT_FILE": str(file)} if is_trusted else {})
    async with web(tls) as site:
        publish(site, issuer)
        metadata = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks", "token_endpoint": f"{site.url}/token"}
        site.json("/.well-known/oauth-authorization-server", metadata)
        site.json("/token", {"access_token": "one", "token_type": "Bearer", "expires_in": 100})
        site.json("/who", {})
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, site.url, issuer.token(iss=site.url), str(file), env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            while site.hits.count("/who") < 2 or (is_trusted and site.hits.count("/token") < 2):
                await asyncio.sleep(0.02)
            written, errors = await child.communicate(b"")
        assert ("6f1c" if is_trusted else "unavailable") == written.decode().strip()
        assert is_trusted == ("was not renewed" not in errors.decode()) == (site.hits.count("/token") == 2)
