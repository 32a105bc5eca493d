"""The process around the application: TLS, and an engine that does not start."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect

from model_server.protocol import Open, Opened, decode_reply, encode
from model_server.serving import listen, serve
from model_server.settings import load_settings
from tests.model_server.broken_engines import BrokenEngine
from tests.model_server.test_process import HEADERS, listening, session_url, started


def write_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate", folder / "private"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


async def test_wss(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    flags = ["--engine", "echo", "--port", "0", "--certificate", str(certificate), "--key", str(key)]
    async with started(*flags) as process:
        url = session_url(await listening(process)).replace("ws://", "wss://")
        trust = ssl.create_default_context(cafile=str(certificate))
        async with connect(url, additional_headers=HEADERS, ssl=trust) as connection:
            await connection.send(encode(Open(wait=True)))
            while not isinstance(decode_reply(bytes(await connection.recv())), Opened):  # type: ignore[arg-type]
                continue


async def test_an_engine_that_does_not_start_ends_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(["--insecure-no-token", "--port", "0"])
    failure = await asyncio.to_thread(serve, settings, BrokenEngine("start fails"))
    assert failure == "engine echo: the weights are missing"
    assert capsys.readouterr().out.count("listening") == 1


async def test_small_answers_do_not_wait_for_large_ones() -> None:
    """Accepted connections have Nagle's algorithm off, whichever event loop accepts them."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen("127.0.0.1", 0)
    async with await asyncio.start_server(look, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted
        writer.close()
