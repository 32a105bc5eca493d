"""How to make a device trust the CA, as text for a terminal."""

from __future__ import annotations

from shlex import quote
from textwrap import dedent

from certs.authority import fingerprint_rows
from certs.bundle import Bundle


def describe(bundle: Bundle) -> str:
    """Where the files are, what they are good for, and how to trust them. No line names a secret."""
    return "\n".join([*_facts(bundle), "", _steps(quote(str(bundle.ca_certificate)))])


def _facts(bundle: Bundle) -> list[str]:
    facts = [
        f"CA to trust       {bundle.ca_certificate}{'  (new)' if bundle.authority_created else ''}",
        f"Server            {bundle.chain}{'  (renewed)' if bundle.renewed else ''}",
        f"Private key       {bundle.key}",
        f"Good for          {', '.join(bundle.names)}",
        f"Until             {bundle.not_after:%Y-%m-%d}",
        "SHA-256 of the CA " + "\n                  ".join(fingerprint_rows(bundle.fingerprint_sha256)),
    ]
    if bundle.left_out:
        facts.insert(4, f"Left out          {', '.join(bundle.left_out)}  (the CA may not vouch for these)")
    return facts


def _steps(ca: str) -> str:
    return dedent(f"""\
        Trust the CA once on every device that opens the page (compare the fingerprint first):
          Linux     Debian, Ubuntu: sudo cp {ca} /usr/local/share/ca-certificates/minicpm-o-call.crt
                                    sudo update-ca-certificates
                    Fedora, Arch:   sudo trust anchor {ca}
                    Chrome:         certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n minicpm-o-call -i {ca}
          macOS     security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {ca}
          Windows   certutil -user -addstore Root ca.crt
          iOS       Open the install page in Safari, or send ca.crt by AirDrop; then
                    Settings > General > VPN & Device Management: install it, and
                    Settings > General > About > Certificate Trust Settings: switch it on.
          Android   Settings > Security > Encryption & credentials > Install a certificate: choose ca.crt.
          Firefox   Settings > Privacy & Security > View Certificates > Authorities > Import: for websites.""")
