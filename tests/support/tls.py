"""Certificates of our own, and TLS in front of a server that has none, as its provider's proxy would put it there."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: What a client of PostgreSQL sends first where it wants TLS.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Authority:
    """Signs for one name. `certificate` is what a client must trust to believe it."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        folder.mkdir()
        self.certificate, self._chain = folder / "ca.pem", folder / "server.pem"
        authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = _named(f"Authority {folder.name}")
        ca = _valid(authority, authority, authority_key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        server = _valid(_named(name), authority, server_key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        self.certificate.write_bytes(_pem(ca.sign(authority_key, hashes.SHA256())))
        private = server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._chain.write_bytes(private + _pem(server.sign(authority_key, hashes.SHA256())))

    def context(self) -> ssl.SSLContext:
        """Of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        return context


class Front:
    """Takes TLS at `port`, and passes on what is inside to a socket file."""

    def __init__(self, target: Path, context: ssl.SSLContext, *, postgres: bool) -> None:
        self._target = str(target)
        self._context = context
        self._postgres = postgres
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.num_encrypted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection), socket.socket(socket.AF_UNIX) as target:
            if self._postgres and connection.recv(8) == SSL_REQUEST:
                connection.sendall(b"S")
            with self._context.wrap_socket(connection, server_side=True) as encrypted:
                self.num_encrypted += 1
                target.connect(self._target)
                back = threading.Thread(target=_pump, args=(target, encrypted), daemon=True)
                back.start()
                _pump(encrypted, target)
                back.join()


@contextmanager
def front(target: Path, authority: Authority, *, postgres: bool = False) -> Iterator[Front]:
    opened = Front(target, authority.context(), postgres=postgres)
    try:
        yield opened
    finally:
        opened.end()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _valid(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    today = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
