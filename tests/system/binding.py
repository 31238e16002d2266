# SPDX-License-Identifier: ISC
"""Clients that bind their login to TLS: connections of any kind, and SASL as two libraries have it."""
import base64
import contextlib
import ctypes
import hashlib
import os
import select
import socket
import ssl
import threading

from OpenSSL import SSL
from cryptography.hazmat.primitives.serialization import Encoding

import pop3

NO_EXTENDED_MASTER_SECRET = 1 << 0  # SSL_OP_NO_EXTENDED_MASTER_SECRET
VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}


# --- connections ----------------------------------------------------------------------------------

class Wire:
    """A connection of pyOpenSSL's with the manners of a socket."""

    def __init__(self, sock, context):
        self.sock = sock
        self.tls = SSL.Connection(context, sock)
        self.tls.set_tlsext_host_name(b"localhost")
        self.tls.set_connect_state()
        self._wait(self.tls.do_handshake)

    def _wait(self, call, *arguments):
        while True:
            try:
                return call(*arguments)
            except SSL.WantReadError:
                if not select.select([self.sock], [], [], pop3.TIMEOUT_SECS)[0]:
                    raise TimeoutError("nothing came in time") from None

    def sendall(self, data):
        self._wait(self.tls.sendall, data)

    def recv(self, size):
        try:
            return self._wait(self.tls.recv, size)
        except SSL.ZeroReturnError:
            return b""
        except SSL.SysCallError as error:
            raise ConnectionResetError(*error.args) from error

    def close(self):
        with contextlib.suppress(SSL.Error):
            self.tls.shutdown()
        self.sock.close()


def digest_of(certificate):
    """RFC 5929 section 4.1; None: not defined."""
    name = certificate.signature_hash_algorithm and certificate.signature_hash_algorithm.name
    name = "sha256" if name in ("md5", "sha1") else name
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest() if name else None


def connect(server, kind="STLS", version="TLS 1.3", ems=True, port=None, host="127.0.0.1"):
    """A client under TLS; client.bindings has what it can bind to, by the names of the types."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    if not ems:
        context.set_options(NO_EXTENDED_MASTER_SECRET)
    stls = kind == "STLS"
    client = pop3.Client(port or (server.pop3_port if stls else server.pop3s_port), host=host, greeting=stls)
    if stls:
        client.expect("STLS", "+OK")
        assert client.buffer == b""
    client.sock = Wire(client.sock, context)
    if not stls:
        client.greeting = pop3.check_status(client.line())
    tls = client.sock.tls
    client.bindings = {"tls-server-end-point": digest_of(tls.get_peer_certificate().to_cryptography())}
    if version == "TLS 1.3":
        client.bindings["tls-exporter"] = tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    else:
        client.bindings["tls-unique"] = tls.get_finished()
    return client


class Middle:
    """Somebody in the middle: TLS with the client by a certificate of its own or the server's, and TLS with the
    server; what one says, the other hears, but for what change(octets) makes of the server's words."""

    def __init__(self, server, certificate, key, version="TLS 1.3", change=lambda octets: octets):
        self.server, self.version, self.change = server, getattr(ssl.TLSVersion, version.replace("TLS 1.", "TLSv1_")), change
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(pop3.TIMEOUT_SECS)

    def _serve(self):
        onwards = ssl.create_default_context(cafile=str(self.server.ca))
        onwards.minimum_version = onwards.maximum_version = self.version
        with contextlib.suppress(OSError, ValueError):
            sock, _ = self.listener.accept()
            near = self.context.wrap_socket(sock, server_side=True)
            far = onwards.wrap_socket(socket.create_connection(("127.0.0.1", self.server.pop3s_port)),
                                      server_hostname="localhost")
            with near, far:
                while True:
                    ready = [end for end in (near, far) if end.pending()] or select.select([near, far], [], [])[0]
                    for end in ready:
                        octets = end.recv(65536)
                        if not octets:
                            return
                        (far if end is near else near).sendall(octets if end is near else self.change(octets))


# --- SASL -----------------------------------------------------------------------------------------

class Cyrus:
    """The client side of Cyrus SASL. mechanisms: as CAPA lists them; binding: (name, octets), which a client that
    insists on it (critical) uses even if it is given one mechanism only."""

    class Callback(ctypes.Structure):
        _fields_ = [("id", ctypes.c_ulong), ("proc", ctypes.c_void_p), ("context", ctypes.c_void_p)]

    class Binding(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("critical", ctypes.c_int), ("len", ctypes.c_ulong),
                    ("data", ctypes.c_char_p)]

    class Properties(ctypes.Structure):
        _fields_ = [("min_ssf", ctypes.c_uint), ("max_ssf", ctypes.c_uint), ("maxbufsize", ctypes.c_uint),
                    ("security_flags", ctypes.c_uint), ("names", ctypes.c_void_p), ("values", ctypes.c_void_p)]

    SIMPLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p),
                              ctypes.POINTER(ctypes.c_uint))
    SECRET = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int,
                              ctypes.POINTER(ctypes.c_void_p))
    USER, AUTHNAME, PASS, CHANNEL_BINDING, SEC_PROPS = 0x4001, 0x4002, 0x4004, 21, 101
    library = None

    def __init__(self, mechanisms, user="", password="", authzid="", binding=None, critical=True):
        if not Cyrus.library:
            Cyrus.library = ctypes.CDLL("libsasl2.so.2")
            assert Cyrus.library.sasl_client_init(None) == 0
        names = {self.USER: authzid.encode(), self.AUTHNAME: user.encode()}
        secret = password.encode()
        packed = len(secret).to_bytes(ctypes.sizeof(ctypes.c_ulong), "little") + secret + b"\0"
        self.secret = ctypes.create_string_buffer(packed, len(packed))

        def simple(_, which, result_r, len_r):
            result_r[0] = names[which]
            if len_r:
                len_r[0] = len(names[which])
            return 0

        def get_secret(_, __, ___, secret_r):
            secret_r[0] = ctypes.addressof(self.secret)
            return 0
        self.simple, self.get_secret, self.names = self.SIMPLE(simple), self.SECRET(get_secret), names
        self.callbacks = (self.Callback * 4)(
            (self.USER, ctypes.cast(self.simple, ctypes.c_void_p), None),
            (self.AUTHNAME, ctypes.cast(self.simple, ctypes.c_void_p), None),
            (self.PASS, ctypes.cast(self.get_secret, ctypes.c_void_p), None), (0, None, None))
        self.conn = ctypes.c_void_p()
        self._call("new", b"pop", b"localhost", None, None, self.callbacks, 0, ctypes.byref(self.conn))
        # No layer of SASL's inside TLS, and no plug-in that the machine happens to have besides.
        properties = self.Properties(max_ssf=0)
        assert self.library.sasl_setprop(self.conn, self.SEC_PROPS, ctypes.byref(properties)) == 0
        if binding:
            self.binding = self.Binding(binding[0].encode(), critical, len(binding[1]), binding[1])
            assert self.library.sasl_setprop(self.conn, self.CHANNEL_BINDING, ctypes.byref(self.binding)) == 0
        out, length, chosen = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_char_p()
        self.code = self._call("start", self.conn, mechanisms.encode(), None, ctypes.byref(out), ctypes.byref(length),
                               ctypes.byref(chosen))
        self.mechanism = chosen.value.decode()
        self.first = ctypes.string_at(out, length.value) if out else None

    def _call(self, name, *arguments):
        code = getattr(self.library, f"sasl_client_{name}")(*arguments)
        assert code in (0, 1), f"sasl_client_{name}: {code}"
        return code

    def step(self, challenge):
        if self.code == 0:  # it is content, and answers what is left with nothing
            assert not challenge, challenge
            return b""
        out, length = ctypes.c_void_p(), ctypes.c_uint()
        self.code = self._call("step", self.conn, challenge, len(challenge), None, ctypes.byref(out), ctypes.byref(length))
        return ctypes.string_at(out, length.value) if out else b""


class Gnu:
    """The client side of GNU SASL, which binds to tls-exporter or tls-unique."""

    AUTHID, AUTHZID, PASSWORD, SERVICE, HOSTNAME = 1, 2, 3, 5, 6
    TYPES = {"tls-unique": 18, "tls-exporter": 25}
    library = None

    def __init__(self, mechanism, user="", password="", authzid="", binding=None):
        if not Gnu.library:
            Gnu.library = ctypes.CDLL("libgsasl.so.18")
            Gnu.library.gsasl_strerror.restype = ctypes.c_char_p
        self.mechanism = mechanism
        self.context, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("init", ctypes.byref(self.context))
        self._call("client_start", self.context, mechanism.encode(), ctypes.byref(self.session))
        for name, value in ((self.AUTHID, user), (self.PASSWORD, password), (self.AUTHZID, authzid),
                            (self.SERVICE, "pop"), (self.HOSTNAME, "localhost")):
            if value:
                self._call("property_set", self.session, name, value.encode())
        if binding:
            self._call("property_set", self.session, self.TYPES[binding[0]], base64.b64encode(binding[1]))
        self.first = self.step(b"")

    def _call(self, name, *arguments):
        code = getattr(self.library, f"gsasl_{name}")(*arguments)
        assert code in (0, 1), f"gsasl_{name}: {self.library.gsasl_strerror(code).decode()}"
        return code

    def step(self, challenge):
        out = ctypes.c_char_p()
        self._call("step64", self.session, base64.b64encode(challenge), ctypes.byref(out))
        return base64.b64decode(out.value or b"")


def talk(client, exchange, initial=True, name=None):
    """AUTH by one of these; the server's last line. name: of the mechanism, if not as the library has it."""
    name = name or exchange.mechanism
    if initial:
        answer = client.command(f"AUTH {name} ".encode() + (base64.b64encode(exchange.first) or b"="))
    else:
        assert client.challenge(f"AUTH {name}") == b""
        answer = client.command(base64.b64encode(exchange.first))
    while answer.startswith(b"+ "):
        answer = client.command(base64.b64encode(exchange.step(base64.b64decode(answer[2:]))))
    return answer


@contextlib.contextmanager
def ticket(environ):
    """Inside, the Kerberos libraries of this process find a user's ticket."""
    before = {name: os.environ.get(name) for name in ("KRB5CCNAME", "KRB5_CONFIG")}
    os.environ.update({name: environ[name] for name in before})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
