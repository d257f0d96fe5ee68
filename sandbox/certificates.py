"""A throw-away certificate authority for the sandbox (D7): the parts speak https as they would in production.

Its key lives beside the certificates in a folder that goes away with the sandbox. Nothing is added to a trust
store: every client is told the CA file through the product's own option.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=7)
SKEW = timedelta(hours=1)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA in a folder: `ca_file` is what clients trust."""

    directory: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def issue(self, name: str, *addresses: str) -> tuple[Path, Path]:
        """Write a server certificate for loopback (and `addresses`); return its file and its key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, self.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([_name(a) for a in (*LOOPBACK, *addresses)]),
                critical=False,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        files = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        _write(certificate, key, files)
        return files


def make_authority(directory: Path) -> Authority:
    """Return the authority kept in `directory`, made on first use."""
    directory.mkdir(parents=True, exist_ok=True)
    files = directory / "ca.pem", directory / "ca.key"
    if files[0].exists() and files[1].exists():
        return _load(directory, files)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lockgate sandbox CA")])
    certificate = (
        _builder("Lockgate sandbox CA", name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(certificate, key, files)
    return Authority(directory=directory, certificate=certificate, key=key)


def _load(directory: Path, files: tuple[Path, Path]) -> Authority:
    key = serialization.load_pem_private_key(files[1].read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{files[1]}: not a key this sandbox made; remove {directory}")
    certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
    return Authority(directory=directory, certificate=certificate, key=key)


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _write(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, files: tuple[Path, Path]
) -> None:
    files[1].touch(mode=0o600)
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
