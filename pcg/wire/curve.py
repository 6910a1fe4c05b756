"""CURVE keys: files, the folder of those who may connect, and ZAP, which asks that folder.

A program has NAME.key (public) and NAME.key_secret (both keys), as zmq.auth writes certificates.
A server lets in whose public key lies in its `allow` folder; the file's name is who they are, and
that name, not what a peer says of itself, decides what it may see.
"""

import logging
import os
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from pcg.model.errors import BackendError, ConfigError, Problem

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # ZeroMQ RFC 27
REMEMBERED = 1000  # refusals logged at most, so that a stranger cannot fill the log


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new pair: NAME.key and NAME.key_secret (mode 0600); their paths.

    Raises  BackendError   a file is there already, or cannot be written
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for path in (public, secret):
        if path.exists():
            raise BackendError(str(path), "is there already", "take another name, or remove it")
    umask = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        zmq.auth.create_certificates(folder, name)
        public.chmod(0o644)
    except OSError as e:
        raise BackendError(str(folder), e.strerror or str(e), "give a folder to write to") from e
    finally:
        os.umask(umask)
    return public, secret


def public_key(path: str | Path) -> bytes:
    """The key in a NAME.key file, Z85 text of 40 bytes. Raises ConfigError."""
    return _load(Path(path))[0]


def key_pair(path: str | Path) -> tuple[bytes, bytes]:
    """Public and secret key of a NAME.key_secret file. Raises ConfigError."""
    public, secret = _load(Path(path))
    if not secret:
        mend = "holds no secret key; name the .key_secret file that `pcg keys` wrote beside it"
        raise ConfigError([Problem("keys", path, mend)])
    return public, secret


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
        if all(len(z85.decode(k)) == 32 for k in (public, secret) if k):
            return public, secret
        why = "is not a CURVE key"
    except OSError as e:
        why = f"cannot be read ({e.strerror or 'no such file'})"
    except (ValueError, KeyError, UnicodeDecodeError):
        why = "is not a CURVE key"
    raise ConfigError([Problem("keys", path, f"{why}; make one with `pcg keys NAME`")])


class AllowFolder:
    """Who may connect. The folder is read again when anything in it has changed."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.generation = 0  # counts its changes
        self._seen: object = None
        self._names: dict[bytes, str] = {}
        self._keys: dict[str, bytes] = {}
        self.refresh()

    def name(self, key: bytes) -> str | None:
        """Who has this key, by the folder as it was last read."""
        return self._names.get(key)

    def key(self, name: str) -> bytes | None:
        """The key of a name."""
        return self._keys.get(name)

    def refresh(self) -> bool:
        """Look at the folder; True when it has changed. What is no key is logged and skipped."""
        try:
            found = sorted(
                (e.name, e.stat().st_mtime_ns, e.stat().st_ino, e.stat().st_size)
                for e in os.scandir(self.path)
                if e.name.endswith(".key")
            )
        except OSError as e:
            found = f"cannot be read ({e.strerror}); nobody new may connect"
        if found == self._seen:
            return False
        self._seen = found
        self.generation += 1
        if isinstance(found, str):
            log.error("allow folder %s %s", self.path, found)
        else:
            self._names = self._read([name for name, *_ in found])
            self._keys = {name: key for key, name in self._names.items()}
        return True

    def _read(self, files: list[str]) -> dict[bytes, str]:
        names: dict[bytes, str] = {}
        for file in files:
            try:
                key = public_key(self.path / file)
            except ConfigError as e:
                log.error("allow folder: %s", e)
                continue
            if key in names:
                log.error("allow folder: %s holds the key of %s; ignored", file, names[key])
                continue
            names[key] = file.removesuffix(".key")
        return names


class Zap:
    """Answers libzmq's question who may connect (ZeroMQ RFC 27), for all sockets of a context.

    The User-Id of every message from that connection is then its public key, Z85.
    """

    def __init__(self, ctx: zmq.Context, allow: AllowFolder) -> None:
        self.allow = allow
        self.socket = ctx.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ZAP_ENDPOINT)
        self._refused: set[bytes] = set()  # and logged, since `_generation` of the folder
        self._generation = allow.generation

    def answer(self) -> None:
        """Take one question from the socket, which is readable."""
        version, request, _domain, address, _identity, mechanism, *rest = (
            self.socket.recv_multipart()
        )
        key = z85.encode(rest[0]) if mechanism == b"CURVE" and rest else b""
        if not self.allow.name(key):
            self.allow.refresh()
        if self.allow.name(key):
            reply = [b"200", b"OK", key, b""]
        else:
            self._log(key, address.decode() or "this host")
            reply = [b"400", b"unknown key", b"", b""]
        self.socket.send_multipart([version, request, *reply])

    def _log(self, key: bytes, address: str) -> None:
        """Once for each key and state of the folder: who is refused comes again, and again."""
        if self._generation != self.allow.generation:
            self._generation = self.allow.generation
            self._refused.clear()
        if key in self._refused or len(self._refused) >= REMEMBERED:
            return
        self._refused.add(key)
        log.warning(
            "refused a connection from %s: its key %s is not in %s; copy its NAME.key there "
            "to let it in",
            address,
            key.decode() or "(none)",
            self.allow.path,
        )
