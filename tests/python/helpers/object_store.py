"""Run an object store on this machine behind a proxy that can refuse, cut off or forget requests."""

import contextlib
import http.client
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.fs

BUCKET = "lake"
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Proxy(ThreadingHTTPServer):
    """Proxy on a free port of this machine.

    Attributes
    ----------
    denied, dropped : set of str
        Methods of requests that are refused with status 403, and those whose connection ends in the middle.
    n_passed : int or None
        Number of requests of these methods that are passed on before; None for all of them.
    """

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.lock = port, threading.Lock()
        self.heal()

    def heal(self):
        """Pass on all requests from now on."""
        self.denied, self.dropped, self.n_passed = set(), set(), 0

    def fault_of(self, method):
        with self.lock:
            if method not in self.denied | self.dropped:
                return None
            if self.n_passed > 0:
                self.n_passed -= 1
                return None
            return "denied" if method in self.denied else "dropped"

    def handle_error(self, request, client_address):
        """Say nothing about connections that the client closed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def body(self):
        """Return the body of the request, of which clients send either the length or chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def pass_on(self):
        body = self.body()
        fault = self.server.fault_of(self.command)
        self.close_connection = True
        if fault == "denied":
            self.answer(403, {"Content-Type": "application/xml", "Content-Length": str(len(DENIED))}, DENIED)
            return
        if fault == "dropped" and self.command != "GET":
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=20)
        with contextlib.closing(connection):
            left_out = ("expect", "transfer-encoding", "content-length")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            data = response.read()
        headers = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in ("connection", "transfer-encoding")
        }
        if "Content-Length" not in headers and self.command != "HEAD":
            headers["Content-Length"] = str(len(data))
        self.answer(response.status, headers, data[: len(data) // 2] if fault == "dropped" else data)

    def answer(self, status, headers, data):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 (the names of the base class)


@contextlib.contextmanager
def object_store():
    """Run moto's S3 server with a bucket, and yield the proxy in front of it and a file system that goes through it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy(server.get_host_and_port()[1])
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        filesystem = pyarrow.fs.S3FileSystem(
            access_key="testing",
            secret_key="testing",
            region="us-east-1",
            scheme="http",
            endpoint_override=f"127.0.0.1:{proxy.server_port}",
            allow_bucket_creation=True,
            connect_timeout=20,
            request_timeout=20,
            retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )
        filesystem.create_dir(BUCKET)
        yield proxy, filesystem
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
        server.stop()


def url_of(proxy, path):
    """Return the URL of a path in the bucket, with the options that lead to the proxy."""
    return (
        f"s3://testing:testing@{BUCKET}/{path}?endpoint_override=127.0.0.1:{proxy.server_port}"
        "&scheme=http&region=us-east-1"
    )
