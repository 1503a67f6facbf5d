"""Servers that once caused a failure: by name, the responses that they give in turn, the last one
forever.

A response is the bytes that are sent before the connection is closed. {rest} stands for a correct
response to the request, {cut N} for the whole file from the start, broken off after N bytes, and
{again} for the same response repeated on the same connection as long as the client reads.
"""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def redirect(to: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\n\r\n"


ENTRIES = {
    "two lengths in turn": [b"{cut 4000}", b"{cut 3000}"] * 50,
    "always less": [b"{cut 100}"],
    "one 416": [b"{cut 4000}", b"HTTP/1.1 416 No\r\n\r\n", b"{rest}"],
    "416 for ever": [b"{cut 4000}", b"HTTP/1.1 416 No\r\n\r\n"],
    "a Content-Length of 5,000 digits": [OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"],
    "a negative Content-Length": [OK + b"Content-Length: -5\r\n\r\n" + b"?" * 100],
    "a Content-Length in Arabic digits": [OK + b"Content-Length: \xd9\xa1\r\n\r\n?"],
    "a Content-Range of 5,000 digits": [
        b"{cut 4000}",
        b"HTTP/1.1 206 P\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\n\r\n?",
    ],
    "206 from another place": [b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/8192\r\n\r\n?????"],
    "a chunk of negative size": [CHUNKED + b"-5\r\n{again}"],
    "chunks without end": [CHUNKED + b"1\r\nx\r\n{again}"],
    "trailers without end": [CHUNKED + b"0\r\n" + b"X: y\r\n" * 500 + b"{again}"],
    "100 Continue for ever": [b"HTTP/1.1 100 Continue\r\n\r\n" * 500 + b"{again}"],
    "a redirect to ftp": [redirect(b"ftp://127.0.0.1/x")],
    "a redirect to a file": [redirect(b"file:///etc/passwd")],
    "a redirect to itself": [redirect(b"/file.bin")],
    "a redirect to nowhere": [redirect(b"http://[")],
    "a redirect with a body without end": [redirect(b"/file.bin") + b"x" * 5000 + b"{again}"],
    "words that clear the screen": [b"HTTP/1.1 404 \x1b[2J\x07\xc2\x9b\r\n\r\n"],
    "a status that is none": [b"HTTP/1.1 -1 x\r\n\r\n"],
    "no HTTP": [b"\x00\x01\x02"],
    "nothing": [b""],
}
